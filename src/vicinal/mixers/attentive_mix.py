"""Attentive CutMix: the cells that a network responds to most, on another image."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.core.activation import LastFeatureMap
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.probe import Probe
from vicinal.mixers.cells import SCOPE, Scope
from vicinal.mixers.evidence import asked, on_grid
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.top_cells import TopCells


class AttentiveMix(TopCells):
    """Keep the cells in which a network's features are largest, and show the partner elsewhere.

    Source: Walawalkar et al., Attentive CutMix, ICASSP 2020, which keeps 6 of 7 x 7 cells, and
    AttentiveMix+ of OpenMixup, attentivemix.py, which draws how many; it agrees with that on masks
    and weights to 1e-6 for the same features and share.

    Args:
        alpha: both shapes of the Beta distribution of the share kept; > 0.
        top: cells kept of every sample instead; the paper has 6. At least one is.
        cells: of the grid along each axis; features of another size are averaged over them.
        scope: `sample` draws a share for every sample, `batch` one for all of them.
        probe: puts out a feature map (B, C, h, w) before the batch is mixed; the model's last one
            by default, `LastFeatureMap(network="teacher")` that of a frozen network of the method.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the probe does not ask before the batch is mixed.
    """

    card = Card(
        name="attentivemix",
        kind="mixer",
        family="attention",
        modality=("image",),
        summary="Keeps the cells that a network responds to most; labels mix by area.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "Attentive CutMix: An Enhanced Data Augmentation Approach for Deep Learning Based "
            "Image Classification",
            authors="Walawalkar, Shen, Liu, Savvides",
            venue="ICASSP",
            year=2020,
            arxiv="2003.13048",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning=Mixup.card.parameters["alpha"].meaning,
            ),
            "top": Range(
                1,
                49,
                default=None,
                valid="[1, inf)",
                integer=True,
                meaning="cells kept of every sample; drawn by default, the paper has 6",
            ),
            "cells": Range(
                2, 14, default=7, valid="[1, inf)", integer=True, meaning="along each axis"
            ),
            "scope": SCOPE,
        },
        needs=(
            "a last feature map that a linear classifier reads the mean of: a convolutional "
            "network, or Swin",
        ),
        cost="one more forward pass",
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with OpenMixup's code on cells, images and weights",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "a share per sample, where OpenMixup's code has one per batch",
            "features are the training model's own, where both papers' code asks a frozen, "
            "pretrained network about images of 224 x 224; give another probe for one",
        ),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.AttentiveMix()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("maskmix:cells=7",),
    )

    def __init__(
        self,
        alpha: float = 2.0,
        *,
        top: int | None = None,
        cells: int = 7,
        scope: Scope = "sample",
        probe: Probe | None = None,
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, top=top, cells=cells, scope=scope)
        super().__init__(cells, scope=scope, pairing=pairing)
        self.alpha = alpha
        self.top = top
        self.probe = LastFeatureMap() if probe is None else probe
        if self.probe.when != "before":
            raise ValueError(f"the probe must be asked before mixing, got {self.probe}")
        self.probes = (self.probe,)

    def own_count(self, draws: Draws, total: int) -> Tensor:
        kept = (draws.beta("share kept", self.alpha, self.alpha).double() * total).long()
        return (kept if self.top is None else torch.full_like(kept, self.top)).clamp(1, total)

    def maps(self, batch: Batch) -> Tensor:
        features = asked(batch, self.probe, "AttentiveMix")
        if features.dim() != 4:
            raise ValueError(
                "AttentiveMix needs feature maps (B, C, h, w), the probe puts out "
                f"{tuple(features.shape)}"
            )
        return on_grid(features.mean(dim=1), (self.cells, self.cells))
