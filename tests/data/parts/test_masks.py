"""Masks find single objects, and opacity falls at their edge alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vicinal.data.parts.masks import (
    GivenMasks,
    SaliencyMasks,
    ThresholdMasks,
    feathered,
    grown,
    otsu,
)


def discs(count: int = 6, side: int = 40) -> tuple[Tensor, Tensor]:
    """Bright discs of random colour on a dark, slightly noisy ground, and where they are."""
    generator = torch.Generator().manual_seed(1)
    centre = torch.randint(14, side - 14, (count, 2), generator=generator)
    place = torch.arange(side)
    down = place[:, None] - centre[:, 0, None, None]
    across = place - centre[:, 1, None, None]
    masks = down**2 + across**2 <= 8**2
    colour = torch.randint(140, 256, (count, 3, 1, 1), generator=generator)
    noise = torch.randint(0, 30, (count, 3, side, side), generator=generator)
    return torch.where(masks[:, None], colour, noise).to(torch.uint8), masks


def overlap(found: Tensor, masks: Tensor) -> Tensor:
    return (found & masks).sum(dim=(1, 2)) / (found | masks).sum(dim=(1, 2))


def test_a_threshold_finds_discs_on_an_even_ground() -> None:
    images, masks = discs()
    assert overlap(ThresholdMasks()(images, torch.arange(6)), masks).min() > 0.98
    # What counts is the distance from the border's colour, not the brightness.
    assert overlap(ThresholdMasks()(255 - images, torch.arange(6)), masks).min() > 0.98


def test_an_image_of_one_colour_has_no_object() -> None:
    plain = torch.full((2, 3, 8, 8), 70, dtype=torch.uint8)
    assert not ThresholdMasks()(plain, torch.arange(2)).any()


def test_the_spectral_residual_is_on_the_disc() -> None:
    images, masks = discs()
    found = SaliencyMasks()(images, torch.arange(6))
    assert found.shape == masks.shape
    near = grown(masks, 6)
    assert ((found & near).sum(dim=(1, 2)) / found.sum(dim=(1, 2))).min() > 0.8
    with pytest.raises(ValueError, match="factor must be positive, got 0"):
        SaliencyMasks(0)


def test_otsu_is_the_best_of_all_thresholds() -> None:
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 9, 7)))
    values[2] //= 90
    for row, found in zip(values.numpy(), otsu(values).tolist(), strict=True):

        def between(level: int, row: np.ndarray = row) -> float:
            low, high = row[row <= level], row[row > level]
            if not len(low) or not len(high):
                return 0.0
            return len(low) * len(high) * (low.mean() - high.mean()) ** 2

        assert between(found) == pytest.approx(max(map(between, range(256))), rel=1e-9)


def test_given_masks_are_looked_up_by_row() -> None:
    masks = torch.rand(9, 4, 5) < 0.5
    rows = torch.tensor([7, 0])
    assert torch.equal(GivenMasks(masks)(torch.zeros(2, 1, 4, 5), rows), masks[rows])
    with pytest.raises(TypeError, match=r"masks must be \(N, H, W\) bool"):
        GivenMasks(masks.float())


def test_opacity_is_one_inside_and_nothing_outside_but_for_a_pixel() -> None:
    _, masks = discs()
    opacity = feathered(masks)
    assert (opacity[~grown(~masks, 1)] == 1).all()
    assert (opacity[~grown(masks, 1)] == 0).all()
    assert (opacity.amin(), opacity.amax()) == (0, 1)
