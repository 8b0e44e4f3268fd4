from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from vicinal.models.rehearsal import rehearse
from vicinal.models.small_vit import Attention, SmallViT, patch_for


@pytest.mark.parametrize(
    ("side", "patch"), [(1, 2), (8, 2), (16, 2), (17, 4), (32, 4), (64, 8), (65, 16), (224, 32)]
)
def test_at_most_eight_patches_fit_along_a_side(side: int, patch: int) -> None:
    assert patch_for(side) == patch
    assert side / patch <= 8


@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    patch=st.none() | st.integers(1, 6),
)
def test_any_image_gives_a_row_of_outputs(
    channels: int, height: int, width: int, patch: int | None
) -> None:
    shape = (channels, height, width)
    output, _ = rehearse(SmallViT(shape, 3, width=32, depth=1, patch=patch), shape)
    assert output.shape == (2, 3)


def test_an_image_that_patches_do_not_divide_is_padded_below_and_at_the_right() -> None:
    model = SmallViT((3, 30, 29), 5, width=32, depth=1).eval()
    x = torch.randn(2, 3, 30, 29)
    torch.testing.assert_close(model(x), model(functional.pad(x, (0, 3, 0, 2))))


def test_attention_is_the_softmax_of_products_in_each_head() -> None:
    attention = Attention(64)
    tokens = torch.randn(2, 5, 64)
    query, key, value = attention.query_key_value(tokens).split(64, dim=2)
    expected = torch.zeros(2, 5, 64)
    for head in (slice(0, 32), slice(32, 64)):
        for row in range(2):
            products = query[row, :, head] @ key[row, :, head].T / 32**0.5
            expected[row, :, head] = products.softmax(dim=1) @ value[row, :, head]
    torch.testing.assert_close(attention(tokens), attention.project(expected))


def test_it_knows_where_a_patch_is_by_its_position_alone() -> None:
    model = SmallViT((1, 8, 8), 4, width=32, depth=2).eval()
    x = torch.randn(3, 1, 8, 8)
    moved = x.roll(2, dims=3)  # by one patch: the same patches at other places
    assert (model(x) - model(moved)).abs().amax() > 1e-3
    nn.init.zeros_(model.position)
    torch.testing.assert_close(model(x), model(moved))


def test_it_has_0_3_million_parameters_and_all_are_trained() -> None:
    torch.manual_seed(0)
    model = SmallViT((3, 32, 32), 10)
    assert 0.3e6 < sum(p.numel() for p in model.parameters()) < 0.32e6
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in model.parameters())


def test_the_first_third_of_the_blocks_can_be_mixed() -> None:
    def layers(depth: int) -> tuple[str, ...]:
        return SmallViT((1, 8, 8), 2, width=32, depth=depth).mixable_layers

    assert layers(1) == ("blocks.0",)
    assert layers(4) == ("blocks.0", "blocks.1")
    assert layers(6) == ("blocks.0", "blocks.1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 100}, "width must be a multiple of 32, got 100"),
        ({"width": 0}, "width must be in"),
        ({"depth": 0}, "depth must be in"),
        ({"patch": 0}, "patch must be in"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmallViT((3, 8, 8), 2, **settings)


def test_in_evaluation_a_row_does_not_depend_on_its_neighbours() -> None:
    model = SmallViT((1, 8, 8), 4).eval()
    x: Tensor = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))
