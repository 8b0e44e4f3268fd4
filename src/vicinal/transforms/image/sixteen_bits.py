"""Images of 16 bits, as radiology has them, where an operation works on shares of white."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WHITE = 65_535


def by_shares(operation: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply an operation for floats in [0, 1] to whole levels; the result is rounded.

    Args:
        operation: of images to images.
        images: (B, C, H, W) uint16.

    Returns:
        (B, C, H, W) uint16, in the images' memory format.
    """
    # float32 holds every level.
    made = operation(images.float() / WHITE)
    return (made.clamp(0, 1) * WHITE + 0.5).to(torch.uint16)
