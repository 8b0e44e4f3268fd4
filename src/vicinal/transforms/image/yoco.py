"""Cut every image in two, and augment each half by itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.image.inner import apply_inner, check_inner, sample_inner

_HEIGHT, _WIDTH = 2, 3


@dataclass(frozen=True)
class YocoParams(Params):
    """One row per sample.

    upright: (B,) bool, whether the cut runs from top to bottom, between a left and a right half.
    first: params of the inner augmentation for the left, or upper half.
    second: for the right, or lower half.
    """

    upright: Tensor
    first: Params
    second: Params


class Yoco(Transform):
    """Cut every image in two, and apply the same kind of augmentation to each half on its own.

    Images are (B, C, H, W) of any type that the inner augmentation takes. Of an odd side the second
    half has one pixel more.

    Source: Han et al., You Only Cut Once, ICML 2022, section 3, and the authors' loader for single
    images: the cut is upright or level with equal chance. Their code for CIFAR draws once for the
    whole batch.

    Args:
        inner: what is done to each half; by default mirroring, the example of the authors' code.
            It must keep the number of images and their size.
        upright: how often the cut is upright, in [0, 1].

    Raises:
        TypeError: inner is no augmentation, or it mixes samples.
        ValueError: upright is out of range, or inner has to see whole images or other samples; in
            `apply`, images are too small to be cut, or inner changes their size or number.
    """

    card = Card(
        name="yoco",
        kind="transform",
        family="transform",
        modality=("image",),
        summary="Cuts every image in two and augments each half by itself.",
        systems=("mediaug",),
        paper=Paper(
            "You Only Cut Once: Boosting Data Augmentation with a Single Cut",
            authors="Han, Fang, Li, Hong, Armin, Reid, Petersson, Li",
            venue="ICML",
            year=2022,
            arxiv="2201.12078",
        ),
        parameters={
            "upright": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, 1]",
                meaning="how often the halves are left and right; else they are top and bottom",
            )
        },
        differs=(
            "a cut and its augmentations per image, as in the authors' loader for contrastive "
            "learning; their classification code has one per batch",
        ),
        example="x = vicinal.Yoco(vicinal.RandAugment())(torch.rand(6, 3, 32, 32))",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
        differentiable=True,
    )

    def __init__(self, inner: Augmentation | None = None, *, upright: float = 0.5) -> None:
        self.card.check(upright=upright)
        inner = HorizontalFlip() if inner is None else inner
        check_inner("inner", inner)
        self.inner = inner
        self.upright = upright

    def sample(self, batch: Batch, draws: Draws) -> YocoParams:
        upright = draws.bernoulli("upright", self.upright)
        sides: list[list[Params]] = [[], []]
        order = []
        for rows, axis in _by_cut(upright):
            order.append(rows)
            own = draws[rows]
            halves = _halves(batch[rows], axis)
            for name, half, params in zip(("first", "second"), halves, sides, strict=True):
                params.append(sample_inner("inner", self.inner, half, own.within(name)))
        back = torch.cat(order).argsort()
        first, second = (type(parts[0]).concatenate(parts)[back] for parts in sides)
        return YocoParams(upright, first, second)

    def apply(self, batch: Batch, params: YocoParams) -> Batch:
        pieces, order = [], []
        for rows, axis in _by_cut(params.upright):
            halves = _halves(batch[rows], axis)
            parts = [
                apply_inner("inner", self.inner, half, own[rows])
                for half, own in zip(halves, (params.first, params.second), strict=True)
            ]
            pieces.append(torch.cat(parts, dim=axis))
            order.append(rows)
        joined = torch.cat(pieces).index_select(0, torch.cat(order).argsort())
        # In the memory format of the input, which a choice of rows may lose.
        return batch.replace(x=torch.empty_like(batch.tensor).copy_(joined))


def _by_cut(upright: Tensor) -> list[tuple[Tensor, int]]:
    """The rows that are cut alike, and the axis along which they are; there may be one kind only.

    Returns:
        (M,) int64 positions and an axis, once or twice; without rows, none and an axis.
    """
    kinds = [(upright.nonzero()[:, 0], _WIDTH), ((~upright).nonzero()[:, 0], _HEIGHT)]
    return [kind for kind in kinds if len(kind[0])] or kinds[:1]


def _halves(batch: Batch, axis: int) -> tuple[Batch, Batch]:
    """Both halves along an axis. Raises ValueError where there is nothing to cut."""
    x = batch.tensor
    if x.dim() != 4 or x.shape[axis] < 2:
        raise ValueError(
            "x must be images (B, C, H, W) of at least 2 pixels a side to be cut in two, "
            f"got shape {tuple(x.shape)}"
        )
    middle = x.shape[axis] // 2
    first = x.narrow(axis, 0, middle)
    second = x.narrow(axis, middle, x.shape[axis] - middle)
    return batch.replace(x=first), batch.replace(x=second)
