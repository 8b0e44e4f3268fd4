"""MixPro: large cells of two images, labelled by attention as far as the model can be trusted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Range
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget
from vicinal.methods.supervised import Supervised
from vicinal.methods.transmix import Scope, TransMix
from vicinal.mixers.cells import CELLS
from vicinal.mixers.choice import ChoiceParams, RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.mask_mix import MaskMix
from vicinal.mixers.paste import CutMix
from vicinal.objectives.attention_labels import AttentionLabels
from vicinal.objectives.trust import CosineTrust

#: Shapes of the Beta distributions of mixup and CutMix where no cells are mixed.
MIXUP_ALPHA, CUTMIX_ALPHA = 0.8, 1.0


class ProgressiveLabels(Objective):
    """Labels by trusted attention for what the first mixer made, smoothed ones for the rest.

    Args:
        trust: how far the attention counts, beside the area.
        smoothing: share of the other targets that is spread evenly over all classes, in [0, 1).
    """

    def __init__(self, trust: CosineTrust, smoothing: float) -> None:
        self.attended = AttentionLabels(trust=trust)
        self.smoothing = smoothing
        self.probes = self.attended.probes

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        target = batch.target
        if not isinstance(params, ChoiceParams) or not isinstance(target, ClassTarget):
            raise TypeError("progressive labels are for class labels mixed by one of several")
        attention = heard[self.attended.probe]
        attended = self.attended.target(batch, params, attention, output=output)
        by_cells = attended.loss(output, reduction="none")
        otherwise = target.smooth(self.smoothing).loss(output, reduction="none")
        return torch.where(params.chosen == 0, by_cells, otherwise).mean()


class MixPro(Supervised):
    """Mix large cells of two images, and trust the attention on them as the model learns.

    A label weighs by the share of the attention on its cells, as far as the prediction agrees with
    the labels by area, and by area for the rest. Batches that are not mixed by cells are mixed by
    mixup or CutMix, as often, with smoothed labels.

    Source: Zhao et al., MixPro, ICLR 2023, and the authors' utils.py and main.py, with whose
    images, weights and loss it agrees to 1e-6. Their configurations leave the labels by attention
    out; the paper has them.

    Args:
        alpha: both shapes of the Beta distribution of the share of own cells; > 0.
        cells: of the grid along each axis; they should hold whole patches of the model.
        cell_share: how often cells are mixed, in [0, 1].
        smoothing: of the targets that attention does not weigh, and of those that the prediction is
            held against, in [0, 1).
        differentiable: whether the loss may also lower itself through the trust, as in the authors'
            code.
        scope: `batch` draws one mixer and share for a batch, `sample` one for every sample.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="mixpro",
        kind="method",
        family="attention",
        modality=("image",),
        summary="Mixes large cells, and trusts the attention on them as predictions get better.",
        systems=("mixpro", "openmixup-mixers"),
        paper=MaskMix.card.paper,
        parameters={
            "alpha": MaskMix.card.parameters["alpha"],
            "cells": CELLS,
            "cell_share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often cells are mixed"
            ),
            "smoothing": TransMix.card.parameters["smoothing"],
            "differentiable": Options(
                (False, True), False, meaning="whether gradients flow through the trust"
            ),
            "scope": Options(
                ("batch", "sample"), "batch", meaning="what shares one mixer and share"
            ),
        },
        needs=TransMix.card.needs,
        targets=("classes",),
        agrees="with the authors' code on images, weights, trust, losses and gradients",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "no gradient flows through the trust, where the authors' code lets it by oversight; "
            "differentiable=true does",
            "labels weigh by pixels, where the authors' code counts cells: another number where "
            "cells are cropped",
        ),
        controls=("maskmix", "transmix"),
        example=TransMix.card.example.replace("TransMix", "MixPro"),
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        cells: int = 4,
        cell_share: float = 0.5,
        smoothing: float = 0.1,
        differentiable: bool = False,
        scope: Scope = "batch",
    ) -> None:
        self.card.check(
            alpha=alpha,
            cells=cells,
            cell_share=cell_share,
            smoothing=smoothing,
            differentiable=differentiable,
            scope=scope,
        )
        mixers = [
            MaskMix(alpha, cells=cells, scope=scope),
            Mixup(MIXUP_ALPHA, scope=scope),
            CutMix(CUTMIX_ALPHA, scope=scope),
        ]
        other = (1 - cell_share) / 2
        super().__init__(
            prepared=RandomChoice(mixers, [cell_share, other, other], scope=scope),
            objective=ProgressiveLabels(CosineTrust(smoothing, differentiable), smoothing),
        )
