"""Covered squares, recomputed pixel by pixel, and how much they cover."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.cutout import Cutout, CutoutParams


def sampled(transform: Cutout, batch: Batch, seed: int = 0) -> CutoutParams:
    return transform.sample(batch, Draws(seed, batch.index))


@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    length=st.integers(1, 12),
    dtype=st.sampled_from([torch.float32, torch.uint8]),
    fill=st.sampled_from([0, 7]),
)
def test_exactly_the_box_is_covered(
    seed: int, height: int, width: int, length: int, dtype: torch.dtype, fill: int
) -> None:
    x = torch.arange(10, 10 + 3 * 2 * height * width).view(3, 2, height, width) % 240 + 10
    batch = Batch.of(x.to(dtype))
    cutout = Cutout(length=length, fill=fill)
    params = sampled(cutout, batch, seed)
    found = cutout.apply(batch, params).tensor
    assert found.dtype == dtype
    for row, (start, stop) in enumerate(
        zip(params.start.tolist(), params.stop.tolist(), strict=True)
    ):
        for y in range(height):
            for z in range(width):
                inside = start[0] <= y < stop[0] and start[1] <= z < stop[1]
                expected = torch.full((2,), fill) if inside else x[row, :, y, z]
                assert found[row, :, y, z].tolist() == expected.tolist()


@given(seed=st.integers(0, 1000), height=st.integers(1, 40), width=st.integers(1, 40))
def test_boxes_are_the_square_around_their_centre_clipped(
    seed: int, height: int, width: int
) -> None:
    batch = Batch.of(torch.zeros(50, 1, height, width))
    params = sampled(Cutout(length=6), batch, seed)
    size = torch.tensor([height, width])
    assert (params.start >= 0).all()
    assert (params.stop <= size).all()
    side = params.stop - params.start
    assert (side >= 3).logical_or(side == size).all()  # the centre is in the image
    whole = (params.start > 0) & (params.stop < size)
    assert (side[whole] == 6).all()


def test_clipping_covers_less_than_the_whole_square() -> None:
    # Along an axis of 32 a side of 16 loses (8+...+1) + (7+...+1) = 64 pixels over 32 centres.
    batch = Batch.of(torch.ones(20_000, 1, 32, 32))
    shown = Cutout().apply(batch, sampled(Cutout(), batch)).tensor.mean(dim=(1, 2, 3))
    assert 1 - shown.mean() == pytest.approx((14 / 32) ** 2, abs=2e-3)
    assert 1 - shown.max() == pytest.approx((8 / 32) ** 2)  # the last centre of both axes
    assert 1 - shown.min() == pytest.approx((16 / 32) ** 2)


def test_centres_are_uniform_over_the_image() -> None:
    batch = Batch.of(torch.zeros(40_000, 1, 6, 10))
    params = sampled(Cutout(length=1), batch)
    assert torch.equal(params.stop, params.start + 1)
    places = params.start[:, 0] * 10 + params.start[:, 1]
    assert chisquare(places.bincount(minlength=60)).pvalue > 1e-3


def test_the_share_is_of_the_shorter_side_and_a_length_goes_before_it() -> None:
    batch = Batch.of(torch.zeros(500, 1, 20, 50))
    for cutout, side in ((Cutout(), 10), (Cutout(0.2), 4), (Cutout(0.2, length=7), 7)):
        params = sampled(cutout, batch)
        assert (params.stop - params.start).amax(0).tolist() == [side, side]
    nothing = sampled(Cutout(0.0), batch)
    assert torch.equal(nothing.start, nothing.stop)


def test_what_is_not_a_number_is_covered_too() -> None:
    batch = Batch.of(torch.full((1, 1, 4, 4), torch.nan))
    cutout = Cutout(2.0, fill=0.5)
    assert (cutout.apply(batch, sampled(Cutout(2.0, length=16), batch)).tensor == 0.5).all()


def test_a_fill_that_8_bits_cannot_hold_is_refused() -> None:
    batch = Batch.of(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    for fill in (-1.0, 0.5, 256.0):
        with pytest.raises(ValueError, match=f"a level from 0 to 255 for uint8, got {fill}"):
            Cutout(fill=fill).apply(batch, sampled(Cutout(), batch))


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 2\], got -0.1"):
        Cutout(-0.1)
    with pytest.raises(ValueError, match=r"length must be in \[1, inf\), got 0"):
        Cutout(length=0)
    with pytest.raises(ValueError, match="x must be images"):
        Cutout()(torch.zeros(3, 4), generator=torch.Generator())
