"""Interpolating two images, each the more where it is the more salient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import Probe, Saliency
from vicinal.mixers.blend import need_shares
from vicinal.mixers.farthest import FarthestCycle
from vicinal.mixers.image_saliency import blurred, spectral_residual
from vicinal.mixers.masks import MaskMixer
from vicinal.mixers.pairing import Pairing

Source = Literal["spectral", "gradient"]

FARTHEST = FarthestCycle()


@dataclass(frozen=True)
class GuidedMixupParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    own: (B, G, G) float32 in [0, 1], the share of the own image on a grid of cells.
    """

    partner: Tensor
    own: Tensor


class GuidedMixup(MaskMixer):
    """Mix two images pixel by pixel by the ratio of their saliencies, and the labels by area.

    Saliency is that of the image's spectrum, which needs no model, or the gradient of the loss. It
    is blurred and sums to one over the image. By default images are paired that are salient in
    different places.

    Source: Kang and Kim, GuidedMixup, AAAI 2023, section 3, and the authors' mixup.py,
    spectral_residual.py and pairing.pyx, with which it agrees to 1e-5 where there are as many cells
    as pixels.

    Args:
        saliency: `spectral` or `gradient`.
        cells: on each side of the grid that masks are kept on, so that they do not grow with the
            images; between the cells they are interpolated. 32 is all there is of CIFAR; at 224
            pixels, a cell is as large as the blur.
        prob: how often a sample is mixed at all, in [0, 1].
        pairing: who is mixed with whom, within the batch; it is handed the maps.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range or unknown, or the pairing takes partners from outside
            of the batch.
    """

    card = Card(
        name="guidedmixup",
        kind="mixer",
        family="saliency",
        modality=("image",),
        summary="Shows of two images at every pixel the more salient one the more.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "GuidedMixup: An Efficient Mixup Strategy Guided by Saliency Maps",
            authors="Kang, Kim",
            venue="AAAI",
            year=2023,
            arxiv="2306.16612",
        ),
        parameters={
            "saliency": Options(
                ("spectral", "gradient"),
                "spectral",
                meaning="of the image's spectrum, or of the loss: one more forward and backward "
                "pass",
            ),
            "cells": Range(
                8,
                64,
                default=32,
                scale="log",
                valid="[1, inf)",
                integer=True,
                meaning="on each side of the grid that masks are kept on",
            ),
            "prob": Range(
                0.0,
                1.0,
                default=1.0,
                valid="[0, 1]",
                meaning="how often a sample is mixed; the authors take 0.5 by spectra, 0.8 by "
                "gradients",
            ),
        },
        cost="with gradients, one more forward and backward pass",
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code, to 1e-5, at one cell a pixel",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "pairs are those of the greedy cycle, which the authors' code for CIFAR means to take "
            "and by the name of the option misses: it pairs at random",
            "masks are kept on a grid of cells, where the authors' code has one of all pixels",
            "whether it is mixed is drawn per sample, where the authors' code draws for the batch",
            "the model is asked for gradients in evaluation mode, where the authors' code asks it "
            "in training mode",
        ),
        controls=("mixup",),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.GuidedMixup()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        saliency: Source = "spectral",
        *,
        cells: int = 32,
        prob: float = 1.0,
        pairing: Pairing = FARTHEST,
    ) -> None:
        self.card.check(saliency=saliency, cells=cells, prob=prob)
        super().__init__(pairing)
        if pairing.pooled:
            raise ValueError(
                f"the saliency of partners is told from the batch: {type(pairing).__name__} may "
                "take partners from elsewhere, choose a pairing within the batch"
            )
        self.saliency: Source = saliency
        self.cells = cells
        self.prob = prob
        self.probes: tuple[Probe, ...] = (Saliency(),) if saliency == "gradient" else ()

    def sample(self, batch: Batch, draws: Draws) -> GuidedMixupParams:
        maps = distributed(blurred(self._saliency(batch).float()))
        # As sums over the cells, which are of one size but where they do not divide the image.
        maps = distributed(F.adaptive_avg_pool2d(maps, self.cells))
        partner = self.pairing.partner(batch.replace(x=maps), draws)
        if self.prob < 1:  # with itself it stays as it is
            partner = torch.where(draws.bernoulli("active", self.prob), partner, batch.index)
        _, at = batch.replace(pool=None).partners(partner)
        return GuidedMixupParams(partner, own_shares(maps, maps[at]))

    def own_share(self, batch: Batch, params: GuidedMixupParams) -> Tensor:
        need_shares("the share of a cell", params.own)
        return enlarged(params.own, batch.tensor.shape[2:])

    def _saliency(self, batch: Batch) -> Tensor:
        """(B, H, W), at least 0."""
        if not self.probes:
            return spectral_residual(batch.tensor.detach())
        found = batch.evidence.get(self.probes[0])
        if found is None:
            raise ValueError(
                "GuidedMixup by gradients needs saliency: batch = ask(mix.probes, networks, batch) "
                "first, from vicinal.core.probe"
            )
        if found.dim() != 3:
            raise ValueError(f"saliency must be of images (B, H, W), got {tuple(found.shape)}")
        return found


def distributed(maps: Tensor) -> Tensor:
    """Maps that sum to one; one that is zero everywhere becomes even. maps: (B, H, W), >= 0."""
    total = maps.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 0, maps / total, 1 / maps[:1].numel())


def own_shares(own: Tensor, partner: Tensor) -> Tensor:
    """The share of the first of two saliencies at each place; one half where both are zero."""
    both = own + partner
    return torch.where(both > 0, own / both, 0.5)


def enlarged(cells: Tensor, sizes: Sequence[int]) -> Tensor:
    """A grid of cells made as large as an image, bilinearly.

    Args:
        cells: (B, G, G).
        sizes: height and width; where one is below G, cells are averaged.

    Returns:
        (B, height, width).
    """
    least = [min(size, count) for size, count in zip(sizes, cells.shape[1:], strict=True)]
    averaged = F.adaptive_avg_pool2d(cells, (least[0], least[1]))
    if tuple(least) == tuple(sizes):
        return averaged
    resized = F.interpolate(averaged[:, None], tuple(sizes), mode="bilinear", align_corners=False)
    return resized[:, 0].clamp(0, 1)
