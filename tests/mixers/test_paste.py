"""CutMix: boxes of other samples, and labels by area."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, Target
from vicinal.core.boxes import box_mask
from vicinal.mixers.paste import CutMix, PasteParams, boxes, pasted_share

GOLDEN = Path(__file__).parent / "golden"


def telltale(rows: int, *sizes: int, channels: int = 2) -> Batch:
    """Row i holds i in every place, and the label i."""
    index = torch.arange(rows)
    x = index.float().view(-1, *(1,) * (len(sizes) + 1)).expand(rows, channels, *sizes)
    return Batch(x=x, target=Target.of(index), index=index)


def drawn(mix: CutMix, batch: Batch, seed: int = 0) -> PasteParams:
    return mix.sample(batch, Draws(seed, batch.index))


def weights(target: Target | None) -> Tensor:
    """Of the labels of a mixture. Returns (B, K)."""
    assert isinstance(target, ClassTarget)
    assert target.weights is not None
    return target.weights


class Injected:
    """Draws that give what they were told, whatever they are asked for."""

    def __init__(self, kept: Tensor, centre: Tensor, partner: Tensor) -> None:
        self.kept, self.centre, self.partner = kept, centre, partner

    def permutation(self, name: str) -> Tensor:
        return self.partner

    def shared(self) -> Injected:
        return self

    def beta(self, name: str, a: float, b: float) -> Tensor:
        return self.kept

    def below(self, name: str, bound: tuple[int, ...], *, shape: tuple[int, ...]) -> Tensor:
        assert self.centre.shape[1:] == shape
        assert (self.centre < torch.tensor(bound)).all()
        return self.centre


def mixed_by_loops(x: Tensor, kept: Tensor, centre: Tensor, partner: Tensor) -> tuple[Any, Any]:
    """Place by place and in exact numbers: the mixed samples, and the weight of each own label."""
    result, shares = x.clone(), []
    rank = x.dim() - 2
    for row in range(len(x)):
        spans = []
        for axis in range(rank):
            size = x.shape[2 + axis]
            half = int(size * (1 - float(kept[row])) ** (1 / rank)) // 2
            middle = int(centre[row, axis])
            spans.append(range(max(middle - half, 0), min(middle + half, size)))
        places = list(itertools.product(*spans))
        for place in places:
            result[(row, slice(None), *place)] = x[(int(partner[row]), slice(None), *place)]
        volume = 1
        for size in x.shape[2:]:
            volume *= size
        shares.append(1 - len(places) / volume)
    return result, shares


@pytest.mark.parametrize("sizes", [(11,), (6, 9), (4, 5, 7)], ids=["series", "image", "volume"])
@given(seed=st.integers(0, 10**6), scope=st.sampled_from(["sample", "batch"]))
def test_every_place_is_as_loops_have_it(sizes: tuple[int, ...], seed: int, scope: Any) -> None:
    rows, numbers = 4, torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, *sizes, generator=numbers)
    kept = torch.rand(rows, generator=numbers)
    centre = torch.stack([torch.randint(size, (rows,), generator=numbers) for size in sizes], 1)
    if scope == "batch":
        kept, centre = kept[:1].expand(rows), centre[:1].expand(rows, -1)
    partner = torch.randperm(rows, generator=numbers)
    batch = Batch(x=x, target=Target.of(torch.arange(rows)), index=torch.arange(rows) + 50)
    mix = CutMix(scope=scope)
    params = mix.sample(batch, Injected(kept, centre, partner))  # type: ignore[arg-type]
    result = mix.apply(batch, params)
    exact, shares = mixed_by_loops(x, kept, centre, partner)
    assert torch.equal(result.tensor, exact)
    assert weights(result.target)[:, 0].tolist() == pytest.approx(shares, abs=1e-7)
    assert torch.equal(result.target.labels[:, 1], partner)  # type: ignore[union-attr]


def authors_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((GOLDEN / "cutmix_authors.json").read_text())
    return cases


def test_one_box_for_the_batch_is_that_of_the_authors_code() -> None:
    # What clovaai/CutMix-PyTorch makes of the same weight, centre and partners.
    cases = authors_cases()
    assert len(cases) == 70
    images = 0
    for case in cases:
        rows = case["size"][0]
        x = torch.arange(torch.Size(case["size"]).numel()).view(case["size"])
        batch = Batch(x=x, target=Target.of(torch.arange(rows)), index=torch.arange(rows))
        kept = torch.tensor(case["lam"]).expand(rows)
        centre = torch.tensor(case["centre"]).expand(rows, 2)
        mix = CutMix(scope="batch")
        injected: Any = Injected(kept, centre, torch.tensor(case["partner"]))
        params = mix.sample(batch, injected)
        for row in range(rows):
            assert [*params.start[row].tolist(), *params.stop[row].tolist()] == case["box"]
        result = mix.apply(batch, params)
        assert weights(result.target)[:, 0].tolist() == pytest.approx(
            [case["weight"]] * rows, abs=1e-7
        )
        if "image" in case:
            images += 1
            assert result.tensor.flatten().tolist() == case["image"]
    assert images >= 9


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_weights_are_exactly_the_shares_of_the_pixels(alpha: float) -> None:
    rows = 10_000
    x = torch.ones(2 * rows, 1, 32, 32)
    x[rows:] = 0
    batch = Batch(x=x, target=Target.of(torch.arange(2 * rows)), index=torch.arange(2 * rows))
    params = drawn(CutMix(alpha), batch)[:rows]
    params = PasteParams(torch.arange(rows) + rows, params.start, params.stop)
    mixed = CutMix(alpha).apply(batch[:rows], params)
    share = mixed.tensor.mean(dim=(1, 2, 3))
    assert torch.equal(weights(mixed.target)[:, 0], share)
    torch.testing.assert_close(weights(mixed.target).sum(1), torch.ones(rows), atol=1e-6, rtol=0)
    side = params.stop - params.start
    assert (side == 0).any()
    assert ((params.start == 0) | (params.stop == 32)).any()


@pytest.mark.parametrize("size, expected", [(32, 0.70), (224, 0.682)])
def test_clipped_boxes_leave_more_than_was_drawn(size: int, expected: float) -> None:
    # Boxes that are moved inside instead would leave a half.
    batch = telltale(20_000, size, size, channels=1)
    kept = 1 - pasted_share(drawn(CutMix(), batch), (size, size))
    assert kept.mean().item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("sizes", [(33,), (32, 20), (7, 12, 9)])
def test_the_sides_of_unclipped_boxes_are_even(sizes: tuple[int, ...]) -> None:
    params = drawn(CutMix(), telltale(5000, *sizes))
    inside = (params.start > 0) & (params.stop < torch.tensor(sizes))
    sides = (params.stop - params.start)[inside]
    assert len(sides) > 500
    assert (sides % 2 == 0).all()


def test_boxes_are_centred_on_every_place_equally_often() -> None:
    # With a share of nearly one half every box has a side of 16, so that a border that was not
    # clipped tells the centre.
    size, half = 24, 8
    params = drawn(CutMix(alpha=1000.0), telltale(60_000, size, size, channels=1))
    centre = torch.where(params.start > 0, params.start + half, params.stop - half)
    assert torch.equal(params.start, (centre - half).clamp(min=0))
    assert torch.equal(params.stop, (centre + half).clamp(max=size))
    counts = torch.bincount(centre[:, 0] * size + centre[:, 1], minlength=size * size)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_boxes_reach_every_border_and_no_further() -> None:
    params = drawn(CutMix(), telltale(3000, 8, 20))
    assert params.start.amin(0).tolist() == [0, 0]
    assert params.stop.amax(0).tolist() == [8, 20]
    assert (params.start <= params.stop).all()
    assert len({tuple(row) for row in torch.cat([params.start, params.stop], 1).tolist()}) > 500


def test_a_side_below_two_places_is_an_empty_box() -> None:
    start, stop = boxes(torch.tensor([0.99, 1.0]), torch.tensor([[3, 4], [0, 0]]), (10, 10))
    assert torch.equal(start, stop)
    mixed = CutMix().apply(telltale(2, 10, 10), PasteParams(torch.tensor([1, 0]), start, stop))
    assert torch.equal(mixed.tensor, telltale(2, 10, 10).tensor)
    assert weights(mixed.target).tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_nothing_kept_covers_all_from_the_middle_and_is_clipped_elsewhere() -> None:
    centre = torch.tensor([[5, 5], [0, 0], [9, 5]])
    start, stop = boxes(torch.zeros(3), centre, (10, 10))
    assert start.tolist() == [[0, 0], [0, 0], [4, 0]]
    assert stop.tolist() == [[10, 10], [5, 5], [10, 10]]


def test_right_and_bottom_are_exclusive_and_axes_are_not_mixed_up() -> None:
    params = PasteParams(
        torch.tensor([1, 0]), torch.tensor([[2, 1]] * 2), torch.tensor([[5, 3]] * 2)
    )
    pasted = (CutMix().apply(telltale(2, 8, 10), params).tensor[0, 0] == 1).nonzero()
    assert pasted.amin(0).tolist() == [2, 1]  # row, column
    assert pasted.amax(0).tolist() == [4, 2]
    assert box_mask(params.start, params.stop, (8, 10)).sum(dim=(1, 2)).tolist() == [6, 6]


def test_meeting_oneself_changes_neither_sample_nor_label() -> None:
    batch = telltale(3, 6, 6)
    params = drawn(CutMix(), batch)
    mixed = CutMix().apply(batch, PasteParams(batch.index, params.start, params.stop))
    assert torch.equal(mixed.tensor, batch.tensor)
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.dense(3), torch.eye(3), atol=1e-6, rtol=0)


@given(seed=st.integers(0, 2**31 - 1), alpha=st.floats(0.05, 8.0))
def test_label_weights_are_the_pixel_shares(seed: int, alpha: float) -> None:
    batch, mix = telltale(6, 8, 10), CutMix(alpha)
    mixed = mix.apply(batch, drawn(mix, batch, seed))
    shares = torch.stack([(mixed.tensor[:, 0] == i).float().mean(dim=(1, 2)) for i in range(6)], 1)
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.dense(6), shares)


def test_mixing_again_gives_four_labels_whose_weights_sum_to_one() -> None:
    batch, mix = telltale(64, 16, 16), CutMix()
    once = mix.apply(batch, drawn(mix, batch, 1))
    twice = mix.apply(once, drawn(mix, once, 2))
    assert weights(twice.target).shape == (64, 4)
    torch.testing.assert_close(weights(twice.target).sum(1), torch.ones(64), atol=1e-6, rtol=0)


def test_eight_bit_images_stay_eight_bit_images() -> None:
    batch = telltale(5, 6, 6)
    batch = batch.replace(x=batch.tensor.to(torch.uint8))
    before = batch.tensor.clone()
    mixed = CutMix().apply(batch, drawn(CutMix(), batch))
    assert mixed.tensor.dtype == torch.uint8
    assert torch.equal(batch.tensor, before)


def test_one_box_a_sample_or_one_for_the_batch() -> None:
    batch = telltale(50, 16, 16)
    each, shared = drawn(CutMix(), batch), drawn(CutMix(scope="batch"), batch)
    assert len(each.start.unique(dim=0)) > 10
    assert len(torch.cat([shared.start, shared.stop], 1).unique(dim=0)) == 1
    assert torch.equal(each.partner, shared.partner)
    boxes_of_seeds = {
        tuple(drawn(CutMix(scope="batch"), batch, s).start[0].tolist()) for s in range(30)
    }
    assert len(boxes_of_seeds) > 10


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_the_share_of_samples_that_are_mixed_at_all(prob: float) -> None:
    batch = telltale(8000, 32, 32, channels=1)
    with_prob, always = drawn(CutMix(prob=prob), batch), drawn(CutMix(), batch)
    boxed = (always.start < always.stop).all(1)
    mixed = (with_prob.start < with_prob.stop).all(1)
    assert mixed.sum().item() / boxed.sum().item() == pytest.approx(prob, abs=0.02)
    assert torch.equal(with_prob.stop[mixed], always.stop[mixed])


def test_with_one_box_for_the_batch_the_batch_is_mixed_or_left() -> None:
    batch = telltale(10, 32, 32)
    mixed = []
    for seed in range(400):
        params = drawn(CutMix(prob=0.5, scope="batch"), batch, seed)
        active = (params.start < params.stop).all(1)
        assert active.all() or not active.any()
        mixed.append(bool(active[0]))
    assert sum(mixed) / 400 == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 1, 2, 2, 2, 2)])
def test_samples_without_a_box_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    batch = Batch.of(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"x must be a series .* got shape \(4,"):
        drawn(CutMix(), batch)


@pytest.mark.parametrize(
    "settings", [{"alpha": 0}, {"alpha": -1.0}, {"prob": 1.5}, {"scope": "group"}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        CutMix(**settings)


def test_params_and_result_are_those_of_the_golden_file() -> None:
    golden = json.loads((GOLDEN / "cutmix.json").read_text())
    batch = telltale(4, 6, 8, channels=1).replace(index=torch.tensor(golden["index"]))
    params = drawn(CutMix(golden["alpha"]), batch, golden["seed"])
    assert {name: tensor.tolist() for name, tensor in params.flat().items()} == golden["params"]
    mixed = CutMix(golden["alpha"]).apply(batch, params)
    assert mixed.tensor[:, 0].long().tolist() == golden["x"]
    torch.testing.assert_close(weights(mixed.target), torch.tensor(golden["weights"]))


def test_the_partners_share_of_each_place_is_where_its_pixels_are() -> None:
    batch = telltale(6, 9, 11)
    params = drawn(CutMix(), batch)
    mixed = CutMix().apply(batch, params).tensor[:, 0]
    rows, columns = torch.tensor([0, 4, 8]), torch.tensor([1, 2, 7, 10])
    share = params.partner_share((rows, columns))
    seen = mixed[:, rows][:, :, columns]
    own, partner = (index.view(-1, 1, 1).float() for index in (batch.index, params.partner))
    assert share.shape == (6, 3, 4)
    assert torch.equal(seen, torch.where(share == 1, partner, own))
    assert set(share.unique().tolist()) == {0.0, 1.0}


def test_sides_between_two_shares_give_boxes_that_lie_inside() -> None:
    x = torch.zeros(4000, 1, 20, 40)
    params = CutMix(minmax=(0.2, 0.8)).sample(Batch.of(x), Draws(0, torch.arange(4000)))
    sides = params.stop - params.start
    assert sides.amin(0).tolist() == [4, 8]
    assert sides.amax(0).tolist() == [15, 31]  # the largest is left out, as timm leaves it out
    assert (params.start >= 0).all()
    assert (params.stop <= torch.tensor([20, 40])).all()
    for axis, (low, high) in enumerate(((4, 16), (8, 32))):
        observed = torch.bincount(sides[:, axis])[low:high]
        expected = 4000 / (high - low)
        statistic = ((observed - expected) ** 2 / expected).sum()
        assert stats.chi2.sf(float(statistic), high - low - 1) > 1e-3


@pytest.mark.parametrize("minmax", [(0.0, 0.5), (0.5, 0.2), (0.2, 1.5), (0.5,)])
def test_sides_that_make_no_sense_are_refused(minmax: Any) -> None:
    with pytest.raises(ValueError, match="minmax must be"):
        CutMix(minmax=minmax)
