"""Features of a layer as a map over the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vicinal import Batch
from vicinal.models.feature_map import FeatureMap, as_map
from vicinal.models.layers import mixable_layers
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT


def numbered(rows: int, columns: int) -> Tensor:
    """(1, 5, rows, columns): a place holds 100 times its row, and its column."""
    places = 100 * torch.arange(rows)[:, None] + torch.arange(columns)
    return places.float().expand(1, 5, rows, columns)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 32), (30, 50)])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_every_layout_is_the_same_map(height: int, width: int, stride: int) -> None:
    wanted = numbered(-(-height // stride), -(-width // stride))
    tokens = wanted.flatten(2).transpose(1, 2)
    for layout in (wanted, wanted.permute(0, 2, 3, 1), tokens):
        torch.testing.assert_close(as_map(layout, height, width), wanted)


@pytest.mark.parametrize("beside", [0, 1, 2, 5])
def test_tokens_of_no_place_are_left_out(beside: int) -> None:
    wanted = numbered(8, 8)
    tokens = torch.cat([torch.full((1, beside, 5), -1.0), wanted.flatten(2).transpose(1, 2)], dim=1)
    torch.testing.assert_close(as_map(tokens, 32, 32), wanted)


def test_models_of_both_kinds_give_a_map() -> None:
    batch = Batch.of(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    for model, shape in (
        (SmallResNet((3, 32, 32), 4), (48, 8, 8)),
        (SmallViT((3, 32, 32), 4), (96, 8, 8)),
    ):
        model.eval()
        probe = FeatureMap(layer=mixable_layers(model)[-1])
        found = probe.answer(model, batch)
        assert found.shape == (3, *shape)
        # The pixels of a corner move that corner most.
        moved = batch.tensor.clone()
        moved[:, :, -4:, :4] += 3
        change = (probe.answer(model, batch.replace(x=moved)) - found).abs().mean(dim=(0, 1))
        assert change.argmax() == 7 * 8
        assert not model._forward_hooks
        assert not model._forward_pre_hooks


@pytest.mark.parametrize("output", [torch.zeros(2, 5), torch.zeros(2, 33, 5), [torch.zeros(2)]])
def test_what_is_no_map_is_refused(output: Tensor) -> None:
    with pytest.raises(ValueError, match="no map of features"):
        as_map(output, 32, 32)


def test_a_model_without_maps_is_refused() -> None:
    model: nn.Module = MLP((3, 8, 8), 4)
    probe = FeatureMap(layer=mixable_layers(model)[-1])
    with pytest.raises(ValueError, match="no map of features"):
        probe.answer(model, Batch.of(torch.randn(2, 3, 8, 8)))
