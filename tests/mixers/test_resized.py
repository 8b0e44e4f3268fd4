from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.mixers.resized import Interpolation, paste_resized

INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear")


@st.composite
def spans(draw: st.DrawFn, longest: int = 20) -> tuple[int, int, int]:
    """The length of an axis, and a part of it that is not empty."""
    length = draw(st.integers(1, longest))
    start = draw(st.integers(0, length - 1))
    return length, start, draw(st.integers(start + 1, length))


def pixels(height: int, width: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, height, width, generator=generator)


@pytest.mark.parametrize(
    ("interpolation", "align_corners"), [("nearest", True), ("bilinear", True), ("bilinear", False)]
)
@given(own=st.tuples(spans(), spans()), other=st.tuples(spans(), spans()))
def test_it_is_what_interpolate_makes_of_a_box(
    interpolation: Interpolation,
    align_corners: bool,
    own: tuple[tuple[int, int, int], ...],
    other: tuple[tuple[int, int, int], ...],
) -> None:
    ((height, top, bottom), (width, left, right)), expected = (
        own,
        pixels(own[0][0], own[1][0], seed=0),
    )
    (rows, first, last), (columns, begin, end) = other
    x, pool = expected.clone(), pixels(rows, columns, seed=1)
    result = paste_resized(
        x,
        pool,
        torch.tensor([0]),
        start=torch.tensor([[top, left]]),
        stop=torch.tensor([[bottom, right]]),
        source_start=torch.tensor([[first, begin]]),
        source_stop=torch.tensor([[last, end]]),
        interpolation=interpolation,
        align_corners=align_corners,
    )
    expected[:, :, top:bottom, left:right] = F.interpolate(
        pool[:, :, first:last, begin:end],
        size=(bottom - top, right - left),
        mode=interpolation,
        align_corners=align_corners if interpolation == "bilinear" else None,
    )
    off = 0 if interpolation == "nearest" else 1e-5
    torch.testing.assert_close(result, expected, atol=off, rtol=0)
    assert x.shape == (1, 2, height, width)


def boxes(*corners: tuple[int, int]) -> Tensor:
    return torch.tensor(corners)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_an_empty_box_leaves_the_image_as_it_is(interpolation: Interpolation) -> None:
    x = pixels(5, 7, seed=0)
    nowhere = boxes((2, 3))
    result = paste_resized(
        x,
        x + 1,
        torch.tensor([0]),
        start=nowhere,
        stop=nowhere,
        source_start=nowhere,
        source_stop=nowhere,
        interpolation=interpolation,
    )
    assert torch.equal(result, x)


def test_every_image_has_boxes_and_a_partner_of_its_own() -> None:
    x = torch.zeros(2, 1, 4, 4)
    pool = torch.arange(3.0)[:, None, None, None].expand(3, 1, 4, 4)
    result = paste_resized(
        x,
        pool,
        torch.tensor([2, 1]),
        start=boxes((0, 0), (2, 1)),
        stop=boxes((1, 3), (4, 2)),
        source_start=boxes((0, 0), (1, 1)),
        source_stop=boxes((4, 4), (3, 3)),
    )
    assert (result == 2).nonzero().tolist() == [[0, 0, 0, column] for column in range(3)]
    assert (result == 1).nonzero().tolist() == [[1, 0, 2, 1], [1, 0, 3, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_places_keep_their_digits_in_every_type(dtype: torch.dtype) -> None:
    # Of 301 columns the last of a box of 2: in half precision it would be another one.
    pool = torch.zeros(1, 1, 1, 301, dtype=dtype)
    pool[..., 250] = 1
    result = paste_resized(
        torch.zeros_like(pool),
        pool,
        torch.tensor([0]),
        start=boxes((0, 100)),
        stop=boxes((1, 102)),
        source_start=boxes((0, 249)),
        source_stop=boxes((1, 251)),
    )
    assert result.dtype == dtype
    expected = torch.zeros(301)
    expected[101] = 1
    torch.testing.assert_close(result[0, 0, 0].float(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bfloat16, torch.float64])
def test_the_nearest_pixels_are_moved_as_they_are_whatever_their_type(dtype: torch.dtype) -> None:
    pool = torch.arange(2 * 3 * 40 * 36).view(2, 3, 40, 36).to(dtype)
    partner = torch.tensor([1, 0])
    whole = {"source_start": boxes((0, 0), (0, 0)), "source_stop": boxes((40, 36), (40, 36))}
    own = {"start": boxes((3, 5), (0, 9)), "stop": boxes((14, 12), (40, 10))}
    x = torch.zeros_like(pool)
    result = paste_resized(x, pool, partner, interpolation="nearest", **own, **whole)
    assert result.dtype == dtype
    small = F.interpolate(pool[1:].double(), size=(11, 7)).to(dtype)
    assert torch.equal(result[:1, :, 3:14, 5:12], small)
    assert int((result != 0).any(dim=1)[1].sum()) <= 40
    # Off the CPU, in compiled code and with gradients all pixels are gathered at once.
    compiled = torch.compile(paste_resized, backend="eager", fullgraph=True)
    again = compiled(x, pool, partner, interpolation="nearest", **own, **whole)
    assert torch.equal(again, result)


def test_whole_numbers_are_interpolated_to_the_nearest_one() -> None:
    pool = torch.randint(0, 256, (1, 3, 9, 11), generator=torch.Generator().manual_seed(0))
    result = paste_resized(
        torch.zeros(1, 3, 20, 20, dtype=torch.uint8),
        pool.to(torch.uint8),
        torch.tensor([0]),
        start=boxes((0, 0)),
        stop=boxes((20, 20)),
        source_start=boxes((0, 0)),
        source_stop=boxes((9, 11)),
        align_corners=False,
    )
    smooth = F.interpolate(pool.float(), size=(20, 20), mode="bilinear", align_corners=False)
    assert result.dtype == torch.uint8
    assert (result.float() - smooth).abs().max() <= 0.5 + 1e-3
