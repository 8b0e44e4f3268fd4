"""What it costs to put two images together of cells: PuzzleMix's energy."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.mixers.grid_cut import GridEnergy

#: Shares closer than this to 0 or 1 count as this close, so that their logarithms are finite.
MARGIN = 1e-4


def puzzle_energy(
    x: Tensor,
    saliency: Tensor,
    pairs: tuple[Tensor, Tensor],
    share: Tensor,
    *,
    beta: float,
    gamma: float,
    eta: float,
    neighbourhood: int,
) -> GridEnergy:
    """The energy of mixing images with their partners in cells.

    A cell costs the saliency of what it hides, and -eta log p of a binomial prior whose mean is the
    share; cells that touch and differ cost beta, and more where the images would not fit together:
    by gamma times the difference of the pixels along their edge, across the images less within
    them. What the edge costs anyway goes to the two cells, half and half.

    Source: Kim et al., Puzzle Mix, ICML 2020, equations 4 to 6, and the authors' `mixup_graph`.

    Args:
        x: (B, C, H, W).
        saliency: (B, m, m) of the cells, with sum 1; m divides H and W.
        pairs: the own images and their partners, both (N,) int64, positions in x.
        share: (N,) float32, of the own image, in [0, 1].
        beta: price of a border between the images; >= 0.
        gamma: weight of how their pixels fit together, for images of values in [0, 1]; >= 0. Where
            it would make a border less than free, that is free.
        eta: weight of the prior; >= 0.
        neighbourhood: pixels a side that are averaged before they are compared; where it does not
            divide the cells, the next smaller number that does.
    """
    cells = saliency.shape[1]
    beta = beta / cells / 16
    own, partner = pairs
    slope = saliency[partner] - saliency[own]  # (N, m, m)
    down, across = _borders(x, pairs, cells, neighbourhood)
    for axis, border in ((1, down), (2, across)):
        border.mul_(beta * gamma)
        mixed, swapped, within, beyond = border.unbind()
        near, far = mixed + within - swapped - beyond, swapped + within - mixed - beyond
        slope.narrow(axis, 0, cells - 1).add_(near, alpha=0.5)
        slope.narrow(axis, 1, cells - 1).add_(far, alpha=0.5)
    coupling = [
        (border[:2].sum(dim=0) - border[2:].sum(dim=0)).div_(2).add_(beta).clamp_(min=0)
        for border in (down, across)
    ]
    share = share.clamp(MARGIN, 1 - MARGIN)
    prior = eta / cells**2
    tilt = 2 * prior * torch.log((1 - share) / share)
    return GridEnergy(
        slope=_batch_last(slope + tilt[:, None, None]),
        # -log p is a parabola through 0, 1/2 and 1: its curve does not depend on the share.
        bend=slope.new_full((cells, cells, len(slope)), 4 * math.log(2) * prior),
        down=_batch_last(coupling[0]),
        across=_batch_last(coupling[1]),
    )


def _borders(
    x: Tensor, pairs: tuple[Tensor, Tensor], cells: int, neighbourhood: int
) -> tuple[Tensor, Tensor]:
    """How much the pixels on both sides of every border between two cells differ.

    Each of the two results has four parts: the own image's before the border and the partner's
    behind it, the other way round, the own one's on both sides, and the partner's.

    Returns:
        (4, N, m - 1, m) for rows of cells, (4, N, m, m - 1) for columns.
    """
    own, partner = pairs
    tall, wide = (_divisor(size // cells, neighbourhood) for size in x.shape[2:])
    batch, channels, height, width = x.shape
    # Rows first: summing whole ones costs a fifth of summing squares of pixels.
    rows = x.reshape(batch, channels, height // tall, tall, width).mean(dim=3, dtype=torch.float32)
    pooled = F.avg_pool2d(rows, (1, wide))
    results = []
    for images in (pooled, pooled.transpose(2, 3)):
        step = images.shape[2] // cells
        before, behind = images[:, :, step - 1 : -1 : step], images[:, :, step::step]
        alone = (before - behind).abs().mean(dim=1)  # (B, m - 1, places along the border)
        mixed = (before[own] - behind[partner]).abs().mean(dim=1)
        swapped = (before[partner] - behind[own]).abs().mean(dim=1)
        found = torch.stack([mixed, swapped, alone[own], alone[partner]])
        results.append(found.view(*found.shape[:3], cells, -1).mean(dim=4))
    return results[0], results[1].transpose(2, 3)


def _divisor(side: int, limit: int) -> int:
    """The largest number that divides a side and is at most the limit."""
    return max(size for size in range(1, min(side, limit) + 1) if side % size == 0)


def _batch_last(cells: Tensor) -> Tensor:
    return cells.permute(1, 2, 0).contiguous()
