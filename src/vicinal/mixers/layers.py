"""Layers with an opacity: where they are, how they are moved, and what is seen of them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def extents(opacity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where objects begin and end.

    Args:
        opacity: (B, K, H, W) in [0, 1].

    Returns:
        low and high, (B, K, 2) float32, the first and one after the last row and column that is
        more than half opaque; and (B, K, 2) bool, whether the first or last of all is among them.
    """
    low, high, touching = [], [], []
    for axis in (3, 2):  # rows, then columns
        shown = (opacity > 0.5).any(dim=axis)  # (B, K, size)
        size = shown.shape[2]
        place = torch.arange(size, device=opacity.device)
        low.append(torch.where(shown, place, size).amin(dim=2).clamp(max=size - 1))
        high.append(torch.where(shown, place + 1, 0).amax(dim=2).clamp(min=1))
        touching.append(shown[..., 0] | shown[..., -1])
    return (
        torch.stack(low, dim=2).float(),
        torch.stack(high, dim=2).float(),
        torch.stack(touching, dim=2),
    )


def warped(
    layers: Tensor,
    affine: Tensor,
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Show layers through their maps; outside of them is nothing.

    Colours must be premultiplied with the opacity: what is nothing has no colour that could bleed
    in as a halo.

    Args:
        layers: (B, K, D, H, W) float.
        affine: (B, K, 2, 3), from places of the result to places of the layer, in pixels from the
            centre.
        mode: how to read between pixels.

    Returns:
        (B, K, D, H, W).
    """
    height, width = layers.shape[3:]
    half = layers.new_tensor([width / 2, height / 2])
    flat = affine.flatten(0, 1).to(layers.dtype)
    rows = torch.arange(height, device=layers.device, dtype=layers.dtype) + 0.5 - height / 2
    columns = torch.arange(width, device=layers.device, dtype=layers.dtype) + 0.5 - width / 2
    across, down = columns.expand(height, -1), rows[:, None].expand(-1, width)
    places = torch.stack([across, down], dim=2)  # (H, W, 2)
    seen = places.view(-1, 2) @ flat[:, :, :2].mT + flat[:, None, :, 2]
    grid = (seen / half).view(-1, height, width, 2)
    shown = F.grid_sample(
        layers.flatten(0, 1), grid, mode=mode, padding_mode="zeros", align_corners=False
    )
    return shown.view(layers.shape)


def visible(opacity: Tensor) -> Tensor:
    """What is seen of each layer, those behind first. opacity: (B, K, H, W). Returns the same."""
    through = 1 - opacity
    # Of what lies behind, the product of all that is in front gets through.
    front = torch.ones_like(opacity[:, -1:])
    seen = [opacity[:, -1:]]
    for layer in range(opacity.shape[1] - 2, -1, -1):
        front = front * through[:, layer + 1 : layer + 2]
        seen.append(opacity[:, layer : layer + 1] * front)
    return torch.cat(seen[::-1], dim=1)


def composed(layers: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Layers on a background.

    Args:
        layers: (B, K, C + 1, H, W), colours premultiplied with the opacity behind them.
        background: (B, C, H, W).

    Returns:
        (B, C, H, W), and (B, K, H, W) in [0, 1], what is seen of each layer.
    """
    x = background
    for layer in layers.unbind(1):
        x = layer[:, :-1] + (1 - layer[:, -1:]) * x
    return x, visible(layers[:, :, -1])
