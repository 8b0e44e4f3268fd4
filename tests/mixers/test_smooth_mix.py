"""SmoothMix: soft round spots."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.partner_share import PartnerShare
from vicinal.core.target import ClassTarget
from vicinal.mixers.smooth_mix import SmoothMix, SmoothMixParams

OPENMIXUP = load_file(Path(__file__).parent / "golden" / "smoothmix_openmixup.safetensors")


def ones_and_zeros(count: int, *sizes: int) -> tuple[Batch, Tensor]:
    """Half of the samples all ones, half zeros, and partners of the other half."""
    rows = torch.arange(2 * count)
    x = (rows < count).float().view(-1, 1, *[1] * len(sizes)).expand(-1, 1, *sizes)
    return Batch.of(x.contiguous(), rows), rows.roll(count)


def weights(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    return batch.target.weights


def drawn(mix: SmoothMix, batch: Batch, seed: int = 0) -> SmoothMixParams:
    return mix.sample(batch, Draws(seed, batch.index))


@pytest.mark.parametrize("sizes", [(40,), (12, 15), (6, 8, 7)])
def test_the_own_label_weighs_what_is_shown_of_the_own_sample(sizes: tuple[int, ...]) -> None:
    batch, partner = ones_and_zeros(30, *sizes)
    params = drawn(SmoothMix(), batch)
    params = SmoothMixParams(partner, params.centre, params.spread)
    mixed = SmoothMix().apply(batch, params)
    shown = mixed.tensor[:30].flatten(1).mean(dim=1)
    torch.testing.assert_close(weights(mixed)[:30, 0], shown)
    torch.testing.assert_close(weights(mixed)[:, 1], 1 - weights(mixed)[:, 0])
    assert float((shown - 0.5).abs().min()) > 1e-3  # or a swap of the weights would not show


def test_inputs_are_those_of_openmixup_and_its_weight_is_the_partners() -> None:
    wanted = OPENMIXUP["own"]
    count = len(wanted)
    batch, partner = ones_and_zeros(count, 16, 16)
    centre = OPENMIXUP["rows_columns"] - 0.5
    spread = (0.25 + OPENMIXUP["unit"] / 4) * 16
    params = SmoothMixParams(partner, centre.repeat(2, 1), spread.repeat(2))
    mixed = SmoothMix().apply(batch, params)
    torch.testing.assert_close(mixed.tensor[:count, 0], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(weights(mixed)[:count, 1], OPENMIXUP["returned"], atol=1e-6, rtol=0)


def test_the_spot_is_one_at_its_centre_and_round() -> None:
    params = SmoothMixParams(
        torch.tensor([0]), centre=torch.tensor([[3.0, 5.0]]), spread=torch.tensor([2.0])
    )
    batch = Batch.of(torch.zeros(1, 1, 9, 11), torch.tensor([0]))
    spot = 1 - SmoothMix().own_share(batch, params)[0]
    assert float(spot[3, 5]) == 1
    same = torch.stack([spot[1, 5], spot[5, 5], spot[3, 3], spot[3, 7]])
    torch.testing.assert_close(same, torch.full((4,), -0.5).exp())


def test_no_edge_is_steeper_than_that_of_the_spot() -> None:
    batch, _ = ones_and_zeros(50, 32, 24)
    params = drawn(SmoothMix(), batch)
    own = SmoothMix().own_share(batch, params)
    for axis in (1, 2):
        step = own.diff(dim=axis).abs().amax(dim=(1, 2))
        assert bool((step <= 0.61 / params.spread).all())


def test_spots_are_anywhere_and_of_every_size_between() -> None:
    batch, _ = ones_and_zeros(4000, 20, 10)
    params = drawn(SmoothMix(), batch)
    torch.testing.assert_close(
        params.centre.mean(dim=0), torch.tensor([9.5, 4.5]), atol=0.2, rtol=0
    )
    assert params.centre.amin(dim=0).tolist() == pytest.approx([-0.5, -0.5], abs=0.02)
    assert params.centre.amax(dim=0).tolist() == pytest.approx([19.5, 9.5], abs=0.02)
    assert float(params.spread.min()) == pytest.approx(5, abs=0.01)
    assert float(params.spread.max()) == pytest.approx(10, abs=0.01)
    one = drawn(SmoothMix(scope="batch"), batch)
    assert len(one.spread.unique()) == 1
    assert len(one.centre.unique(dim=0)) == 1
    own = SmoothMix().own_share(batch, one)
    assert torch.equal(own[0], own[-1])


def test_levels_are_mixed_as_numbers_are_and_rounded() -> None:
    batch, _ = ones_and_zeros(4, 9, 7)
    batch = batch.replace(x=batch.tensor * 250)
    params = drawn(SmoothMix(), batch)
    mixed = SmoothMix().apply(batch.replace(x=batch.tensor.byte()), params)
    assert mixed.tensor.dtype == torch.uint8
    wanted = SmoothMix().apply(batch, params).tensor
    torch.testing.assert_close(mixed.tensor.float(), wanted, atol=0.5 + 1e-4, rtol=0)


def test_params_say_where_the_partner_is() -> None:
    batch, _ = ones_and_zeros(4, 9, 7)
    params = drawn(SmoothMix(), batch)
    assert isinstance(params, PartnerShare)
    rows, columns = torch.tensor([0, 4, 8]), torch.tensor([1, 6])
    share = params.partner_share([rows, columns])
    own = SmoothMix().own_share(batch, params)
    torch.testing.assert_close(share, 1 - own[:, rows][:, :, columns])


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"smallest must be at most largest, got 0\.6 and 0\.5"):
        SmoothMix(0.6)
    with pytest.raises(ValueError, match=r"smallest must be in \(0, inf\), got 0"):
        SmoothMix(0.0)
    with pytest.raises(ValueError, match="scope must be one of sample, batch"):
        SmoothMix(scope="all")  # type: ignore[arg-type]
    rows = Batch.of(torch.zeros(3, 8), torch.arange(3))
    with pytest.raises(ValueError, match=r"got shape \(3, 8\)"):
        SmoothMix().sample(rows, Draws(0, rows.index))
