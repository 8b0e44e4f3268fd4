"""TrivialAugment: one operation an image, at a strength of its own."""

from __future__ import annotations

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.policies.randaugment import OperationParams, resolved, scale_of
from vicinal.transforms.image import flavors
from vicinal.transforms.image.operations import apply_operations


class TrivialAugment(Transform):
    """Apply one operation drawn uniformly, at a strength drawn uniformly from wide ranges.

    Images are (B, C, H, W) with one or three channels, uint8 or floating in [0, 1].

    Source: Mueller and Hutter, TrivialAugment, ICCV 2021, the wide space, in the reading of
    torchvision's TrivialAugmentWide. On uint8 images the result is that of its tensor kernels.

    Args:
        num_bins: how many strengths the ranges are cut into, >= 2.

    Raises:
        ValueError: num_bins is out of range.
    """

    card = Card(
        name="trivialaugment",
        kind="policy",
        family="policies",
        modality=("image",),
        summary="Applies one random image operation at a random strength; nothing to tune.",
        systems=("randaugment",),
        paper=Paper(
            "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation",
            authors="Mueller, Hutter",
            venue="ICCV",
            year=2021,
            arxiv="2103.10158",
        ),
        parameters={
            "num_bins": Range(
                11, 31, default=31, valid="[2, inf)", integer=True, meaning="number of strengths"
            ),
        },
        result=Result(
            task="ImageNet-1k, ResNet-50, 270 epochs",
            metric="top-1 accuracy, %",
            baseline=77.20,
            value=78.07,
            note="wide space",
        ),
        differs=(
            "operations in the order and the arithmetic of torchvision's tensor kernels, "
            "where the authors' code calls Pillow",
        ),
        example="x = vicinal.TrivialAugment()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
    )

    def __init__(self, *, num_bins: int = 31) -> None:
        self.card.check(num_bins=num_bins)
        self.num_bins = num_bins

    def sample(self, batch: Batch, draws: Draws) -> OperationParams:
        scale = scale_of(batch.tensor, bins=self.num_bins)
        arguments = flavors.all_arguments("torchvision-wide", scale)
        place = draws.below("operation", len(arguments), shape=(1,))
        magnitude = draws.below("magnitude", self.num_bins, shape=(1,))
        argument = arguments.to(place.device)[place, magnitude]
        return resolved("torchvision-wide", place, argument, draws)

    def apply(self, batch: Batch, params: OperationParams) -> Batch:
        return batch.replace(x=apply_operations(batch.tensor, params.operation, params.argument))
