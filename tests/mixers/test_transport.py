from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers.transport import blended_blocks, transported

GOLDEN = load_file(Path(__file__).parent / "golden" / "puzzle_mix_authors.safetensors")


def problem(images: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Places that are shown, and saliency of sum 1."""
    draw = torch.Generator().manual_seed(seed)
    shown = torch.rand(images, side, side, generator=draw) < 0.5
    saliency = torch.rand(images, side, side, generator=draw).pow(3)
    return shown, saliency / saliency.sum(dim=(1, 2), keepdim=True)


def by_dense_rounds(shown: Tensor, saliency: Tensor, cost: float) -> list[int | None]:
    """The rounds as the paper tells them, in plain loops, for one image."""
    side = len(shown)
    places = side * side
    seen, worth = shown.flatten().tolist(), saliency.flatten().tolist()
    price = [
        [
            cost * ((i // side - j // side) ** 2 + (i % side - j % side) ** 2) / (side - 1) ** 2
            - worth[i] * seen[j]
            for j in range(places)
        ]
        for i in range(places)
    ]
    held: list[int | None] = []
    for _ in range(side):
        held = [None] * places
        bids = [min(range(places), key=row.__getitem__) for row in price]
        for block, place in enumerate(bids):
            holder = held[place]
            if holder is None or price[block][place] < price[holder][place]:
                held[place] = block
        for block, place in enumerate(bids):
            if held[place] != block or price[block][place] >= 0:
                price[block][place] += 1
    return held


@pytest.mark.parametrize("cost", [0.02, 0.1, 0.8])
@pytest.mark.parametrize("side", [2, 3, 4, 6])
def test_rounds_end_as_plain_loops_do(side: int, cost: float) -> None:
    shown, saliency = problem(6, side, seed=side)
    found = transported(shown, saliency, cost=cost)
    for image in range(6):
        expected = by_dense_rounds(shown[image], saliency[image], cost)
        for place in shown[image].flatten().nonzero()[:, 0].tolist():
            assert found[image, place] == expected[place]


@given(
    seed=st.integers(0, 2**31), side=st.integers(2, 7), cost=st.sampled_from([0.01, 0.1, 0.8, 10])
)
def test_no_place_gets_less_saliency_and_no_block_is_seen_twice(
    seed: int, side: int, cost: float
) -> None:
    shown, saliency = problem(3, side, seed)
    block = transported(shown, saliency, cost=cost)
    flat, seen = saliency.flatten(1), shown.flatten(1)
    assert (flat.gather(1, block) >= flat)[seen].all()
    for image in range(3):
        visible = block[image][seen[image]]
        assert len(visible.unique()) == len(visible)
    hidden = torch.arange(side * side).expand_as(block)[~seen]
    torch.testing.assert_close(block[~seen], hidden)


def test_a_salient_block_that_is_hidden_moves_to_the_nearest_place_in_view() -> None:
    saliency = torch.full((1, 4, 4), 0.01)
    saliency[0, 0, 0] = 0.85
    shown = torch.zeros(1, 4, 4, dtype=torch.bool)
    shown[0, :, 2:] = True
    block = transported(shown, saliency, cost=0.8).view(4, 4)
    assert block[0, 2] == 0
    moved = block != torch.arange(16).view(4, 4)
    assert moved.sum() == 1


def test_a_high_cost_moves_nothing() -> None:
    shown, saliency = problem(4, 4, seed=0)
    block = transported(shown, saliency, cost=100.0)
    torch.testing.assert_close(block, torch.arange(16).expand(4, -1))


def test_blocks_are_put_where_they_are_asked_for() -> None:
    draw = torch.Generator().manual_seed(0)
    x, pool = torch.rand(3, 2, 8, 12, generator=draw), torch.rand(5, 2, 8, 12, generator=draw)
    at, pool_at = (torch.randint(count, (4, 16), generator=draw) for count in (3, 5))
    block, pool_block = torch.randint(16, (2, 4, 16), generator=draw)
    share = torch.randint(3, (4, 16), generator=draw) / 2
    mixed = blended_blocks(x, pool, own=(at, block), other=(pool_at, pool_block), share=share)
    assert mixed.shape == (4, 2, 8, 12)

    def tile(images: Tensor, image: int, number: int) -> Tensor:
        row, column = number // 4 * 2, number % 4 * 3
        return images[image, :, row : row + 2, column : column + 3]

    for image in range(4):
        for place in range(16):
            own = tile(x, int(at[image, place]), int(block[image, place]))
            other = tile(pool, int(pool_at[image, place]), int(pool_block[image, place]))
            expected = share[image, place] * own + (1 - share[image, place]) * other
            torch.testing.assert_close(tile(mixed, image, place), expected)
    laid = [images.contiguous(memory_format=torch.channels_last) for images in (x, pool)]
    again = blended_blocks(*laid, own=(at, block), other=(pool_at, pool_block), share=share)
    assert again.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(again.contiguous(), mixed)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_images_are_moved_as_by_the_authors(side: int) -> None:
    # snu-mllab/PuzzleMix at e2dbf3a: mixup_graph with t_eps 0.02 and the shares it found.
    x, partner = GOLDEN[f"{side}.x"], GOLDEN[f"{side}.partner"]
    share = GOLDEN[f"{side}.share"]
    pooled = F.adaptive_avg_pool2d(GOLDEN[f"{side}.saliency"][:, None], side)[:, 0]
    saliency = pooled / pooled.sum(dim=(1, 2), keepdim=True)
    own = transported(share > 0, saliency, cost=0.02)
    other = transported(share < 1, saliency[partner], cost=0.02)
    assert (own != torch.arange(side * side)).any()
    mixed = blended_blocks(
        x,
        x,
        own=(torch.arange(len(x))[:, None], own),
        other=(partner[:, None], other),
        share=share.flatten(1),
    )
    torch.testing.assert_close(mixed, GOLDEN[f"{side}.mixed"], atol=1e-6, rtol=0)
