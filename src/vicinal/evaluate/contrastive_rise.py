"""Which places of an image speak for its own class, and which for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from vicinal.core.draws import Draws


@dataclass(frozen=True)
class ContrastiveSaliency:
    """How far places speak for one class over another.

    The saliency of a place is the mean of p(own class) - p(other class) over random masks, weighted
    by how far they show the place.

    saliency: (N, H, W) float32.
    baseline: (N, H, W) float32, what it would be for the same masks if it did not matter whether
        the place is shown.
    """

    saliency: Tensor
    baseline: Tensor

    def pull(self, outside: Tensor) -> Tensor:
        """How far places out of context draw a classifier to the other class.

        Args:
            outside: (N, H, W) bool, the patches that do not belong to the image.

        Returns:
            (N,) float32: the mean of baseline - saliency over these places. 0 if they are left out
            of account, above 0 if they speak for the other class; NaN for an image without any.
            Up to a cell of a mask from their border it tells of what lies beyond, too: masks are
            smooth. Cells smaller than the patches keep that small, and need more masks.
        """
        lost = (self.baseline - self.saliency) * outside
        return lost.sum(dim=(1, 2)) / outside.sum(dim=(1, 2))


@dataclass(frozen=True)
class ContrastiveRise:
    """Explain what a classifier tells two classes by, showing it random parts of images (c-RISE).

    With masks m_i that fade parts of an image to 0, the saliency is
    sum_i m_i * (p_own(x * m_i) - p_other(x * m_i)) / (masks * share). For an image with patches of
    another one, whose class is the other, it tells how far each place speaks for either.

    Source: Lee et al., Hardwiring ViT Patch Selectivity into CNNs using Patch Mixing, arXiv 2023,
    of which no code is public; the contrast is taken between the classes of the two images. Masks
    and mean are those of Petsiuk et al., RISE, BMVC 2018, and its explanations.py: the difference
    of two of its maps, to 1e-6 on the same masks.

    masks: drawn for each image, >= 1; RISE has 4,000 to 8,000 at 224 pixels.
    cells: of a mask along each axis before it is made as large as the image, >= 2.
    share: of the cells that are shown, in (0, 1).
    rows: masked images that the model is given at a time, >= 1.

    Raises:
        ValueError: a value is out of range.
    """

    masks: int = 1000
    cells: int = 7
    _: KW_ONLY
    share: float = 0.5
    rows: int = 512

    def __post_init__(self) -> None:
        for name, least in {"masks": 1, "cells": 2, "rows": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")

    def __call__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        labels: Tensor,
        *,
        others: Tensor,
        draws: Draws,
    ) -> ContrastiveSaliency:
        """The saliency of some images. Without gradients; the model's mode is left as it is.

        Costs `masks` forward passes an image.

        Args:
            model: takes (B, C, H, W) and gives (B, K) logits; in evaluation mode.
            x: (N, C, H, W) float, as the model takes them.
            labels: (N,) int64, their own classes.
            others: (N,) int64, the classes they are held against.
            draws: of the rows of x: where masks come from.
        """
        grid = draws.bernoulli("cells", self.share, shape=(self.masks, self.cells, self.cells))
        sides = [-(-side // self.cells) for side in x.shape[2:]]  # of a cell, in pixels
        shift = torch.stack(
            [
                draws.below(f"shift/{axis}", side, shape=(self.masks,))
                for axis, side in enumerate(sides)
            ],
            dim=2,
        )
        return self.explained(model, x, labels, others=others, grid=grid, shift=shift)

    @torch.no_grad()
    def explained(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        labels: Tensor,
        *,
        others: Tensor,
        grid: Tensor,
        shift: Tensor,
    ) -> ContrastiveSaliency:
        """The saliency by given masks.

        Args:
            model: takes (B, C, H, W) and gives (B, K) logits.
            x: (N, C, H, W) float.
            labels: (N,) int64.
            others: (N,) int64.
            grid: (N, masks, cells, cells) bool, the cells of each mask that are shown.
            shift: (N, masks, 2) int64, how far down and right in the mask an image begins, in
                pixels.

        Raises:
            ValueError: shapes do not fit.
        """
        if x.dim() != 4 or not labels.shape == others.shape == x.shape[:1]:
            raise ValueError(
                "x must be (N, C, H, W), labels and others (N,), got "
                f"{tuple(x.shape)}, {tuple(labels.shape)} and {tuple(others.shape)}"
            )
        if grid.dim() != 4 or len(grid) != len(x) or shift.shape != (*grid.shape[:2], 2):
            raise ValueError(
                f"grid must be ({len(x)}, masks, cells, cells) and shift ({len(x)}, masks, 2), got "
                f"{tuple(grid.shape)} and {tuple(shift.shape)}; draws are one for each image"
            )
        height, width = x.shape[2:]
        saliency = torch.zeros(len(x), height, width, device=x.device)
        shown, contrasts = torch.zeros_like(saliency), saliency.new_zeros(len(x))
        count = grid.shape[1]
        for some in torch.split(torch.arange(len(x) * count, device=x.device), self.rows):
            image, place = some // count, some % count
            mask = smooth_masks(grid[image, place], shift[image, place], height, width)
            logits = model(x[image] * mask[:, None].to(x.dtype))
            if logits.dim() != 2:
                raise ValueError(f"the model must give (B, K) logits, got {tuple(logits.shape)}")
            sure = logits.float().softmax(dim=1)
            classes = torch.stack([labels[image], others[image]], dim=1)
            own, other = sure.gather(1, classes).unbind(1)
            saliency.index_add_(0, image, mask * (own - other)[:, None, None])
            shown.index_add_(0, image, mask)
            contrasts.index_add_(0, image, own - other)
        expected = contrasts[:, None, None] / count * shown
        scale = count * self.share
        return ContrastiveSaliency(saliency / scale, expected / scale)


def smooth_masks(grid: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """Masks of some cells, with smooth borders.

    A grid is made one cell larger than the image, by linear interpolation that mirrors it at its
    ends, and a window of the image's size cut from it.

    Source: Petsiuk et al., RISE, BMVC 2018, section 3.2, and generate_masks of its explanations.py.

    Args:
        grid: (B, cells, cells) bool, cells >= 2.
        shift: (B, 2) int64, where the window begins, from the top left, less than a cell.
        height: of the window, in pixels.
        width: of the window, in pixels.

    Returns:
        (B, height, width) float32 in [0, 1].
    """
    cells = grid.shape[1]
    down = _interpolation(shift[:, 0], height, cells)
    across = _interpolation(shift[:, 1], width, cells)
    return down @ grid.float() @ across.transpose(1, 2)


def _interpolation(shift: Tensor, size: int, cells: int) -> Tensor:
    """How far each cell stands in each pixel, along one axis. Returns (B, size, cells) float32."""
    whole = (cells + 1) * -(-size // cells)
    pixel = torch.arange(size, device=shift.device) + shift[:, None]
    centre = (pixel + 0.5) * cells / whole - 0.5  # in cells; below 0 and above the last: mirrored
    centre = (cells - 1) - ((cells - 1) - centre.abs()).abs()
    cell = torch.arange(cells, device=shift.device)
    return (1 - (centre[:, :, None] - cell).abs()).clamp(min=0)
