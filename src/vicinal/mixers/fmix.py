"""Mixing by masks of any shape: where a random cloud is bright, the own sample is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.placed_target import BoxTarget, MaskTarget
from vicinal.mixers.blend import need_shares
from vicinal.mixers.low_frequency import Spectrum, low_frequency_field
from vicinal.mixers.masks import MaskMixer, made_once, mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.paste import spatial_sizes
from vicinal.mixers.quantile_mask import quantile_mask, soft_quantile_mask

Scope = Literal["sample", "batch"]
Labels = Literal["mixed", "own"]

#: Kinds of target that say something of places.
PLACED = (MaskTarget.kind, BoxTarget.kind)


@dataclass(frozen=True)
class FMixParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    lam: (B,) float32, the share of the own sample, in [0, 1].
    up: (B,) bool, whether that many places are rounded up to a whole number, or down.
    key: (B,) int64, what the cloud is made from.
    """

    partner: Tensor
    lam: Tensor
    up: Tensor
    key: Tensor


class FMix(MaskMixer):
    """Show the own sample where a random low-frequency cloud is brightest, its partner elsewhere.

    Works on series (B, C, T), images (B, C, H, W) and volumes (B, C, D, H, W). The labels weigh as
    much as is shown of each, to the place; the authors' code weighs them by the share drawn, from
    which that differs by less than one place. With mixup in turn, as in the paper's best runs, it
    is `RandomChoice([FMix(), Mixup()], scope="batch")`.

    Source: Harris et al., FMix: Enhancing Mixed Sample Data Augmentation, 2020, section 4, and the
    authors' fmix.py. Given the same noise and the same share, masks of the `released` spectrum
    agree with theirs place by place, soft edges to 1e-6; with those of the paper, their code does
    not. Share, mask and partner are drawn per sample; the authors' code draws them once for the
    batch.

    Args:
        alpha: both shapes of the Beta distribution of the share; > 0.
        decay: the power of frequency by which the cloud's amplitude falls; at least 0. At 0 every
            place is by itself, larger ones make rounder and fewer pieces.
        soft: how far the edges are softened to either side, as a share of all places, in [0, 0.5];
            less where one of the two samples has less room. Then uint8 is rounded to the nearest.
        spectrum: `isotropic` as in the paper, or `released`, as published numbers were made: along
            the last axis it has one cycle at most.
        labels: `mixed` by area, or `own`: the share is drawn from Beta(alpha + 1, alpha), and the
            own label is kept, which gives the same loss in expectation where it is linear in the
            labels (the authors' "reformulated").
        scope: `sample` draws a mask for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or an option unknown.
    """

    card = Card(
        name="fmix",
        kind="mixer",
        family="frequency",
        modality=("image", "series", "audio", "volume"),
        summary="Mixes by masks of any shape: a random cloud, cut where it covers the share drawn.",
        systems=("fmix", "openmixup", "openmixup-mixers"),
        paper=Paper(
            "FMix: Enhancing Mixed Sample Data Augmentation",
            authors="Harris, Marcu, Painter, Niranjan, Prügel-Bennett, Hare",
            venue="arXiv",
            year=2020,
            arxiv="2002.12047",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the share of the own sample",
            ),
            "decay": Range(
                1.0,
                6.0,
                default=3.0,
                valid="[0, inf)",
                meaning="power by which amplitude falls with frequency: how smooth masks are",
            ),
            "soft": Range(
                0.0,
                0.5,
                default=0.0,
                valid="[0, 0.5]",
                meaning="share of all places by which edges are softened to either side",
            ),
            "spectrum": Options(
                ("isotropic", "released"),
                "isotropic",
                meaning="of the paper, or of the authors' code",
            ),
            "labels": Options(
                ("mixed", "own"), "mixed", meaning="mixed by area, or the own one and larger shares"
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one mask"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code, to 2e-6, on the released spectrum; the isotropic one is "
        "not in it",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-10, PyramidNet-200",
            metric="accuracy, %",
            baseline=98.31,
            value=98.64,
        ),
        differs=(
            "one mask per sample, where the authors' code has one per batch",
            "the cloud is alike in all directions, as in the paper; in the authors' code it has "
            "one cycle at most along the last axis, as spectrum=released has it",
            "labels weigh what is shown, where the authors' code takes the share drawn: less than "
            "one place apart",
        ),
        controls=("cutmix", "fmix:decay=0"),
        example="x, target = vicinal.FMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        decay: float = 3.0,
        soft: float = 0.0,
        spectrum: Spectrum = "isotropic",
        labels: Labels = "mixed",
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(
            alpha=alpha, decay=decay, soft=soft, spectrum=spectrum, labels=labels, scope=scope
        )
        super().__init__(pairing)
        self.alpha = alpha
        self.decay = decay
        self.soft = soft
        self.spectrum: Spectrum = spectrum
        self.labels = labels
        self.scope = scope

    def carries(self, kind: str) -> bool:
        """Not masks and boxes where labels are the own ones: these have to go with the places."""
        return super().carries(kind) and not (self.labels == "own" and kind in PLACED)

    def sample(self, batch: Batch, draws: Draws) -> FMixParams:
        spatial_sizes(batch.tensor)
        source = draws.shared() if self.scope == "batch" else draws
        more = 1.0 if self.labels == "own" else 0.0
        return FMixParams(
            partner=self.pairing.partner(batch, draws),
            lam=source.beta("share", self.alpha + more, self.alpha),
            up=source.bernoulli("rounded up", 0.5),
            key=source.keys("cloud"),
        )

    def own_share(self, batch: Batch, params: FMixParams) -> Tensor:
        sizes = spatial_sizes(batch.tensor)
        need_shares("the share drawn", params.lam)
        return made_once(partial(self._mask, sizes), params.lam, params.up, params.key)

    def apply(self, batch: Batch, params: FMixParams) -> Batch:
        own = self.own_share(batch, params)
        total = math.prod(own.shape[1:])
        kept = (shown_places(params.lam, params.up, total).double() / total).float()
        mixed = mix_by_mask(batch, params.partner, own, kept=kept)
        return mixed.replace(target=batch.target) if self.labels == "own" else mixed

    def _mask(self, sizes: tuple[int, ...], lam: Tensor, up: Tensor, key: Tensor) -> Tensor:
        cloud = low_frequency_field(key, sizes, decay=self.decay, spectrum=self.spectrum)
        total = math.prod(sizes)
        count = shown_places(lam, up, total)
        if self.soft == 0:
            return quantile_mask(cloud, count)
        room = lam.double().minimum(1 - lam.double()).clamp(max=self.soft)
        return soft_quantile_mask(cloud, count, (room * total).long())


def shown_places(lam: Tensor, up: Tensor, total: int) -> Tensor:
    """A share of all places in whole numbers.

    Args:
        lam: (B,) float32 in [0, 1].
        up: (B,) bool, whether to round up.
        total: places.

    Returns:
        (B,) int64.
    """
    exact = lam.double() * total
    return exact.ceil().where(up, exact.floor()).long()
