"""Recipes that mix samples: at the input, at a layer, where the model looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.draws import Draws
from vicinal.core.method import Learner
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Features, Probe, Saliency
from vicinal.core.target import ClassTarget
from vicinal.latent.at_layer import AtLayer
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix, PasteParams


class RandomLayer(Supervised):
    """Mixup at a layer drawn for every step."""

    layers = ("", "features.0", "features.3")

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        layer = self.layers[int(learner.step_draws().below("layer", len(self.layers)))]
        return AtLayer(Mixup(), layer).forward(
            learner.model, batch, learner.draws(batch).within("mixup")
        )


@dataclass(frozen=True)
class SalientParams(Params):
    """partner: (B,) int64, a row of the dataset. centre: (B, 2) int64, its most salient pixel."""

    partner: Tensor
    centre: Tensor


class PasteSalient(Mixer):
    """Paste the 5 x 5 pixels around the place that the partner's label depends on most."""

    probes = (Saliency(),)

    def sample(self, batch: Batch, draws: Draws) -> SalientParams:
        saliency = batch.evidence[self.probes[0]]  # (B, H, W)
        at = draws.permutation("partner")
        place = saliency[at].flatten(1).argmax(dim=1)
        width = saliency.shape[-1]
        centre = torch.stack([place // width, place % width], dim=1)
        return SalientParams(batch.index[at], centre)

    def apply(self, batch: Batch, params: SalientParams) -> Batch:
        partner = batch.take(params.partner)
        sizes = tuple(batch.tensor.shape[2:])
        start, stop = params.centre - 2, params.centre + 3
        inside = box_mask(start, stop, sizes)
        kept = 1 - inside.float().mean(dim=(1, 2))
        assert batch.target is not None
        assert partner.target is not None
        return batch.replace(
            x=torch.where(inside[:, None], partner.x, batch.x),
            target=batch.target.mix(partner.target, kept),
        )


class AttentionLabels(Objective):
    """The pasted label weighs as much as the attention that falls on the pasted patches."""

    probes = (Features(when="during", layer="attention"),)

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        assert isinstance(params, PasteParams)
        assert isinstance(batch.target, ClassTarget)
        attention = heard[self.probes[0]].detach()[:, 0, 1:]  # (B, 16), of the class token
        pasted = box_mask(params.start, params.stop, (8, 8))[:, ::2, ::2].flatten(1)
        given = (attention * pasted).sum(dim=1) / attention.sum(dim=1)
        weights = torch.stack([1 - given, given], dim=1)
        return ClassTarget(batch.target.labels, weights).loss(output)


class Attentive(Supervised):
    """CutMix whose labels are decided after the forward pass, by its attention."""

    def __init__(self) -> None:
        super().__init__(prepared=CutMix(), objective=AttentionLabels())


class Ranking(Supervised):
    """Cross-entropy on clean samples; mixed ones are to be predicted with less confidence."""

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        clean, _ = self.augmented(learner, batches["train"])
        mixed, _ = Mixup().augment(clean, learner.draws(clean).within("mixup"))
        assert clean.target is not None
        sure = learner.model(clean.x)
        unsure = learner.model(mixed.x)
        gap = unsure.amax(dim=1) - sure.amax(dim=1)
        ranking = (gap + 1).relu().mean()
        learner.update(clean.target.loss(sure) + 0.1 * ranking)
        return self.report(clean.target.loss(sure), sure, clean) | {"ranking": ranking}
