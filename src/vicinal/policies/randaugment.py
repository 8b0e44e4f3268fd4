"""RandAugment and what it shares with its kin: a few operations, drawn uniformly for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image import flavors
from vicinal.transforms.image.cutout import Cutout, CutoutParams
from vicinal.transforms.image.operations import NUMBER, apply_operations, check_images

#: The magnitudes of UDA are tenths of its ranges.
_TENTHS = 10


@dataclass(frozen=True)
class OperationParams(Params):
    """One row per sample; N operations, applied from the first to the last.

    operation: (B, N) int64, places in `vicinal.transforms.image.operations.OPERATIONS`.
    argument: (B, N) float32, in the operation's own unit, with its sign.
    start, stop: (B, N + 1, 2) int64, the rows and columns between which the image is covered after
        each operation, and after all of them; stop is exclusive. None where nothing is covered.
    """

    operation: Tensor
    argument: Tensor
    start: Tensor | None = None
    stop: Tensor | None = None


class RandAugment(Transform):
    """Apply a few operations drawn uniformly, all at one strength.

    Images are (B, C, H, W) with one or three channels, uint8 or floating in [0, 1].

    Source: Cubuk et al., RandAugment, NeurIPS 2020, in the reading of torchvision's RandAugment:
    its 14 operations and ranges, every operation drawn is applied, black where nothing is known.
    On uint8 images the result is that of torchvision's tensor kernels.

    The flavor `uda` is the noise of Xie et al., UDA, NeurIPS 2020 (image/randaugment of the
    authors): 15 operations, with invert and cutout and without identity; each one drawn has a
    magnitude of its own and is applied with probability 0.5; at the end a square of half the
    image's side is covered.

    Args:
        num_ops: operations an image, from 0 to 100; they are drawn with replacement.
        magnitude: strength of all operations, a whole number from 0 to num_bins - 1. At 0 only
            solarize (of the value 255), auto_contrast and equalize change anything. Of `uda` it is
            the highest strength, from 1 to 10; strengths are uniform from 1 to there.
        num_bins: how many magnitudes the ranges are cut into, >= 2. Those of `uda` are tenths.
        flavor: whose operations and ranges; `torchvision` or `uda`.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="randaugment",
        kind="policy",
        family="policies",
        modality=("image",),
        summary="Applies a few random image operations, all at one strength.",
        systems=("randaugment", "uda"),
        paper=Paper(
            "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space",
            authors="Cubuk, Zoph, Shlens, Le",
            venue="NeurIPS",
            year=2020,
            arxiv="1909.13719",
        ),
        parameters={
            "num_ops": Range(
                1, 4, default=2, valid="[0, 100]", integer=True, meaning="operations an image"
            ),
            "magnitude": Range(
                0,
                30,
                default=9,
                valid="[0, inf)",
                integer=True,
                meaning="strength of all operations; num_bins - 1 is the strongest",
            ),
            "num_bins": Range(
                11, 31, default=31, valid="[2, inf)", integer=True, meaning="number of strengths"
            ),
            "flavor": Options(
                ("torchvision", "uda"), default="torchvision", meaning="whose ranges are taken"
            ),
        },
        result=Result(
            task="ImageNet-1k, EfficientNet-B7",
            metric="top-1 accuracy, %",
            baseline=84.0,
            value=85.0,
        ),
        differs=(
            "torchvision's ranges: translations up to 150/331 of the side, where the authors' code "
            "moves by up to 100 px whatever the size; contrast pivots on the mean grey",
            "posterize and solarize grow stronger with the magnitude, "
            "where the authors' code has them weaken",
            "no cutout, invert and solarize_add among the operations, and an identity instead",
            "places outside the image are black, where the authors' code has grey",
            "uda: translations and squares in proportion to the side, as on its authors' 32 pixels",
            "uda: what is covered or lies outside is black, where its authors have the mean colour",
        ),
        example="x = vicinal.RandAugment(num_ops=2, magnitude=9)(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
    )

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        *,
        num_bins: int = 31,
        flavor: Literal["torchvision", "uda"] = "torchvision",
    ) -> None:
        self.card.check(num_ops=num_ops, magnitude=magnitude, num_bins=num_bins, flavor=flavor)
        if flavor == "uda":
            if not 1 <= magnitude <= _TENTHS:
                raise ValueError(f"magnitude of uda must be from 1 to {_TENTHS}, got {magnitude}")
            if num_bins != self.card.parameters["num_bins"].default:
                raise ValueError(f"num_bins does not apply to uda, got {num_bins}")
        elif magnitude >= num_bins:
            raise ValueError(f"magnitude must be below num_bins, {num_bins}, got {magnitude}")
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.num_bins = num_bins
        self.flavor = flavor

    def sample(self, batch: Batch, draws: Draws) -> OperationParams:
        if self.flavor == "uda":
            return self._sample_uda(batch, draws)
        scale = scale_of(batch.tensor, bins=self.num_bins)
        arguments = flavors.all_arguments("torchvision", scale)[:, self.magnitude]
        place = draws.below("operation", len(arguments), shape=(self.num_ops,))
        argument = arguments.to(place.device)[place]
        return resolved("torchvision", place, argument, draws)

    def _sample_uda(self, batch: Batch, draws: Draws) -> OperationParams:
        scale, shape = scale_of(batch.tensor, bins=_TENTHS + 1), (self.num_ops,)
        arguments = flavors.all_arguments("uda", scale)
        place = draws.below("operation", len(arguments), shape=shape)
        magnitude = 1 + draws.below("magnitude", self.magnitude, shape=shape)
        active = draws.bernoulli("active", 0.5, shape=shape)
        argument = arguments.to(place.device)[place, magnitude]
        drawn = resolved("uda", place, argument, draws)
        # An operation that is a cutout covers its square; the last square is there in any case.
        cutout = active & (place == list(flavors.FLAVORS["uda"]).index("cutout"))
        sides = torch.where(cutout, argument, 0).long()
        last = sides.new_full((len(batch), 1), min(scale.height, scale.width) // 2)
        half = torch.cat([sides, last], dim=1)[:, :, None] // 2
        size = torch.tensor([scale.height, scale.width], device=half.device)
        centre = draws.below("centre", size, shape=(self.num_ops + 1, 2))
        return OperationParams(
            operation=drawn.operation.masked_fill(~active, NUMBER["identity"]),
            argument=drawn.argument.masked_fill(~active | cutout, 0),
            start=(centre - half).clamp(min=0),
            stop=(centre + half).minimum(size),
        )

    def apply(self, batch: Batch, params: OperationParams) -> Batch:
        operation, argument = params.operation, params.argument
        start, stop = params.start, params.stop
        if start is None or stop is None:
            return batch.replace(x=apply_operations(batch.tensor, operation, argument))
        for step in range(operation.shape[1]):
            one = slice(step, step + 1)
            x = apply_operations(batch.tensor, operation[:, one], argument[:, one])
            batch = _covered(batch.replace(x=x), start[:, step], stop[:, step])
        return _covered(batch, start[:, -1], stop[:, -1])


def _covered(batch: Batch, start: Tensor, stop: Tensor) -> Batch:
    """Images with a square covered in black. start, stop: (B, 2) int64."""
    return Cutout().apply(batch, CutoutParams(start, stop))


def scale_of(images: Tensor, *, bins: int) -> flavors.Scale:
    """What arguments depend on, for a batch of images."""
    check_images(images)
    height, width = images.shape[2:]
    return flavors.Scale(bins, height, width)


def resolved(flavor: str, place: Tensor, argument: Tensor, draws: Draws) -> OperationParams:
    """Draw the signs, and name the operations by their place in the bank.

    Args:
        flavor: name of a column.
        place: (B, ...) int64, the operations by their place in the column.
        argument: (B, ...) float32, without signs.
        draws: for the signs.
    """
    negative = draws.bernoulli("negative", 0.5, shape=place.shape[1:])
    negative &= flavors.signs(flavor).to(place.device)[place]
    operation = flavors.operations(flavor).to(place.device)[place]
    return OperationParams(operation, torch.where(negative, -argument, argument))
