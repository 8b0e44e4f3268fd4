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


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(own=st.tuples(spans(), spans()), other=st.tuples(spans(), spans()))
def test_it_is_what_interpolate_makes_of_a_box(
    interpolation: Interpolation,
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
    )
    expected[:, :, top:bottom, left:right] = F.interpolate(
        pool[:, :, first:last, begin:end],
        size=(bottom - top, right - left),
        mode=interpolation,
        align_corners=True if interpolation == "bilinear" else None,
    )
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
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
