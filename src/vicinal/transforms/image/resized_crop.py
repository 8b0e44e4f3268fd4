"""Pieces of images at random places, made as large as the images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.draws import Draws

#: Aspect ratios, width by height, as in Szegedy et al., Going Deeper with Convolutions, CVPR 2015.
RATIOS = (3 / 4, 4 / 3)
#: Tries at a piece that fits into the image, as in torchvision.
TRIES = 10


def draw_boxes(
    draws: Draws, low: Tensor, high: Tensor, *, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """K pieces of every image, of random area, aspect ratio and place.

    Source: torchvision's RandomResizedCrop: the area is uniform, the ratio between 3/4 and 4/3 and
    uniform in its logarithm; if ten such pieces do not fit into the image, the largest in its
    middle whose ratio is allowed is taken.

    Args:
        draws: where the numbers come from.
        low: (B, K) float, least area of each piece, as a share of the image's.
        high: (B, K) float, largest area.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        start and stop, both (B, K, 2) int64, rows and columns; stop is exclusive.
    """
    shape = (low.shape[1], TRIES)
    share = torch.lerp(low[..., None], high[..., None], draws.uniform("area", shape=shape))
    area = height * width * share.double()  # (B, K, T)
    spread = math.log(RATIOS[1])
    aspect = draws.uniform("aspect ratio", -spread, spread, shape=shape).double().exp()
    size = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=3).round().long()
    whole = torch.tensor([height, width], device=size.device)
    fits = ((size > 0) & (size <= whole)).all(dim=3)
    # The first that fits; argmax of no truth is 0.
    first = fits.byte().argmax(dim=2)[..., None, None].expand(-1, -1, 1, 2)
    found = size.gather(2, first)[:, :, 0]  # (B, K, 2)
    ratio = min(max(width / height, RATIOS[0]), RATIOS[1])
    least = [min(height, max(1, round(width / ratio))), min(width, max(1, round(height * ratio)))]
    middle = torch.tensor(least, device=size.device)
    any_fits = fits.any(dim=2)[..., None]
    found = torch.where(any_fits, found, middle)
    start = draws.below("corner", whole - found + 1, shape=(low.shape[1], 2))
    start = torch.where(any_fits, start, (whole - middle) // 2)
    return start, start + found


def resized_crops(images: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """A piece of each image, enlarged to the image's size.

    The numbers are those of bilinear `torch.nn.functional.interpolate` on the pieces; nothing is
    made smaller, so that there is nothing to smooth.

    Args:
        images: (B, C, H, W) float32 or float64.
        start: (B, 2) int64, first row and column.
        stop: (B, 2) int64, one after the last.

    Returns:
        (B, C, H, W), of the same type.
    """
    grid = []
    for axis, size in enumerate(images.shape[2:]):
        piece = (stop - start)[:, axis, None].double()
        place = torch.arange(size, device=images.device).double() + 0.5
        place = (place * (piece / size) - 0.5).clamp(min=0).minimum(piece - 1)
        # To -1 .. 1, where the outer edges of the image's first and last pixels lie.
        place = (place + start[:, axis, None] + 0.5) * (2 / size) - 1
        grid.append(place.to(images.dtype))  # (B, H) and (B, W)
    height, width = images.shape[2:]
    rows = grid[0][:, :, None].expand(-1, height, width)
    columns = grid[1][:, None].expand(-1, height, width)
    return F.grid_sample(
        images,
        torch.stack([columns, rows], dim=3),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
