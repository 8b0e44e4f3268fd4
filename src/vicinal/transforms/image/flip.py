"""Mirror images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.chunks import in_chunks


@dataclass(frozen=True)
class FlipParams(Params):
    """One row per sample. flipped: (B,) bool."""

    flipped: Tensor


class HorizontalFlip(Transform):
    """Mirror some images left to right.

    Images are (B, C, H, W) of any type.

    Args:
        prob: how often an image is mirrored, in [0, 1].

    Raises:
        ValueError: prob is out of range.
    """

    card = Card(
        name="horizontal_flip",
        kind="transform",
        family="geometry",
        modality=("image",),
        summary="Mirrors images left to right.",
        parameters={
            "prob": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often an image is mirrored"
            )
        },
        example="x = vicinal.HorizontalFlip()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
        differentiable=True,
        compiles=True,
    )

    def __init__(self, prob: float = 0.5) -> None:
        self.card.check(prob=prob)
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        return FlipParams(draws.bernoulli("flipped", self.prob))

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return batch.replace(x=in_chunks(mirrored, batch.tensor, params.flipped, growth=3))


def mirrored(images: Tensor, flipped: Tensor) -> Tensor:
    """Some of the images turned around along their last axis.

    Args:
        images: (B, ..., W).
        flipped: (B,) bool.

    Returns:
        (B, ..., W), new memory.
    """
    # Whole images are copied out of two batches: choosing value by value takes several times as
    # long, and gathering only those to be mirrored would wait for the host.
    own = torch.arange(len(images), device=images.device)
    return torch.cat([images, images.flip(-1)]).index_select(0, own + len(images) * flipped)
