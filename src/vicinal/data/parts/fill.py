"""Holes in images, filled from around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def filled(images: Tensor, holes: Tensor) -> Tensor:
    """Fill holes by an image pyramid: colours from around them, smoother towards their middle.

    Every level halves the image, a pixel being the mean of the known ones of its four; going back
    up, what is unknown takes the level above. Nothing of a hole's own pixels is left.

    Source: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (pull-push); De-DA's paper
    speaks of alpha pyramid blending.

    Args:
        images: (B, C, H, W) uint8.
        holes: (B, H, W) bool.

    Returns:
        (B, C, H, W) uint8; outside of holes the image itself. An image that is all hole is grey.
    """
    if not holes.any():
        return images.clone()
    known = (~holes).float()[:, None]
    levels = [(images.float() * known, known)]
    while max(levels[-1][0].shape[2:]) > 1:
        levels.append(_halved(*levels[-1]))
    colour, known = levels.pop()
    # Of an image without anything known, nothing is; grey then.
    colour = torch.where(known > 0, colour, 128.0)
    for finer, share in reversed(levels):
        wider = F.interpolate(colour, size=finer.shape[2:], mode="bilinear")
        colour = finer + (1 - share) * wider
    rounded = (colour + 0.5).clamp(0, 255).to(torch.uint8)
    return torch.where(holes[:, None], rounded, images)


def _halved(colour: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """A level of half the size; sides that are odd keep their last pixel as one of its own.

    Args:
        colour: (B, C, H, W), zero where nothing is known.
        known: (B, 1, H, W) in [0, 1]; colours are weighted by it.
    """
    height, width = colour.shape[2:]
    even = (0, width % 2, 0, height % 2)
    total = F.avg_pool2d(F.pad(colour, even), 2) * 4
    share = F.avg_pool2d(F.pad(known, even), 2) * 4
    # One known pixel of the four is enough to tell the colour of all.
    return total / share.clamp(min=1), share.clamp(max=1)
