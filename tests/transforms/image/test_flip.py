"""Mirror images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip


@given(flipped=st.lists(st.booleans(), min_size=1, max_size=6), width=st.integers(1, 9))
def test_exactly_the_flipped_images_are_turned_around_along_their_width(
    flipped: list[bool], width: int
) -> None:
    x = torch.rand(len(flipped), 3, 4, width)
    found = HorizontalFlip().apply(Batch.of(x), FlipParams(torch.tensor(flipped))).tensor
    for own, result, turned in zip(x, found, flipped, strict=True):
        for column in range(width):
            source = width - 1 - column if turned else column
            assert torch.equal(result[..., column], own[..., source])


@pytest.mark.parametrize("prob", [0.0, 0.3, 0.5, 1.0])
def test_images_are_flipped_as_often_as_asked(prob: float) -> None:
    batch = Batch.of(torch.zeros(20_000, 1, 1, 1))
    params = HorizontalFlip(prob).sample(batch, Draws(0, batch.index))
    assert params.flipped.float().mean() == pytest.approx(prob, abs=0.015 * (0 < prob < 1))


def test_flipping_twice_is_nothing() -> None:
    batch = Batch.of(torch.rand(5, 3, 6, 7).contiguous(memory_format=torch.channels_last))
    flip = HorizontalFlip()
    params = flip.sample(batch, Draws(1, batch.index))
    again = flip.apply(flip.apply(batch, params), params).tensor
    assert torch.equal(again, batch.tensor)
    assert again.is_contiguous(memory_format=torch.channels_last)


def test_probabilities_beyond_the_ends_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prob must be in \[0, 1\], got 1.5"):
        HorizontalFlip(1.5)
