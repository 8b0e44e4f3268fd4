"""Cover a square of every image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.card import Card, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params


@dataclass(frozen=True)
class CutoutParams(Params):
    """One row per sample.

    start, stop: (B, 2) int64, the rows and columns between which the image is covered; stop is
        exclusive.
    """

    start: Tensor
    stop: Tensor


class Cutout(Transform):
    """Cover a square at a random place of every image.

    Images are (B, C, H, W). They are expected as the model sees them, where the default fill of 0
    is the mean colour; on 8-bit images it is black.

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with
    Cutout, 2017. The centre is uniform over the image and what hangs over the border is lost, so
    that less than the whole square is covered on average: the paper finds this important.

    Args:
        share: side of the square as a share of the image's shorter side, in [0, 2]; 0.5 is the
            paper's 16 pixels on 32 (CIFAR-10; it has 8 on CIFAR-100 and 20 on SVHN).
        length: side of the square in pixels, > 0; given, it is taken instead of the share.
        fill: the value that covers, on the scale of the images.

    Raises:
        ValueError: a value is out of range; in `apply`, fill is no level of 8-bit images.
    """

    card = Card(
        name="cutout",
        kind="transform",
        family="erasing",
        modality=("image",),
        summary="Covers a square at a random place of every image.",
        systems=("randaugment",),
        paper=Paper(
            "Improved Regularization of Convolutional Neural Networks with Cutout",
            authors="DeVries, Taylor",
            venue="arXiv",
            year=2017,
            arxiv="1708.04552",
        ),
        parameters={
            "share": Range(
                0.1,
                0.9,
                default=0.5,
                valid="[0, 2]",
                meaning="side of the square, as a share of the image's shorter side",
            ),
            "length": Range(
                1,
                112,
                default=None,
                valid="[1, inf)",
                integer=True,
                meaning="side of the square in pixels, taken instead of the share",
            ),
            "fill": Range(0.0, 1.0, default=0.0, meaning="the value that covers"),
        },
        result=Result(
            task="CIFAR-10, WRN-28-10, with crop and flip",
            metric="top-1 error, %",
            baseline=3.87,
            value=3.08,
            note="mean of 5 runs, length 16",
        ),
        differs=("squares of odd length keep it, where the authors' code covers a pixel less",),
        example="x = vicinal.Cutout(length=16)(x)",
        dtypes=("float32", "float64", "float16", "bfloat16", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(self, share: float = 0.5, *, length: int | None = None, fill: float = 0.0) -> None:
        self.card.check(share=share, length=length, fill=fill)
        self.share = share
        self.length = length
        self.fill = fill

    def sample(self, batch: Batch, draws: Draws) -> CutoutParams:
        x = batch.tensor
        if x.dim() != 4:
            raise ValueError(f"x must be images (B, C, H, W), got shape {tuple(x.shape)}")
        size = torch.tensor(x.shape[2:], device=batch.index.device)
        length = round(self.share * min(x.shape[2:])) if self.length is None else self.length
        start = draws.below("centre", size, shape=(2,)) - length // 2
        return CutoutParams(start.clamp(min=0), (start + length).minimum(size))

    def apply(self, batch: Batch, params: CutoutParams) -> Batch:
        x = batch.tensor
        covered = box_mask(params.start, params.stop, x.shape[2:])[:, None]
        if x.dtype != torch.uint8:
            return batch.replace(x=torch.where(covered, self.fill, x))
        if self.fill not in range(256):
            raise ValueError(f"fill must be a level from 0 to 255 for uint8, got {self.fill}")
        # Choosing byte by byte takes ten times as long.
        shown = x * ~covered
        if self.fill:
            shown += covered.to(torch.uint8) * int(self.fill)
        return batch.replace(x=shown)
