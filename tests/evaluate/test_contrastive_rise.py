"""Which places speak for one class over another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from vicinal import Draws
from vicinal.evaluate.contrastive_rise import ContrastiveRise, smooth_masks

#: Made by explanations.py of eclique/RISE at d91ea00, with scipy's zoom for skimage's resize.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "rise_authors.json").read_text())


def draws(rows: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(rows))


def test_saliency_is_the_difference_of_two_maps_of_the_authors_of_rise() -> None:
    height, width = GOLDEN["size"]
    x = (torch.arange(2 * 3 * height * width) * 0.7).sin().view(2, 3, height, width)
    slope = (torch.arange(3 * 3 * height * width) * 0.37 + 1.0).cos().view(3, -1)
    grid, shift = torch.tensor(GOLDEN["grid"]).bool(), torch.tensor(GOLDEN["shift"])
    masks = torch.tensor(GOLDEN["mask"]).view(2, height, width)
    found = smooth_masks(grid[:, 0], shift[:, 0], height, width)
    torch.testing.assert_close(found, masks, atol=1e-6, rtol=0)
    own, other = torch.tensor([0, 2]), torch.tensor([1, 0])
    measure = ContrastiveRise(grid.shape[1], grid.shape[2], share=GOLDEN["share"], rows=10)
    result = measure.explained(
        lambda seen: seen.flatten(1) @ slope.T / 4, x, own, others=other, grid=grid, shift=shift
    )
    maps = torch.tensor(GOLDEN["saliency"]).view(2, 3, height, width)
    rows = torch.arange(2)
    expected = maps[rows, own] - maps[rows, other]
    torch.testing.assert_close(result.saliency, expected, atol=1e-6, rtol=0)


@given(
    cells=st.integers(2, 6),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_masks_are_interpolated_grids_that_begin_anywhere_in_a_cell(
    cells: int, height: int, width: int, seed: int
) -> None:
    some = draws(3, seed)
    grid = some.bernoulli("grid", 0.5, shape=(cells, cells))
    sides = [-(-side // cells) for side in (height, width)]
    shift = torch.stack([some.below(str(side), side) for side in sides], dim=1)
    found = smooth_masks(grid, shift, height, width)
    for mask, one, (down, right) in zip(found, grid, shift.tolist(), strict=True):
        zoom = [(cells + 1) * side / cells for side in sides]
        whole = ndimage.zoom(one.double().numpy(), zoom, order=1, mode="mirror", grid_mode=True)
        window = torch.from_numpy(whole[down : down + height, right : right + width])
        torch.testing.assert_close(mask.double(), window, atol=1e-5, rtol=0)


def halves(rows: int = 4, side: int = 8) -> tuple[Tensor, Tensor]:
    """Images of class 0 whose right half is of class 1, and where that half is."""
    outside = torch.zeros(rows, side, side, dtype=torch.bool)
    outside[:, :, side // 2 :] = True
    return torch.stack([~outside, outside], dim=1).float(), outside


def bag(seen: Tensor) -> Tensor:
    """Adds up what all places say."""
    return 2 * seen.mean(dim=(2, 3))


def selective(seen: Tensor) -> Tensor:
    """Leaves out of account what class 1 has to say."""
    return bag(seen) * torch.tensor([1.0, 0.0])


def test_what_is_left_out_of_account_pulls_nowhere_and_what_is_not_to_its_class() -> None:
    x, outside = halves()
    zeros, ones = torch.zeros(4).long(), torch.ones(4).long()
    measure = ContrastiveRise(600, 4)
    found = {
        model: measure(model, x, zeros, others=ones, draws=draws(4)) for model in (bag, selective)
    }
    # Next to the other half, smooth masks show some of both.
    far = outside.clone()
    far[:, :, :6] = False
    assert found[bag].pull(far).amin() > 0.02
    assert found[selective].pull(far).abs().amax() < 0.005
    for result in found.values():
        assert result.pull(~outside).amax() < -0.02
    # Held the other way round, it is the left half that pulls.
    other = measure(bag, x, ones, others=zeros, draws=draws(4))
    torch.testing.assert_close(other.saliency, -found[bag].saliency)
    torch.testing.assert_close(other.pull(~outside), -found[bag].pull(~outside))


def test_saliency_of_one_pixel_is_what_is_known_of_it() -> None:
    # The model sees the first pixel, a tenth of a cell from the middle of the first one: a mask
    # is 0.81, 0.09, 0.09 and 0.01 of four cells there. The last pixel is of others.
    def model(seen: Tensor) -> Tensor:
        return torch.cat([seen[:, 0, :1, 0], -seen[:, 0, :1, 0]], dim=1)

    x, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1).long()
    found = ContrastiveRise(40_000, 4)(model, x, zeros, others=zeros + 1, draws=draws(1))
    cells = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    shown = cells @ torch.tensor([0.81, 0.09, 0.09, 0.01])
    told = shown.tanh()
    assert found.saliency[0, 0, 0] == pytest.approx(float((told * shown).mean() * 2), abs=0.01)
    assert found.saliency[0, 3, 3] == pytest.approx(float(told.mean()), abs=0.01)
    torch.testing.assert_close(found.baseline[0], told.mean().expand(4, 4), atol=0.01, rtol=0)


def test_an_image_has_the_same_masks_in_any_company() -> None:
    x = torch.randn(5, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(5).long()
    whole = ContrastiveRise(20, 3)(bag, x, zeros, others=zeros + 1, draws=draws(5))
    one = ContrastiveRise(20, 3, rows=7)(
        bag, x[3:4], zeros[:1], others=zeros[:1] + 1, draws=Draws(0, torch.tensor([3]))
    )
    torch.testing.assert_close(whole.saliency[3], one.saliency[0])
    torch.testing.assert_close(whole.baseline[3], one.baseline[0])
    assert not torch.allclose(whole.baseline[3], whole.baseline[2])


def test_bad_settings_and_shapes_are_refused() -> None:
    for name, settings in {
        "masks": {"masks": 0},
        "cells": {"cells": 1},
        "rows": {"rows": 0},
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            ContrastiveRise(**settings)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"share must be in \(0, 1\)"):
            ContrastiveRise(share=share)
    x, zeros = torch.zeros(2, 1, 4, 4), torch.zeros(2).long()
    measure = ContrastiveRise(3, 2)
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\), labels and others \(N,\)"):
        measure(bag, x, zeros, others=zeros[:1], draws=draws(2))
    with pytest.raises(ValueError, match=r"must give \(B, K\) logits"):
        measure(lambda seen: seen, x, zeros, others=zeros, draws=draws(2))
    with pytest.raises(ValueError, match=r"grid must be \(2, masks, cells, cells\)"):
        measure(bag, x, zeros, others=zeros, draws=draws(3))
