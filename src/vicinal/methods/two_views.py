"""Learning from unlabelled rows by two views of each: what UDA and FixMatch have in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Range
from vicinal.core.method import Learner, Phase, Setting, Stream
from vicinal.methods.supervised import Supervised
from vicinal.models.averaging import EMATwin, warming_momentum
from vicinal.objectives.masked_consistency import MaskedConsistency
from vicinal.policies.randaugment import RandAugment

#: The network that predicts.
AVERAGE = "average"
#: The parameter of a card.
RATIO = Range(1.0, 10.0, default=7.0, valid="(0, inf)", meaning="unlabelled rows to labelled ones")


class TwoViews(Supervised):
    """The prediction for an unlabelled row is what its prediction should be once it is disturbed.

    A step sees labelled rows, weak views of unlabelled ones (the task's baseline alone) and strong
    views of the same; all go through the model as one batch. The weak views are guesses without
    gradient, which `consistency` compares with the predictions for the strong views. Predictions
    come from a twin of the model that averages its weights, its statistics of normalisation among
    them.

    Args:
        consistency: compares the two views.
        strong: makes strong views of raw rows; the baseline follows. By default it is RandAugment
            as UDA has it, for images; where it must learn from data, these are the unlabelled rows.
        ratio: unlabelled rows to labelled ones in a step, > 0.
        weight: of the consistency, >= 0.
        decay: highest momentum of the average, in [0, 1].
    """

    apart = {"unlabelled": 0.0}  # noqa: RUF012
    moved = frozenset({"model", AVERAGE})

    def __init__(
        self,
        consistency: MaskedConsistency,
        *,
        strong: Augmentation | None,
        ratio: float,
        weight: float,
        decay: float,
    ) -> None:
        super().__init__()
        self.consistency = consistency
        self.strong = RandAugment(flavor="uda") if strong is None else strong
        self.ratio = ratio
        self.weight = weight
        self.decay = decay

    def phases(self) -> tuple[Phase, ...]:
        unlabelled = Stream("unlabelled", relative_size=self.ratio)
        return (Phase(streams={"train": Stream(), "unlabelled": unlabelled}),)

    def start(self, setting: Setting) -> Learner:
        card = getattr(self.strong, "card", None)
        if card is not None and not card.suits(setting.modality):
            kinds = " and ".join(card.modality)
            raise ValueError(
                f"{type(self.strong).__name__} makes strong views of {kinds} data, and these are "
                f"{setting.modality}: pass another augmentation as strong"
            )
        learner = super().start(setting)
        learner.networks[AVERAGE] = EMATwin(learner.model)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        if self.strong.unfitted:
            learner.fitted["strong"] = self.strong.fit(learner.setting.part("unlabelled"))

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        labelled, _ = self.ready(learner, batches["train"])
        weak, _ = self.ready(learner, batches["unlabelled"])
        strong, _ = self.augmented(learner, batches["unlabelled"])
        views = [labelled.tensor, weak.tensor, strong.tensor]
        with learner.setting.launcher.autocast():
            outputs = learner.model(torch.cat(views)).split([len(view) for view in views])
            loss, facts = self.labelled_loss(learner, outputs[0], labelled)
            agreement, kept = self.consistency(outputs[1], outputs[2])
            loss = loss + self.weight * agreement + self.unlabelled_loss(outputs[1])
        learner.update(loss)
        average = learner.networks[AVERAGE]
        assert isinstance(average, EMATwin)
        average.update(learner.model, warming_momentum(learner.step, highest=self.decay))
        facts |= {"consistency": agreement.detach(), "kept": kept}
        return self.report(loss, outputs[0], labelled) | facts

    def labelled_loss(
        self, learner: Learner, output: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the labelled rows, and what else there is to report of it."""
        if batch.target is None:
            raise ValueError("the rows of the part train need labels")
        return batch.target.loss(output), {}

    def unlabelled_loss(self, output: Tensor) -> Tensor:
        """What is asked of the guesses themselves. output: (B, C) logits of weak views."""
        return output.new_zeros(())

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, None]:
        """Strong views, as the model sees them."""
        own = learner.draws(batch).within("strong")
        batch, _ = learner.fitted.get("strong", self.strong).augment(batch, own)
        baseline = learner.setting.baseline
        if baseline is not None:
            batch, _ = baseline.augment(batch, own.within("baseline"))
        return batch.replace(x=learner.setting.prepare(batch.tensor)), None

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        output: Tensor = learner.networks[AVERAGE](learner.setting.prepare(batch.tensor))
        return output
