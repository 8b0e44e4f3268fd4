"""Patch Mixing: a number of small cells replaced by those of another sample."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.mixers.cells import SCOPE, GridMask, Scope
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.pairing import PERMUTATION, Pairing


class PatchMixing(GridMask):
    """Replace random patches of a regular grid by the same patches of another sample.

    Of N patches, round(share * N) are replaced, and the labels mix by the area that they cover.
    Networks that train on it learn to leave out of account what does not belong to an object.

    Source: Lee et al., Hardwiring ViT Patch Selectivity into CNNs using Patch Mixing, arXiv 2023.
    No code of it is public; how the share is drawn is not published.

    Args:
        alpha: both shapes of the Beta distribution of the share replaced; > 0.
        share: replaced of every sample instead, in [0, 1].
        cells: patches along each axis; the paper's grids have 7 and 14, of 32 and 16 pixels.
        cell: side of a patch in pixels or steps instead.
        scope: `sample` draws a share for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range.
    """

    card = Card(
        name="patch_mixing",
        kind="mixer",
        family="grid",
        modality=("image", "series", "audio", "volume"),
        summary="Replaces random patches of a grid by another sample's; labels mix by area.",
        systems=("patch-mixing", "openmixup-mixers"),
        paper=Paper(
            "Hardwiring ViT Patch Selectivity into CNNs using Patch Mixing",
            authors="Lee, Bargal, Kasera, Sclaroff, Saenko, Ruiz",
            venue="arXiv",
            year=2023,
            arxiv="2306.17848",
        ),
        parameters={
            "alpha": Mixup.card.parameters["alpha"],
            "share": Range(
                0.0,
                0.9,
                default=None,
                valid="[0, 1]",
                meaning="of the patches that are replaced; drawn by default",
            ),
            "cells": Range(
                4, 14, default=8, valid="[1, inf)", integer=True, meaning="patches along each axis"
            ),
            "scope": SCOPE,
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "there is no authors' code; whether they draw the share or fix it is not known, both "
            "are here",
            "label smoothing is left to the target, and the choice among mixers to RandomChoice",
        ),
        example="x, target = vicinal.PatchMixing()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("cutmix", "mixup"),
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        share: float | None = None,
        cells: int = 8,
        cell: int | None = None,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, share=share, cells=cells, scope=scope)
        super().__init__(cells, cell, scope=scope, pairing=pairing)
        self.alpha = alpha
        self.share = share

    def own_count(self, draws: Draws, total: int) -> Tensor:
        replaced = draws.beta("share replaced", self.alpha, self.alpha).double()
        if self.share is not None:
            replaced = replaced.new_full((len(draws),), self.share)
        return total - (replaced * total).round().long()
