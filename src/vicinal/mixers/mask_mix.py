"""MaskMix: large cells of a grid, each of one of two samples."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper
from vicinal.core.draws import Draws
from vicinal.mixers.cells import CELLS, SCOPE, GridMask, Scope
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.masks import mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, Pairing

Weights = Literal["area", "cells"]


class MaskMix(GridMask):
    """Take each large cell of a grid from the sample or its partner, and mix the labels by area.

    Cells that patches of a vision transformer divide leave every token to one of the two samples,
    which boxes do not. The own sample has ceil(kept * T) of the T cells.

    Source: Zhao et al., MixPro, ICLR 2023, and the authors' utils.py, with whose
    images and weights it agrees where the same cells are given; theirs draws one share for the
    batch, which is `scope="batch"`.

    Args:
        alpha: both shapes of the Beta distribution of the share kept; > 0.
        cells: along each axis; the authors have 4, of 56 pixels.
        cell: side of a cell in pixels or steps instead, as the authors give it.
        weights: of the labels: the `area` shown, or as in the authors' code the share of the
            `cells`, which is another where cells are cropped.
        scope: `sample` draws a share for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range.
    """

    card = Card(
        name="maskmix",
        kind="mixer",
        family="grid",
        modality=("image", "series", "audio", "volume"),
        summary="Takes each large cell of a grid from one of two samples; labels mix by area.",
        systems=("mixpro", "openmixup-mixers"),
        paper=Paper(
            "MixPro: Data Augmentation with MaskMix and Progressive Attention Labeling for Vision "
            "Transformer",
            authors="Zhao, Huang, Hu, Zhang, Liu",
            venue="ICLR",
            year=2023,
            arxiv="2304.12043",
        ),
        parameters={
            "alpha": Mixup.card.parameters["alpha"],
            "cells": CELLS,
            "weights": Options(("area", "cells"), "area", meaning="what labels weigh by"),
            "scope": SCOPE,
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code, exactly on images, to 1e-6 on weights",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one share per sample, where the authors' code has one per batch",
            "labels weigh by pixels, where the authors' code counts cells: another number where "
            "cells are cropped",
        ),
        example="x, target = vicinal.MaskMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("cutmix",),
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        cells: int = 4,
        cell: int | None = None,
        weights: Weights = "area",
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, cells=cells, weights=weights, scope=scope)
        super().__init__(cells, cell, scope=scope, pairing=pairing)
        self.alpha = alpha
        self.weights = weights

    def own_count(self, draws: Draws, total: int) -> Tensor:
        kept = draws.beta("share kept", self.alpha, self.alpha)
        return (kept.double() * total).ceil().long()

    def apply(self, batch: Batch, params: Any) -> Batch:
        by_cells = params.cells.flatten(1).float().mean(dim=1) if self.weights == "cells" else None
        return mix_by_mask(batch, params.partner, self.own_share(batch, params), kept=by_cells)
