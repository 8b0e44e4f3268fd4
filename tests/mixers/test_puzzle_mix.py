from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.methods.ground import CLASSES, ConvNet
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, PuzzleMix
from vicinal.core.partner_share import PartnerShare
from vicinal.core.probe import Saliency, ask
from vicinal.mixers import puzzle
from vicinal.mixers.pairing import Pairing
from vicinal.mixers.puzzle import PuzzleMixParams

GOLDEN = load_file(Path(__file__).parent / "golden" / "puzzle_mix_authors.safetensors")


@dataclass(frozen=True)
class Given(Pairing):
    """The partners are known."""

    positions: tuple[int, ...]
    pooled: bool = False

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return batch.index[list(self.positions)]


def pictures(count: int = 12, side: int = 32, seed: int = 0) -> Batch:
    """Smooth images, each with a class of its own and one bright, salient spot."""
    draw = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 3, 7, 7, generator=draw)
    x = F.interpolate(low, size=side, mode="bilinear") - 0.5
    spots = F.interpolate(torch.rand(count, 1, 5, 5, generator=draw), size=side, mode="bilinear")
    rows = torch.arange(count)
    return Batch(
        x=x,
        target=ClassTarget(rows[:, None]),
        index=rows,
        evidence={Saliency(): spots[:, 0].pow(4)},
    )


def drawn(mix: PuzzleMix, batch: Batch, seed: int = 0) -> PuzzleMixParams:
    return mix.sample(batch, Draws(seed, batch.index))


def in_cells(batch: Batch, side: int) -> Tensor:
    pooled = F.adaptive_avg_pool2d(batch.evidence[Saliency()][:, None], side)[:, 0]
    return pooled / pooled.sum(dim=(1, 2), keepdim=True)


def mix_with_the_authors_cut(
    monkeypatch: pytest.MonkeyPatch, side: int, block_size: int | None = None
) -> tuple[PuzzleMix, Batch, Tensor, Tensor]:
    """The mixer and batch of a golden run, its partners, and the weights it gave to the own."""
    stored = {name[2:]: value for name, value in GOLDEN.items() if name.startswith(f"{side}.")}
    monkeypatch.setattr(puzzle, "cut", lambda energy: stored["share"].permute(1, 2, 0))
    pairing = Given(tuple(stored["partner"].tolist()))
    mix = PuzzleMix(grids=(side,), moving_cost=0.02, block_size=block_size, pairing=pairing)
    batch = Batch.of(stored["x"], torch.arange(6))
    batch = batch.replace(evidence={Saliency(): stored["saliency"]})
    return mix, batch, stored["partner"], stored["kept"]


