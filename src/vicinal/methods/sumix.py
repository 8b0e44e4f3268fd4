"""SUMix: mixed labels by what the model sees of each class, with an uncertainty that is learnt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.methods.named_mixer import MIXERS, named_mixer
from vicinal.methods.supervised import Supervised
from vicinal.objectives.uncertainty_labels import CLEAN, CLEAN_PARTNER, UncertaintyLabels

#: Where a batch's samples are, as they were before they were mixed, in its extras.
UNMIXED = "unmixed"


class SUMix(Supervised):
    """Mix samples, and weigh their labels by how the prediction differs from those of each.

    The last layer of the model is twice as wide: one half are the logits, the other the scores of
    uncertainty. Samples and mixtures are two passes, so that batch normalisation sees them apart.

    Source: Qin et al., SUMix: Mixup with Semantic and Uncertain Information, ECCV 2024, and
    `ClsUncertainMixupHead` in OpenMixup. See `UncertaintyLabels`, the objective.

    Args:
        mixer: what mixes, by its name in the catalogue.
        alpha: both shapes of the Beta distribution of the mixer's share, > 0, where it has one; the
            mixer's own default if none is given.
        uncertainty: weight of the loss that teaches uncertainty, >= 0.
        sharpness: how fast a label loses weight with its distance, >= 0; 0 keeps the mixer's. The
            authors' code has the size of the batch.

    Raises:
        ValueError: a value is unknown or out of range.
    """

    card = Card(
        name="sumix",
        kind="method",
        family="objectives",
        modality=("image",),
        summary="Mixes samples, and weighs labels by how the prediction differs from each's.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "SUMix: Mixup with Semantic and Uncertain Information",
            authors="Qin, Jin, Zhu, Liao, El-Yacoubi, Gao",
            venue="ECCV",
            year=2024,
            arxiv="2407.07805",
        ),
        parameters={
            "mixer": Options(MIXERS, "cutmix", meaning="what mixes"),
            "alpha": Range(
                0.1,
                4.0,
                default=None,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the mixer's share; its own "
                "default if none is given",
            ),
            "uncertainty": Range(
                0.0,
                1.0,
                default=0.1,
                valid="[0, inf)",
                meaning="weight of the loss that teaches uncertainty",
            ),
            "sharpness": Range(
                0.0,
                100.0,
                default=1.0,
                valid="[0, inf)",
                meaning="how fast a label loses weight with its distance; the authors' code has "
                "the size of the batch",
            ),
        },
        cost="one more forward and backward pass",
        targets=("classes",),
        agrees="with OpenMixup's code, to 1e-5, on losses and gradients, at its sharpness",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "distances are not multiplied by the size of the batch, unless `sharpness` is that",
            "every sample has its own weights, where in OpenMixup only their means count",
            "the uncertainty is the other half of the model's last layer",
        ),
        controls=("sumix:uncertainty=0:sharpness=0",),
        example=(
            "import vicinal\n"
            "from vicinal.objectives.uncertainty_labels import UncertaintyLabels\n"
            "\n"
            "objective = UncertaintyLabels({uncertainty}, sharpness={sharpness})\n"
            "mixer = vicinal.SUMix({mixer}, alpha={alpha}).prepared\n"
            "wide = make_model(10)  # twice the number of classes\n"
            "\n"
            "# in the training loop, on the batch as the model sees it\n"
            "batch = vicinal.Batch.of(x, y)\n"
            "draws = vicinal.Draws.from_generator(None, batch.index)\n"
            "mixed, params = mixer.augment(batch, draws)\n"
            "clean = wide(batch.x)\n"
            "partner = clean[batch.partners(params.partner)[1]]\n"
            'mixed = mixed.replace(extras={"clean": clean, "clean partner": partner})\n'
            "loss = objective(wide(mixed.x), mixed, params, {})"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        mixer: str = "cutmix",
        *,
        alpha: float | None = None,
        uncertainty: float = 0.1,
        sharpness: float = 1.0,
    ) -> None:
        self.card.check(mixer=mixer, alpha=alpha, uncertainty=uncertainty, sharpness=sharpness)
        super().__init__(
            prepared=named_mixer(mixer, alpha),
            objective=UncertaintyLabels(uncertainty, sharpness=sharpness),
        )

    def start(self, setting: Setting) -> Learner:
        learner = super().start(replace(setting, outputs=2 * setting.outputs))
        learner.setting = setting
        return learner

    def finished(
        self, learner: Learner, batch: Batch, params: Params | None, place: int
    ) -> tuple[Batch, Params | None]:
        mixed, params = super().finished(learner, batch, params, place)
        return mixed.replace(extras={**mixed.extras, UNMIXED: batch.tensor}), params

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        clean = learner.model(batch.extras[UNMIXED])
        assert isinstance(self.prepared, Mixer)
        _, at = batch.partners(self.prepared.partners(params))
        partner = clean.index_select(0, at)
        batch = batch.replace(extras={**batch.extras, CLEAN: clean, CLEAN_PARTNER: partner})
        return super().forward(learner, batch, params)

    def report(self, loss: Tensor, output: Tensor, batch: Batch) -> dict[str, Any]:
        return super().report(loss, logits_of(output), batch)

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        return logits_of(super().predict(learner, batch))


def logits_of(output: Tensor) -> Tensor:
    """What a model that tells its uncertainty too says of the classes. output: (B, 2 C)."""
    return output[:, : output.shape[1] // 2]
