"""AugMix: mix an image with chains of operations on itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.policies.randaugment import OperationParams, resolved, scale_of
from vicinal.transforms.image import flavors
from vicinal.transforms.image.chunks import in_chunks
from vicinal.transforms.image.colour import to_levels
from vicinal.transforms.image.operations import NUMBER, apply_operations

_FLAVOR = "augmix"
_DEEPEST = 3
_LOWEST_LEVEL = 0.1
_HIGHEST_LEVEL = 10


@dataclass(frozen=True)
class AugMixParams(Params):
    """One row per sample; W chains of up to D operations.

    operation: (B, W, D) int64, places in `vicinal.transforms.image.operations.OPERATIONS`; what is
        left of a shorter chain is `identity`.
    argument: (B, W, D) float32, in the operation's own unit, with its sign.
    weight: (B, W) float32, of the chains among each other; rows sum to 1.
    share: (B,) float32, of the chains together; the image itself has the rest.
    """

    operation: Tensor
    argument: Tensor
    weight: Tensor
    share: Tensor


class AugMix(Transform):
    """Mix every image with a few chains of random operations on it; the label stays.

    Images are (B, C, H, W) with one or three channels, of 8 or 16 bits or floating in [0, 1]; whole
    levels are rounded. Levels are equalised by way of 8 bits. No operation needs colours.

    Source: Hendrycks et al., AugMix, ICLR 2020, algorithm 1 and the authors' augmentations.py: nine
    operations that are none of the corruptions of ImageNet-C, each with a level of its own, uniform
    on [0.1, severity]. Mixing and standardising commute, so that mixing comes first here. Of its
    method this is the augmentation alone: the loss on two such views is another component.

    Args:
        severity: highest level of an operation, from 0.1 to 10.
        width: number of chains, >= 1.
        depth: operations in a chain, >= 1; -1 draws 1, 2 or 3 for each chain.
        alpha: of the Dirichlet distribution of the chains' weights, and both shapes of the Beta
            distribution of their common share; > 0. Towards 0 one chain, or the image, takes all.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="augmix",
        kind="policy",
        family="policies",
        modality=("image",),
        summary="Mixes an image with a few chains of random operations on it.",
        systems=("mediaug", "openmixup-mixers"),
        paper=Paper(
            "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
            authors="Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan",
            venue="ICLR",
            year=2020,
            arxiv="1912.02781",
        ),
        parameters={
            "severity": Range(
                1.0, 10.0, default=3.0, valid="[0.1, 10]", meaning="highest level of an operation"
            ),
            "width": Range(
                1, 5, default=3, valid="[1, inf)", integer=True, meaning="number of chains"
            ),
            "depth": Range(
                -1,
                4,
                default=-1,
                valid="[-1, inf)",
                integer=True,
                meaning="operations in a chain; -1 draws 1 to 3",
            ),
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="evenness of the chains' weights and of their share",
            ),
        },
        result=Result(
            task="CIFAR-10-C, WRN-40-2, with the consistency loss",
            metric="mean error over corruptions, %",
            baseline=26.9,
            value=11.2,
        ),
        differs=(
            "8-bit results of the mixture are rounded, where the authors' code goes on in floats",
            "auto_contrast in float32, where Pillow uses a table in float64: one level at most",
            "translations in proportion to the width and height of non-square images",
        ),
        example="x = vicinal.AugMix()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16", "uint16"),
    )

    def __init__(
        self, severity: float = 3.0, *, width: int = 3, depth: int = -1, alpha: float = 1.0
    ) -> None:
        self.card.check(severity=severity, width=width, depth=depth, alpha=alpha)
        if depth == 0:
            raise ValueError("depth must be -1 or at least 1, got 0")
        self.severity = severity
        self.width = width
        self.depth = depth
        self.alpha = alpha

    def sample(self, batch: Batch, draws: Draws) -> AugMixParams:
        deepest = self.depth if self.depth > 0 else _DEEPEST
        chains = self._operations(batch, draws, (self.width, deepest))
        operation, argument = chains.operation, chains.argument
        if self.depth < 0:
            length = 1 + draws.below("length", _DEEPEST, shape=(self.width, 1))
            ended = torch.arange(deepest, device=length.device) >= length  # (B, W, D)
            operation = operation.masked_fill(ended, NUMBER["identity"])
            argument = argument.masked_fill(ended, 0)
        return AugMixParams(
            operation=operation,
            argument=argument,
            weight=draws.dirichlet("weight", [self.alpha] * self.width),
            share=draws.beta("share", self.alpha, self.alpha),
        )

    def _operations(self, batch: Batch, draws: Draws, shape: tuple[int, int]) -> OperationParams:
        """An operation for every place in every chain. Returns (B, W, D) of each field."""
        place = draws.below("operation", len(flavors.operations(_FLAVOR)), shape=shape)
        level = draws.uniform("level", _LOWEST_LEVEL, self.severity, shape=shape)
        scale = scale_of(batch.tensor, bins=_HIGHEST_LEVEL)
        arguments = flavors.arguments(_FLAVOR, level.flatten(), scale)  # (K, B * W * D)
        argument = arguments.gather(0, place.view(1, -1)).view_as(place)
        return resolved(_FLAVOR, place, argument, draws)

    def apply(self, batch: Batch, params: AugMixParams) -> Batch:
        def mix(images: Tensor, rows: Tensor) -> Tensor:
            own = params[rows]
            width = own.operation.shape[1]
            chains = apply_operations(
                images.repeat_interleave(width, dim=0),
                own.operation.flatten(0, 1),
                own.argument.flatten(0, 1),
                interpolation="bilinear",
            ).view(len(images), width, *images.shape[1:])
            return mixed(images, chains, own.share[:, None] * own.weight)

        rows = torch.arange(len(params), device=params.share.device)
        return batch.replace(x=in_chunks(mix, batch.tensor, rows))


def mixed(images: Tensor, chains: Tensor, weight: Tensor) -> Tensor:
    """Images with their chains, by weight; the images have what the weights leave of 1.

    Args:
        images: (B, C, H, W).
        chains: (B, W, C, H, W), of the same type.
        weight: (B, W) float32, rows of at most 1.

    Returns:
        (B, C, H, W), of the same type; whole levels are rounded to the nearest.
    """
    dtype = torch.promote_types(images.dtype, torch.float32)
    cells = weight.to(images.device, dtype)[:, :, None, None, None]
    total = images.to(dtype) * (1 - cells.sum(dim=1)).clamp_(min=0)
    for chain in range(chains.shape[1]):
        total.addcmul_(chains[:, chain].to(dtype), cells[:, chain])
    if images.is_floating_point():
        return total.to(images.dtype)
    total.add_(0.5)
    return to_levels(total) if images.dtype == torch.uint8 else total.to(images.dtype)
