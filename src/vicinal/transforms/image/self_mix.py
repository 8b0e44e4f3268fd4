"""Mixing an image with itself, which leaves its label alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Transform
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.enhance import Enhance
from vicinal.transforms.image.inner import apply_inner, check_inner, sample_inner

_PAPER = Paper(
    "MediAug: Exploring Visual Augmentation in Medical Imaging",
    venue="MIUA",
    year=2025,
    arxiv="2504.18983",
)


@dataclass(frozen=True)
class SelfCutMixParams(Params):
    """One row per sample; rows and columns, (B, 2) int64.

    size: of the block; where one is 0 the image stays as it is.
    source: its first row and column where it is taken from.
    place: the same where it is pasted.
    """

    size: Tensor
    source: Tensor
    place: Tensor


class SelfCutMix(Transform):
    """Paste a block of an image elsewhere into the same image; the label stays.

    Images are (B, C, H, W) of any type.

    Source: what the released code of MediAug (Su et al., 2025) does under the name of CutMix, which
    is a mixer of two samples (`CutMix`). Height and width of the block are the same share of the
    image's, cut to whole pixels.

    Args:
        low: least share, in [0, 1].
        high: largest share, in [0, 1].

    Raises:
        ValueError: a value is out of range, or low is above high; in `apply`, x are no images.
    """

    card = Card(
        name="self_cutmix",
        kind="transform",
        family="transform",
        modality=("image",),
        summary="Pastes a block of an image elsewhere into the same image.",
        systems=("mediaug",),
        paper=_PAPER,
        parameters={
            "low": Range(
                0.05, 0.5, 1 / 6, valid="[0, 1]", meaning="least side, as a share of the image's"
            ),
            "high": Range(
                0.5, 1.0, 0.9, valid="[0, 1]", meaning="largest side, as a share of the image's"
            ),
        },
        differs=("blocks of odd sides are pasted whole, where the authors lose a row or column",),
        example="x = vicinal.SelfCutMix()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16", "uint16"),
        differentiable=True,
        compiles=True,
    )

    def __init__(self, low: float = 1 / 6, high: float = 0.9) -> None:
        self.card.check(low=low, high=high)
        if low > high:
            raise ValueError(f"low must not be above high, got {low} and {high}")
        self.low = low
        self.high = high

    def sample(self, batch: Batch, draws: Draws) -> SelfCutMixParams:
        whole = torch.tensor(_sizes(batch.tensor), device=batch.index.device)
        share = draws.uniform("side", self.low, self.high)
        size = (share.double()[:, None] * whole).long().minimum(whole)
        room = whole - size + 1
        source = draws.below("source", room, shape=(2,))
        return SelfCutMixParams(size, source, draws.below("place", room, shape=(2,)))

    def apply(self, batch: Batch, params: SelfCutMixParams) -> Batch:
        x = batch.tensor
        _sizes(x)
        gradients = x.requires_grad and torch.is_grad_enabled()
        if x.device.type != "cpu" or gradients or torch.compiler.is_compiling():
            return batch.replace(x=_moved(x, params))
        out = torch.empty_like(x).copy_(x)
        # As in `mixers.paste`: on a CPU a loop over blocks touches these alone, in a fifth of the
        # time of looking up every pixel of 64 images of 224 x 224.
        into, source = _array(out), _array(x)
        columns = (params.size, params.source, params.place)
        for row, (size, first, place) in enumerate(
            zip(*(one.tolist() for one in columns), strict=True)
        ):
            (tall, wide), (top, left), (down, across) = size, first, place
            block = source[row, :, top : top + tall, left : left + wide]
            into[row, :, down : down + tall, across : across + wide] = block
        return batch.replace(x=out)


def _moved(images: Tensor, params: SelfCutMixParams) -> Tensor:
    """Blocks pasted by looking up for every pixel which one is seen there."""
    height, width = images.shape[2:]
    inside = box_mask(params.place, params.place + params.size, (height, width))
    shift = params.source - params.place
    pixel = torch.arange(height * width, device=images.device).view(height, width)
    moved = pixel + (shift[:, 0] * width + shift[:, 1])[:, None, None]
    seen = torch.where(inside, moved, pixel).flatten(1)  # (B, H * W)
    flat = images.flatten(2)
    pasted = flat.gather(2, seen[:, None].expand_as(flat)).view(images.shape)
    return torch.empty_like(images).copy_(pasted)


def _array(images: Tensor) -> Any:
    """A tensor's memory as an array. NumPy lacks bfloat16: it sees whole numbers of that size."""
    images = images.detach()
    return (images.view(torch.int16) if images.dtype == torch.bfloat16 else images).numpy()


@dataclass(frozen=True)
class SelfMixupParams(Params):
    """One row per sample.

    kept: (B,) float32, the weight of the image as it is, in [0, 1].
    enhanced: what is done to its copy.
    """

    kept: Tensor
    enhanced: Params


class SelfMixup(Transform):
    """Interpolate an image with an enhanced copy of itself; the label stays.

    Images are (B, C, H, W) of 8 or 16 bits or floating, as `enhance` takes them; whole numbers are
    rounded.

    Source: what the released code of MediAug (Su et al., 2025) does under the name of MixUp, which
    is a mixer of two samples (`Mixup`).

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        enhance: what is done to the copy; by default one of the photographic enhancements of the
            authors' code, `Enhance()`.

    Raises:
        TypeError: enhance is no augmentation, or it mixes samples.
        ValueError: alpha is not positive, or enhance asks a model or needs the training rows; in
            `apply`, it changes size or number of the images.
    """

    card = Card(
        name="self_mixup",
        kind="transform",
        family="transform",
        modality=("image",),
        summary="Interpolates an image with an enhanced copy of itself.",
        systems=("mediaug",),
        paper=_PAPER,
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight kept",
            )
        },
        differs=Enhance.card.differs,
        example="x = vicinal.SelfMixup()(x)",
        dtypes=Enhance.card.dtypes,
    )

    def __init__(self, alpha: float = 1.0, *, enhance: Augmentation | None = None) -> None:
        self.card.check(alpha=alpha)
        enhance = Enhance() if enhance is None else enhance
        check_inner("enhance", enhance)
        self.alpha = alpha
        self.enhance = enhance

    def sample(self, batch: Batch, draws: Draws) -> SelfMixupParams:
        kept = draws.beta("kept", self.alpha, self.alpha)
        inner = sample_inner("enhance", self.enhance, batch, draws.within("enhanced"))
        return SelfMixupParams(kept, inner)

    def apply(self, batch: Batch, params: SelfMixupParams) -> Batch:
        x = batch.tensor
        copy = apply_inner("enhance", self.enhance, batch, params.enhanced)
        exact = torch.float64 if x.dtype == torch.float64 else torch.float32
        kept = params.kept.to(exact)[:, None, None, None]
        mixed = torch.lerp(copy.to(exact), x.to(exact), kept)
        mixed = mixed if x.is_floating_point() else mixed + 0.5
        return batch.replace(x=mixed.to(x.dtype))


def _sizes(x: Tensor) -> tuple[int, int]:
    """Height and width. Raises ValueError unless x are images."""
    if x.dim() != 4:
        raise ValueError(f"x must be images (B, C, H, W), got shape {tuple(x.shape)}")
    height, width = x.shape[2:]
    return height, width
