"""GridMix: lattices of holes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.partner_share import PartnerShare
from vicinal.core.target import ClassTarget
from vicinal.mixers.grid_mix import GridMix, GridMixParams

OPENMIXUP = load_file(Path(__file__).parent / "golden" / "gridmix_openmixup.safetensors")


def telltale(count: int, height: int, width: int) -> Batch:
    """Row i holds i in every pixel, and the label i."""
    rows = torch.arange(count)
    x = rows.float().view(-1, 1, 1, 1).expand(count, 1, height, width)
    return Batch.of(x.contiguous(), rows)


def drawn(mix: GridMix, batch: Batch, seed: int = 0) -> GridMixParams:
    return mix.sample(batch, Draws(seed, batch.index))


def weights(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    return batch.target.weights


class Given(Draws):
    """Draws whose numbers are those that OpenMixup drew."""

    def beta(self, name: str, a: float, b: float, *, shape: Sequence[int] = ()) -> Tensor:
        return OPENMIXUP["kept"]

    def below(self, name: str, bound: Any, *, shape: Sequence[int] = ()) -> Tensor:
        return OPENMIXUP["holes"] - 2

    def uniform(
        self, name: str, low: float = 0.0, high: float = 1.0, *, shape: Sequence[int] = ()
    ) -> Tensor:
        if name == "place":  # its pixel, as a share of where the box fits
            return (OPENMIXUP["start"] + 0.5) / (24 - OPENMIXUP["box"] + 1)
        return OPENMIXUP[name]


def test_lattices_are_those_of_openmixup() -> None:
    count = len(OPENMIXUP["kept"])
    batch = telltale(count, 24, 24)
    params = GridMix().sample(batch, Given(0, batch.index))
    assert torch.equal(params.start, OPENMIXUP["start"])
    assert torch.equal(params.stop, OPENMIXUP["start"] + OPENMIXUP["box"])
    assert torch.equal(GridMix().own_share(batch, params), OPENMIXUP["own"].bool())
    kept = weights(GridMix().apply(batch, params))[:, 0]
    torch.testing.assert_close(kept, OPENMIXUP["weight"], atol=1e-6, rtol=0)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    alpha=st.sampled_from([0.05, 1.0, 4.0]),
    seed=st.integers(0, 10_000),
)
def test_labels_weigh_what_is_shown_whatever_the_size(
    height: int, width: int, alpha: float, seed: int
) -> None:
    batch = telltale(6, height, width)
    mix = GridMix(alpha)
    params = drawn(mix, batch, seed)
    mixed = mix.apply(batch, params)
    own, partner = batch.tensor, batch.tensor[params.partner]
    assert bool(((mixed.tensor == own) | (mixed.tensor == partner)).all())
    shares = torch.stack([(mixed.tensor == i).flatten(1).float().mean(dim=1) for i in range(6)], 1)
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.dense(6), shares)
    # Boxes lie within the image.
    size = torch.tensor([height, width])
    assert bool((params.start >= 0).all())
    assert bool((params.stop <= size).all())
    assert bool((params.hole < params.cell).all())


def test_holes_are_a_regular_lattice_within_their_box() -> None:
    params = GridMixParams(
        partner=torch.tensor([0]),
        start=torch.tensor([[2, 3]]),
        stop=torch.tensor([[9, 13]]),
        cell=torch.tensor([[4, 4]]),
        hole=torch.tensor([[2, 3]]),
    )
    own = GridMix().own_share(telltale(1, 12, 16), params)[0]
    rows = [2, 3, 6, 7]
    columns = [3, 4, 5, 7, 8, 9, 11, 12]  # the last hole is cut by the box
    wanted = torch.ones(12, 16, dtype=torch.bool)
    for row in rows:
        wanted[row, columns] = False
    assert torch.equal(own, wanted)


def test_between_two_and_six_holes_fit_across_half_of_the_image_or_more() -> None:
    batch = telltale(3000, 64, 64)
    params = drawn(GridMix(), batch)
    box = params.stop - params.start
    across = -(-box[:, 1] // params.cell[:, 1])
    assert int(across.min()) == 2
    assert int(across.max()) == 6
    counts = torch.bincount(across, minlength=7)[2:].float() / 3000
    assert float((counts - 0.2).abs().max()) < 0.06
    area = box.prod(dim=1) / 64**2
    assert 0.3 < float(area.min()) < 0.5  # high boxes are cut to the image
    assert float(area.max()) > 0.9
    given = 1 - weights(GridMix().apply(batch, params))[:, 0]
    assert bool((given <= area + 1e-6).all())


def test_the_lattice_shows_in_the_masks_own_likeness() -> None:
    batch = telltale(200, 96, 96)
    params = drawn(GridMix(alpha=4.0), batch)
    holes = ~GridMix().own_share(batch, params)
    for row in range(0, 200, 20):
        cell = int(params.cell[row, 1])
        inside = holes[row][params.start[row, 0]]  # a row of pixels through holes
        first, last = int(params.start[row, 1]), int(params.stop[row, 1])
        line = inside[first:last].float() - inside[first:last].float().mean()
        likeness = [float((line[lag:] * line[: len(line) - lag]).mean()) for lag in range(cell + 2)]
        apart = range(cell // 2, cell + 2)
        assert max(apart, key=lambda lag: likeness[lag]) == cell


def test_every_sample_has_its_own_lattice_and_a_batch_one_where_asked() -> None:
    batch = telltale(60, 32, 32)
    each = GridMix().own_share(batch, drawn(GridMix(), batch))
    assert len(each.flatten(1).unique(dim=0)) > 55
    params = drawn(GridMix(scope="batch"), batch)
    own = GridMix().own_share(batch, params)
    assert len(own.flatten(1).unique(dim=0)) == 1
    assert torch.equal(GridMix().own_share(batch[:1], params[:1])[0], own[5])


def test_levels_are_mixed_as_they_are() -> None:
    batch = telltale(5, 12, 12)
    params = drawn(GridMix(), batch)
    mixed = GridMix().apply(batch.replace(x=batch.tensor.byte()), params)
    assert mixed.tensor.dtype == torch.uint8
    assert torch.equal(mixed.tensor.float(), GridMix().apply(batch, params).tensor)


def test_params_say_where_the_partner_is() -> None:
    batch = telltale(4, 15, 11)
    params = drawn(GridMix(), batch)
    assert isinstance(params, PartnerShare)
    rows, columns = torch.tensor([0, 7, 14]), torch.tensor([5, 6])
    share = params.partner_share([rows, columns])
    own = GridMix().own_share(batch, params)
    assert torch.equal(share, 1 - own[:, rows][:, :, columns].float())


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\), got 0"):
        GridMix(0.0)
    with pytest.raises(ValueError, match="fewest must be at most most, got 7 and 6"):
        GridMix(fewest=7)
    with pytest.raises(ValueError, match=r"fewest must be a whole number, got 2\.5"):
        GridMix(fewest=2.5)  # type: ignore[arg-type]
    series = Batch.of(torch.zeros(3, 2, 8), torch.arange(3))
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\), got shape \(3, 2, 8\)"):
        GridMix().sample(series, Draws(0, series.index))
