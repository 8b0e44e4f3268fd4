"""FMix: masks of random clouds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget
from vicinal.mixers import low_frequency
from vicinal.mixers.fmix import FMix, FMixParams, shown_places

AUTHORS = load_file(Path(__file__).parent / "golden" / "fmix_authors.safetensors")


def telltale(count: int, *sizes: int) -> Batch:
    """Row i holds i in every place, and the label i."""
    rows = torch.arange(count)
    x = rows.float().view(-1, 1, *[1] * len(sizes)).expand(count, 1, *sizes)
    return Batch.of(x.contiguous(), rows)


def drawn(mix: FMix, batch: Batch, seed: int = 0) -> FMixParams:
    return mix.sample(batch, Draws(seed, batch.index))


def with_share(params: FMixParams, lam: float) -> FMixParams:
    return FMixParams(params.partner, torch.full_like(params.lam, lam), params.up, params.key)


def masks(mix: FMix, count: int, *sizes: int, lam: float | None = None, seed: int = 0) -> Tensor:
    batch = telltale(count, *sizes)
    params = drawn(mix, batch, seed)
    return mix.own_share(batch, params if lam is None else with_share(params, lam))


def weights(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    return batch.target.weights


@pytest.mark.parametrize("spectrum", ["isotropic", "released"])
def test_ten_thousand_masks_show_the_share_drawn_to_the_place(spectrum: str) -> None:
    batch = telltale(10_000, 9, 11)
    mix = FMix(spectrum=spectrum)  # type: ignore[arg-type]
    params = drawn(mix, batch)
    mask = mix.own_share(batch, params)
    assert mask.dtype == torch.bool
    shown, exact = mask.flatten(1).sum(dim=1), params.lam.double() * 99
    assert torch.equal(shown, torch.where(params.up, exact.ceil(), exact.floor()).long())
    assert float(params.up.float().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(params.lam.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("sizes", [(40,), (9, 14), (4, 6, 5)])
def test_each_place_shows_one_of_the_two_and_labels_weigh_what_is_shown(
    sizes: tuple[int, ...],
) -> None:
    batch = telltale(50, *sizes)
    mix = FMix()
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    own, partner = batch.tensor, batch.tensor[params.partner]
    assert bool(((mixed.tensor == own) | (mixed.tensor == partner)).all())
    assert isinstance(mixed.target, ClassTarget)
    shares = torch.stack([(mixed.tensor == i).flatten(1).float().mean(dim=1) for i in range(50)], 1)
    torch.testing.assert_close(mixed.target.dense(50), shares)


def test_a_share_of_nothing_is_the_partner_and_of_all_the_own_sample() -> None:
    batch = telltale(6, 7, 7)
    params = drawn(FMix(), batch)
    nothing = FMix().apply(batch, with_share(params, 0.0))
    assert torch.equal(nothing.tensor, batch.tensor[params.partner])
    assert torch.equal(weights(nothing)[:, 0], torch.zeros(6))
    everything = FMix().apply(batch, with_share(params, 1.0))
    assert torch.equal(everything.tensor, batch.tensor)
    assert torch.equal(weights(everything)[:, 0], torch.ones(6))


def test_whole_numbers_round_up_and_down_to_themselves() -> None:
    lam, up = torch.tensor([0.5, 0.5, 0.25, 0.26]), torch.tensor([True, False, True, True])
    assert shown_places(lam, up, 8).tolist() == [4, 4, 2, 3]


def test_soft_edges_are_a_slope_of_even_steps_and_keep_the_mean() -> None:
    mix, batch = FMix(soft=0.1), telltale(200, 10, 12)
    params = drawn(mix, batch)
    mask = mix.own_share(batch, params).flatten(1)
    room = torch.minimum(params.lam, 1 - params.lam).double().clamp(max=0.1)
    reach = (room * 120).long()
    assert int(reach.max()) == 12
    assert int(reach.min()) < 12
    # Of the 2 q values on the slope the first is 1 and the last 0.
    between = ((mask > 0) & (mask < 1)).sum(dim=1)
    assert torch.equal(between, (2 * reach - 2).clamp(min=0))
    for row, steps in zip(mask, between.tolist(), strict=True):
        assert len(row[(row > 0) & (row < 1)].unique()) == steps
    shown = shown_places(params.lam, params.up, 120)
    torch.testing.assert_close(mask.sum(dim=1), shown.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(weights(mix.apply(batch, params))[:, 0], shown / 120)


def boundary(mask: Tensor) -> float:
    """Mean number of neighbours of which one is shown and the other not. mask: (B, H, W) bool."""
    across = (mask[:, :, 1:] != mask[:, :, :-1]).sum(dim=(1, 2))
    down = (mask[:, 1:] != mask[:, :-1]).sum(dim=(1, 2))
    return float((across + down).float().mean())


def pieces(mask: Tensor) -> list[int]:
    """Connected pieces of both samples together. mask: (B, H, W) bool."""
    return [ndimage.label(one)[1] + ndimage.label(~one)[1] for one in mask.numpy()]


def test_masks_have_the_pieces_and_the_boundary_of_the_papers() -> None:
    smooth = masks(FMix(), 1000, 32, 32, lam=0.5)
    assert boundary(smooth) == pytest.approx(102, abs=6)
    count = pieces(smooth)
    assert sum(count) / 1000 == pytest.approx(4.2, abs=0.3)
    assert boundary(masks(FMix(decay=0.0), 1000, 32, 32, lam=0.5)) == pytest.approx(990, abs=15)
    assert boundary(masks(FMix(decay=6.0), 1000, 32, 32, lam=0.5)) == pytest.approx(87, abs=6)
    # Boxes of CutMix, whole, have the same boundary and two pieces, and FMix makes no boxes.
    rows, columns = smooth.any(dim=2).sum(dim=1), smooth.any(dim=1).sum(dim=1)
    other_rows, other_columns = (~smooth).any(dim=2).sum(dim=1), (~smooth).any(dim=1).sum(dim=1)
    box = (rows * columns == 512) | (other_rows * other_columns == 512)
    assert int(box.sum()) < 5
    corner = torch.randint(1, 9, (1000, 2), generator=torch.Generator().manual_seed(0))
    pasted = box_mask(corner, corner + 23, (32, 32))
    assert boundary(pasted) == pytest.approx(92, abs=2)
    assert set(pieces(pasted)) == {2}


def test_masks_of_the_released_spectrum_repeat_along_the_last_axis() -> None:
    series = masks(FMix(spectrum="released"), 300, 64)
    turns = (series != series.roll(1, dims=1)).sum(dim=1)
    assert set(turns.tolist()) <= {0, 2}  # one window, around the end
    rows = masks(FMix(spectrum="released"), 300, 32, 32, lam=0.5)
    assert int((rows != rows.roll(1, dims=2)).sum(dim=2).max()) == 2
    paper = masks(FMix(), 300, 32, 32, lam=0.5)
    assert int((paper != paper.roll(1, dims=2)).sum(dim=2).max()) > 2


def test_a_batch_through_the_authors_code_comes_out_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = torch.complex(*AUTHORS["batch.noise"].unbind(0)).flatten()
    monkeypatch.setattr(low_frequency, "complex_normal", lambda key, _: noise.expand(len(key), -1))
    batch = Batch.of(AUTHORS["batch.x"], torch.arange(4))
    lam = AUTHORS["batch.lam"].float().expand(4)
    params = FMixParams(AUTHORS["batch.partner"], lam, lam > 0, torch.zeros(4, dtype=torch.int64))
    mixed = FMix(spectrum="released").apply(batch, params)
    torch.testing.assert_close(mixed.tensor, AUTHORS["batch.mixed"], atol=1e-6, rtol=0)
    assert float(weights(mixed)[0, 0]) == pytest.approx(float(lam[0]), abs=1 / 80)


def test_every_sample_has_its_own_mask_and_a_batch_one_where_asked() -> None:
    batch = telltale(40, 16, 16)
    each = FMix().own_share(batch, drawn(FMix(), batch))
    assert len(each.flatten(1).unique(dim=0)) == 40
    one = FMix(scope="batch")
    params = drawn(one, batch)
    assert len(one.own_share(batch, params).flatten(1).unique(dim=0)) == 1
    assert len(params.partner.unique()) == 40
    # Made once or for each row: the mask of a row is its own.
    alone = one.own_share(batch[:1], params[:1])
    assert torch.equal(alone[0], one.own_share(batch, params)[7])


@pytest.mark.parametrize("soft", [0.0, 0.3])
def test_levels_are_mixed_as_numbers_are_and_rounded(soft: float) -> None:
    batch = telltale(5, 6, 6)
    batch = batch.replace(x=batch.tensor * 50)
    mix = FMix(soft=soft)
    params = drawn(mix, batch)
    mixed = mix.apply(batch.replace(x=batch.tensor.byte()), params)
    assert mixed.tensor.dtype == torch.uint8
    rounding = 0.5 + 1e-4 if soft else 0
    wanted = mix.apply(batch, params).tensor
    torch.testing.assert_close(mixed.tensor.float(), wanted, atol=rounding, rtol=0)


def test_keeping_the_own_label_draws_larger_shares_and_gives_the_same_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (20_000,), generator=generator)
    x = torch.randn(20_000, 1, 6, 6, generator=generator)
    x[:, 0, 0] += F.one_hot(y, 6)  # the class shows in the first row
    batch = Batch.of(x, y)
    gradients = []
    for mix in (FMix(), FMix(labels="own")):
        params = drawn(mix, batch)
        mixed = mix.apply(batch, params)
        weight = torch.zeros(36, 3, requires_grad=True)
        assert mixed.target is not None
        mixed.target.loss(mixed.tensor.flatten(1) @ weight).backward()
        assert weight.grad is not None
        gradients.append(weight.grad)
    both, own = gradients
    assert torch.equal(mixed.target.labels, batch.target.labels)  # type: ignore[union-attr]
    assert float(params.lam.mean()) == pytest.approx(2 / 3, abs=0.01)  # of Beta(2, 1)
    # In the direction that there is to learn; across it the two draw different noise.
    assert float((both * own).sum() / both.square().sum()) == pytest.approx(1, abs=0.02)


def test_a_batch_of_one_and_of_one_class_are_mixed_with_themselves() -> None:
    alone = telltale(1, 5, 5)
    mixed = FMix().apply(alone, drawn(FMix(), alone))
    assert torch.equal(mixed.tensor, alone.tensor)
    same = Batch.of(torch.randn(4, 1, 5, 5), torch.zeros(4, dtype=torch.int64))
    mixed = FMix().apply(same, drawn(FMix(), same))
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.dense(2), torch.tensor([[1.0, 0.0]]).expand(4, 2))


def test_one_compiled_graph_serves_many_batches() -> None:
    mix = FMix()
    compiled = torch.compile(mix.apply, fullgraph=True, backend="eager")
    batch = telltale(6, 8, 8)
    compiled(batch, drawn(mix, batch))
    with torch.compiler.set_stance("fail_on_recompile"):
        for seed in range(20):
            params = drawn(mix, batch, seed)
            found, wanted = compiled(batch, params), mix.apply(batch, params)
            assert torch.equal(found.tensor, wanted.tensor)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, r"alpha must be in \(0, inf\), got 0"),
        ({"decay": -1.0}, r"decay must be in \[0, inf\), got -1"),
        ({"soft": 0.6}, r"soft must be in \[0, 0.5\], got 0.6"),
        ({"spectrum": "pink"}, "spectrum must be one of isotropic, released, got 'pink'"),
        ({"labels": "both"}, "labels must be one of mixed, own, got 'both'"),
        ({"scope": "all"}, "scope must be one of sample, batch, got 'all'"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FMix(**settings)  # type: ignore[arg-type]


def test_samples_without_places_are_refused() -> None:
    rows = Batch.of(torch.zeros(3, 8), torch.arange(3))
    with pytest.raises(ValueError, match=r"got shape \(3, 8\)"):
        FMix().sample(rows, Draws(0, rows.index))
    with pytest.raises(TypeError, match="pairing must be a Pairing"):
        FMix(pairing="random")  # type: ignore[arg-type]
