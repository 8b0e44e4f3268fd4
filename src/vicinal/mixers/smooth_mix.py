"""Mixing by a soft spot: the partner shines through around a point, and fades out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.masks import MaskMixer, made_once, mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.paste import spatial_sizes

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class SmoothMixParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    centre: (B, R) float32, the middle of the spot along each of the R axes of space or time, in
        pixels or steps; 0 is the middle of the first one.
    spread: (B,) float32, the standard deviation of the spot, in pixels or steps.
    """

    partner: Tensor
    centre: Tensor
    spread: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """The spot's height, as `vicinal.core.partner_share` has it."""
        share = self.centre.new_ones(())
        for one in profiles(self.centre, self.spread, places):
            share = share * one
        return share


class SmoothMix(MaskMixer):
    """Blend a partner in by a Gaussian spot of height 1; labels weigh as much as is shown.

    Works on series (B, C, T), images (B, C, H, W) and volumes (B, C, D, H, W). No edge betrays
    where one sample ends.

    Source: Lee et al., SmoothMix, CVPR Workshops 2020, as OpenMixup has it in smoothmix.py: the
    mixed inputs agree with its to 1e-6 where centre and spread are the same. The own label weighs
    one minus the mean of the spot; OpenMixup gives that weight to the partner's label. Spot and
    partner are drawn per sample; OpenMixup draws them once for the batch.

    Args:
        smallest: the smallest spread, as a share of an image's height or a series' length; > 0.
        largest: the largest; at least the smallest. Spreads in between are equally likely.
        scope: `sample` draws a spot for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="smoothmix",
        kind="mixer",
        family="interpolation",
        modality=("image", "series", "audio", "volume"),
        summary="Blends another sample in by a soft round spot and mixes the labels by area.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "SmoothMix: a Simple Yet Effective Data Augmentation to Train Robust Classifiers",
            authors="Lee, Zaheer, Astrid, Lee",
            venue="CVPR Workshops",
            year=2020,
        ),
        parameters={
            "smallest": Range(
                0.05,
                0.5,
                default=0.25,
                valid="(0, inf)",
                meaning="smallest spread of the spot, in heights of the image",
            ),
            "largest": Range(
                0.5,
                1.0,
                default=0.5,
                valid="(0, inf)",
                meaning="largest spread of the spot, in heights of the image",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one spot"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with OpenMixup's code, to 1e-6, on images; its weight is the partner's",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "the own label weighs one minus the mean of the spot, where OpenMixup gives that "
            "weight to the partner's",
            "one spot per sample, where OpenMixup has one per batch",
            "images need not be square, and the centre may lie between pixels",
        ),
        controls=("mixup", "cutmix"),
        example="x, target = vicinal.SmoothMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        smallest: float = 0.25,
        largest: float = 0.5,
        *,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(smallest=smallest, largest=largest, scope=scope)
        if smallest > largest:
            raise ValueError(f"smallest must be at most largest, got {smallest} and {largest}")
        super().__init__(pairing)
        self.smallest = smallest
        self.largest = largest
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> SmoothMixParams:
        sizes = spatial_sizes(batch.tensor)
        source = draws.shared() if self.scope == "batch" else draws
        place = source.uniform("centre", shape=(len(sizes),))
        height = sizes[-2:][0]
        return SmoothMixParams(
            partner=self.pairing.partner(batch, draws),
            centre=place * torch.tensor(sizes, device=place.device) - 0.5,
            spread=source.uniform("spread", self.smallest, self.largest) * height,
        )

    def own_share(self, batch: Batch, params: SmoothMixParams) -> Tensor:
        return self._shown(batch, params)[0]

    def apply(self, batch: Batch, params: SmoothMixParams) -> Batch:
        own, kept = self._shown(batch, params)
        return mix_by_mask(batch, params.partner, own, kept=kept)

    def _shown(self, batch: Batch, params: SmoothMixParams) -> tuple[Tensor, Tensor]:
        """The mask, (B, ...), and its mean, (B,)."""
        sizes = spatial_sizes(batch.tensor)
        places = [torch.arange(size, device=params.centre.device) for size in sizes]
        along = profiles(params.centre, params.spread, places)
        given = params.spread.new_ones(len(params), dtype=torch.float64)
        for one in along:  # the mean of a product of axes is the product of their means
            given = given * one.flatten(1).mean(dim=1, dtype=torch.float64)
        own = made_once(_beside, *along)
        return own, (1 - given).float()


def _beside(*along: Tensor) -> Tensor:
    """One minus the product, in one pass over memory of the result's size."""
    *first, last = along
    product = first[0] if first else last.new_ones(())
    for other in first[1:]:
        product = product * other
    return torch.addcmul(last.new_ones(()), product, last, value=-1)


def profiles(centre: Tensor, spread: Tensor, places: Sequence[Tensor]) -> list[Tensor]:
    """The factors of Gaussian spots of height 1 along each axis.

    Args:
        centre: (B, R) float.
        spread: (B,) float, > 0.
        places: for each of the R axes, (N,) int64 positions along it.

    Returns:
        For each axis (B, 1, ..., N, ..., 1) float32, to be multiplied with each other.
    """
    found = []
    for axis, along in enumerate(places):
        distance = (along - centre[:, axis, None]) / spread[:, None]
        shape = (len(centre), *(-1 if one == axis else 1 for one in range(len(places))))
        found.append((-0.5 * distance.square()).exp().view(shape))
    return found
