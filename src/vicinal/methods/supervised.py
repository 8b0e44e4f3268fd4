"""Plain training on augmented, labelled batches: what most methods are, or start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Phase, Stream
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe, ask, listening
from vicinal.objectives.target_loss import TargetLoss


class Supervised(Method):
    """Augment a batch, run the model, and take a step on the objective.

    Args:
        raw: applied to the inputs as the task has them, after its baseline.
        prepared: applied to the inputs as the model sees them, standardised: mixers belong here.
        objective: the target's own loss by default.
        baseline: whether the task's baseline (crop, flip) is applied first.
    """

    def __init__(
        self,
        raw: Augmentation | None = None,
        prepared: Augmentation | None = None,
        *,
        objective: Objective | None = None,
        baseline: bool = True,
    ) -> None:
        self.raw = raw
        self.prepared = prepared
        self.objective = TargetLoss() if objective is None else objective
        self.baseline = baseline

    @property
    def probes(self) -> tuple[Probe, ...]:
        """All that its parts ask of the model."""
        asked = self.objective.probes
        for part in (self.raw, self.prepared):
            asked += part.probes if part is not None else ()
        return tuple(dict.fromkeys(asked))

    def phases(self) -> tuple[Phase, ...]:
        pooled = self.prepared is not None and self.prepared.pooled
        return (Phase(streams={"train": Stream(pooled=pooled)}),)

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        # Not in `start`: a subclass adds its teachers there after it called this one.
        for probe in self.probes:
            probe.require(learner.networks[probe.network])
        for name, part in (("raw", self.raw), ("prepared", self.prepared)):
            if part is not None and part.unfitted:
                learner.fitted[name] = part.fit(learner.setting.part("train"))

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, params = self.augmented(learner, batches["train"])
        with learner.setting.launcher.autocast():
            with listening(self.probes, learner.networks) as heard:
                output, batch, params = self.forward(learner, batch, params)
            loss = self.objective(output, batch, params, heard)
        learner.update(loss)
        return self.report(loss, output, batch)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        """The batch as it goes into the model, and the params of what was done to it last."""
        batch, params = self.ready(learner, batch)
        batch = ask(self.probes, learner.networks, batch)
        prepared = learner.fitted.get("prepared", self.prepared)
        if prepared is None:
            return batch, params
        params = prepared.sample(batch, learner.draws(batch).within("prepared"))
        if isinstance(prepared, Mixer) and batch.pool is not None:
            partners = batch.take(prepared.partners(params)).replace(epoch=batch.epoch)
            batch = batch.replace(pool=self.ready(learner, partners)[0])
        return prepared.apply(batch, params), params

    def ready(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        """The batch as the model sees it, before anything is mixed, and the params of that.

        A sample and its partners from elsewhere alike: their numbers are their own.
        """
        batch = self.based(learner, batch)
        params: Params | None = None
        raw = learner.fitted.get("raw", self.raw)
        if raw is not None:
            batch, params = raw.augment(batch, learner.draws(batch).within("raw"))
        return batch.replace(x=learner.setting.prepare(batch.x)), params

    def based(self, learner: Learner, batch: Batch) -> Batch:
        """The batch after the task's baseline."""
        if not self.baseline or learner.setting.baseline is None:
            return batch
        return learner.setting.baseline.augment(batch, learner.draws(batch).within("baseline"))[0]

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        """The model's output for an augmented batch, and the batch and params that belong to it."""
        return learner.model(batch.x), batch, params

    def report(self, loss: Tensor, output: Tensor, batch: Batch) -> dict[str, Any]:
        """What is averaged over the epoch."""
        facts = {"loss": loss.detach()}
        if batch.target is not None:
            facts["score"] = batch.target.score(output.detach()).mean()
        return facts
