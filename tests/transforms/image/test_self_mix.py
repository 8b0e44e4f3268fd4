"""An image mixed with itself: what is pasted is its own, and no label changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

import vicinal
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip
from vicinal.transforms.image.self_mix import (
    SelfCutMix,
    SelfCutMixParams,
    SelfMixup,
    SelfMixupParams,
)

TYPES = [torch.uint8, torch.uint16, torch.float32, torch.bfloat16]


def drawn(transform: SelfCutMix | SelfMixup, x: Tensor, seed: int = 0) -> SelfCutMixParams:
    batch = Batch.of(x)
    return transform.sample(batch, Draws(seed, batch.index))


@given(
    seed=st.integers(0, 2**31),
    height=st.integers(1, 15),
    width=st.integers(1, 15),
    dtype=st.sampled_from(TYPES),
)
def test_the_block_comes_from_the_same_image_and_all_else_stays(
    seed: int, height: int, width: int, dtype: torch.dtype
) -> None:
    x = torch.randint(0, 256, (3, 2, height, width)).to(dtype)
    transform = SelfCutMix()
    params = drawn(transform, x, seed)
    result = transform.apply(Batch.of(x), params).tensor
    for row in range(3):
        tall, wide = params.size[row].tolist()
        top, left = params.source[row].tolist()
        down, across = params.place[row].tolist()
        wanted = x[row].clone()
        block = x[row, :, top : top + tall, left : left + wide]
        wanted[:, down : down + tall, across : across + wide] = block
        assert torch.equal(result[row], wanted)


def test_both_ways_of_pasting_are_one() -> None:
    x = torch.rand(9, 3, 11, 14)
    transform = SelfCutMix()
    params = drawn(transform, x)
    plain = transform.apply(Batch.of(x), params).tensor
    looked_up = transform.apply(Batch.of(x.clone().requires_grad_()), params).tensor
    assert looked_up.requires_grad
    assert torch.equal(looked_up, plain)


def test_the_share_of_the_block_is_the_square_of_its_side() -> None:
    params = drawn(SelfCutMix(), torch.zeros(1, 1, 1).expand(4000, 1, 300, 500))
    sides = params.size / torch.tensor([300, 500])
    torch.testing.assert_close(sides[:, 0], sides[:, 1], atol=1 / 300, rtol=0)
    side = (params.size.prod(dim=1) / (300 * 500)).sqrt()
    assert kstest(side.numpy(), lambda v: (v - 1 / 6) / (0.9 - 1 / 6)).statistic < 0.03


def test_blocks_reach_every_border_and_no_further() -> None:
    params = drawn(SelfCutMix(), torch.zeros(1, 1, 1).expand(4000, 1, 9, 14))
    for corner in (params.source, params.place):
        assert corner.amin(dim=0).tolist() == [0, 0]
        assert (corner + params.size).amax(dim=0).tolist() == [9, 14]
    where = torch.stack([params.source[:, 1], params.place[:, 1]]).float()
    small = params.size[:, 1] < 4
    assert torch.corrcoef(where[:, small])[0, 1].abs() < 0.1  # the place says nothing of the source


def test_an_image_mixed_with_an_identical_copy_is_the_image() -> None:
    transform = SelfMixup(enhance=HorizontalFlip(prob=0.0))
    for dtype in TYPES:
        x = torch.randint(0, 256, (20, 3, 6, 7)).to(dtype)
        assert torch.equal(transform(x), x)


def test_the_weight_is_that_of_the_image_as_it_is() -> None:
    x = torch.rand(3, 1, 4, 6)
    params = SelfMixupParams(
        torch.tensor([1.0, 0.0, 0.25]), FlipParams(torch.ones(3, dtype=torch.bool))
    )
    mixed = SelfMixup(enhance=HorizontalFlip()).apply(Batch.of(x), params).tensor
    assert torch.equal(mixed[0], x[0])
    assert torch.equal(mixed[1], x[1].flip(-1))
    torch.testing.assert_close(mixed[2], 0.25 * x[2] + 0.75 * x[2].flip(-1))


@pytest.mark.parametrize("transform", [SelfCutMix(), SelfMixup()])
def test_labels_stay_one_hot(transform: SelfCutMix | SelfMixup) -> None:
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6)
    _, target = transform(x, y)
    assert torch.equal(target.dense(6), torch.eye(6))


@pytest.mark.parametrize("transform", [SelfCutMix(), SelfMixup()])
def test_grey_images_and_sixteen_bits_are_taken(transform: SelfCutMix | SelfMixup) -> None:
    x = torch.randint(0, 65_536, (40, 1, 16, 16)).to(torch.uint16)
    result = transform(x)
    assert (result.dtype, result.shape) == (torch.uint16, x.shape)
    assert len(result.unique()) > 2000  # not levels of 8 bits


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low must not be above high, got 0\.8 and 0\.3"):
        SelfCutMix(0.8, 0.3)
    with pytest.raises(ValueError, match=r"high must be in \[0, 1\]"):
        SelfCutMix(high=1.2)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\)"):
        SelfMixup(0)
    with pytest.raises(TypeError, match="enhance must be an augmentation that mixes nothing"):
        SelfMixup(enhance=vicinal.Mixup())
    with pytest.raises(ValueError, match="x must be images"):
        drawn(SelfCutMix(), torch.zeros(3, 5))