@pytest.mark.parametrize("side", [2, 4, 8])
def test_images_and_weights_are_the_authors(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    # snu-mllab/PuzzleMix at e2dbf3a: mixup_graph, with the shares that its cut found.
    mix, batch, partner, kept = mix_with_the_authors_cut(monkeypatch, side)
    mixed = mix(batch)
    torch.testing.assert_close(mixed.x, GOLDEN[f"{side}.mixed"], atol=1e-6, rtol=0)
    weights = torch.eye(6) * kept[:, None] + torch.eye(6)[partner] * (1 - kept[:, None])
    torch.testing.assert_close(mixed.target.dense(6), weights)


def test_blocks_smaller_than_cells_are_moved_as_by_the_authors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mix, batch, _, _ = mix_with_the_authors_cut(monkeypatch, 2, block_size=2)
    torch.testing.assert_close(mix(batch).x, GOLDEN["2.mixed_finer"], atol=1e-6, rtol=0)


def test_a_mixture_shows_more_saliency_than_cutmix_does() -> None:
    # Of all in two images, against a box of the same area anywhere; alpha 8 keeps shares medium.
    batch = pictures(64)
    mix = PuzzleMix(alpha=8.0, grids=(8,), transport=False)
    params = drawn(mix, batch)
    saliency = in_cells(batch, 8)
    other = saliency[params.partner]
    seen = (params.share * saliency + (1 - params.share) * other).sum(dim=(1, 2))
    area = 1 - params.share.mean(dim=(1, 2))
    side = (area * 64).sqrt().round().long().clamp(max=8)
    for row in range(64):
        size = int(side[row])
        boxes = []
        for top in range(9 - size):
            for left in range(9 - size):
                own = torch.ones(8, 8)
                own[top : top + size, left : left + size] = 0
                boxes.append((own * saliency[row] + (1 - own) * other[row]).sum())
        assert seen[row] > torch.stack(boxes).mean()


def test_moving_blocks_never_hides_saliency() -> None:
    batch = pictures(32)
    params = drawn(PuzzleMix(moving_cost=0.1), batch)
    assert params.block is not None
    assert params.partner_block is not None
    saliency, share = in_cells(batch, 8).flatten(1), params.share.flatten(1)
    for worth, block, part in (
        (saliency, params.block, share),
        (saliency[params.partner], params.partner_block, 1 - share),
    ):
        stays, moves = (part * worth).sum(1), (part * worth.gather(1, block.long())).sum(1)
        assert (moves >= stays - 1e-6).all()
        assert (moves > stays + 1e-3).any()


@pytest.mark.parametrize("settings", [{"beta": 1e5}, {"beta": 1e5, "gamma": 1.0}])
def test_dear_borders_leave_none(settings: dict[str, float]) -> None:
    share = drawn(PuzzleMix(**settings), pictures(24)).share
    assert (share.amax((1, 2)) == share.amin((1, 2))).all()


def test_a_share_near_one_shows_the_own_image_alone() -> None:
    batch = pictures(64)
    params = drawn(PuzzleMix(alpha=0.01, eta=10.0), batch)
    whole = params.share.mean(dim=(1, 2))
    assert ((whole == 0) | (whole == 1)).float().mean() > 0.9
    same = whole == 1
    mixed = PuzzleMix().apply(batch, params)
    torch.testing.assert_close(mixed.x[same], batch.x[same])


def test_weights_are_the_shares_that_are_seen() -> None:
    batch = pictures(12)
    x = torch.eye(12)[:, :, None, None].expand(-1, -1, 32, 32).contiguous()
    batch = batch.replace(x=x)
    params = drawn(PuzzleMix(), batch)
    mixed = PuzzleMix().apply(batch, params)
    torch.testing.assert_close(mixed.x.mean(dim=(2, 3)), mixed.target.dense(12))
    assert isinstance(params, PartnerShare)
    places = [torch.tensor([0, 13, 31]), torch.tensor([5, 30])]
    seen = params.partner_share(places)
    own = mixed.x[torch.arange(12), torch.arange(12)][:, places[0]][:, :, places[1]]
    others = params.partner != batch.index
    torch.testing.assert_close(seen[others], 1 - own[others])


def test_each_sample_draws_its_grid_unless_the_batch_shares_one() -> None:
    batch = pictures(64)

    def finest(params: PuzzleMixParams) -> Tensor:
        """The fewest cells a side that can tell each share: 2, 4 or 8, or 1."""
        cells = [
            F.max_pool2d(params.share, 8 // side) == -F.max_pool2d(-params.share, 8 // side)
            for side in (4, 2)
        ]
        return torch.stack([fits.flatten(1).all(1) for fits in cells], 1)

    each = finest(drawn(PuzzleMix(beta=0.1, eta=0.02), batch))
    assert 0 < each[:, 0].float().mean() < 1
    assert 0 < each[:, 1].float().mean() < 1
    shares = [drawn(PuzzleMix(beta=0, eta=0.02, scope="batch"), batch, seed) for seed in range(12)]
    found = {bool(finest(one)[:, 0].all()) for one in shares}
    assert found == {True, False}


def test_a_flat_saliency_is_no_hindrance() -> None:
    batch = pictures(4).replace(evidence={Saliency(): torch.zeros(4, 32, 32)})
    assert drawn(PuzzleMix(), batch).share.isfinite().all()


def test_one_extra_pass_forward_and_back_is_all_it_costs() -> None:
    calls = {"forward": 0, "backward": 0}
    model = ConvNet(3)
    model.register_forward_hook(lambda *_: calls.update(forward=calls["forward"] + 1))
    model.register_full_backward_hook(lambda *_: calls.update(backward=calls["backward"] + 1))
    mix = PuzzleMix()
    labels = torch.arange(6) % CLASSES
    batch = ask(mix.probes, {"model": model}, Batch.of(torch.rand(6, 1, 8, 8), labels))
    mix(batch)
    assert calls == {"forward": 1, "backward": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"beta": -1.0}, "beta"),
        ({"moving_cost": 0.0}, "moving_cost"),
        ({"deviation": 0.0}, "deviation"),
        ({"grids": ()}, "grids"),
        ({"grids": (1, 2)}, "grids"),
        ({"grids": (3, 8)}, "grids"),
        ({"block_size": 0}, "block_size"),
        ({"pairing": Given((0,), pooled=True)}, "within the batch"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PuzzleMix(**settings)  # type: ignore[arg-type]


def test_inputs_it_cannot_mix_are_refused() -> None:
    batch = pictures(4)
    with pytest.raises(ValueError, match="PuzzleMix needs what Saliency finds"):
        drawn(PuzzleMix(), batch.replace(evidence={}))
    odd = batch.replace(x=torch.rand(4, 3, 13, 32), evidence={Saliency(): torch.rand(4, 13, 32)})
    with pytest.raises(ValueError, match="none of the grids"):
        drawn(PuzzleMix(), odd)
    with pytest.raises(ValueError, match="blocks of 3 pixels do not divide"):
        drawn(PuzzleMix(block_size=3), batch)
    params = drawn(PuzzleMix(), batch)
    with pytest.raises(TypeError, match="floating point"):
        PuzzleMix().apply(batch.replace(x=torch.zeros(4, 3, 32, 32, dtype=torch.uint8)), params)


def test_a_batch_of_one_and_of_one_class_is_mixed() -> None:
    one = pictures(1)
    torch.testing.assert_close(PuzzleMix(moving_cost=100.0)(one).x, one.x)
    alike = pictures(6).replace(target=ClassTarget(torch.zeros(6, 1, dtype=torch.long)))
    torch.testing.assert_close(PuzzleMix()(alike).target.dense(2)[:, 0], torch.ones(6))
