"""Plain training on augmented, labelled batches: what most methods are, or start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Phase
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

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        # Not in `start`: a subclass adds its teachers there after it called this one.
        for probe in self.probes:
            probe.require(learner.networks[probe.network])

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
        draws = learner.draws(batch)
        batch = self.based(learner, batch)
        params: Params | None = None
        if self.raw is not None:
            batch, params = self.raw.augment(batch, draws.within("raw"))
        batch = batch.replace(x=learner.setting.prepare(batch.tensor))
        batch = ask(self.probes, learner.networks, batch)
        if self.prepared is not None:
            batch, params = self.prepared.augment(batch, draws.within("prepared"))
        return batch, params

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
