"""Plain training on augmented, labelled batches: what most methods are, or start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Phase, Stream
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe, ask, listening
from vicinal.objectives.target_loss import TargetLoss
from vicinal.policies.schedule import at


class Supervised(Method):
    """Augment a batch, run the model, and take a step on the objective.

    Where an augmentation is a schedule, or has one in it, each step has what it is at that step.

    Args:
        raw: applied to the inputs as the task has them, after its baseline.
        prepared: applied to the inputs as the model sees them, standardised: mixers belong here.
        objective: the target's own loss by default.
        baseline: whether the task's baseline (crop, flip) is applied first.
        repeat: how often `prepared` augments every batch anew, >= 1: a step goes along the mean of
            so many losses, each of a pass of its own.

    Raises:
        ValueError: `repeat` is less than 1, or there is nothing to be repeated.
    """

    def __init__(
        self,
        raw: Augmentation | None = None,
        prepared: Augmentation | None = None,
        *,
        objective: Objective | None = None,
        baseline: bool = True,
        repeat: int = 1,
    ) -> None:
        if repeat < 1:
            raise ValueError(f"repeat must be at least 1, got {repeat}")
        if repeat > 1 and prepared is None:
            raise ValueError("only what is done to prepared inputs is repeated, and nothing is")
        self.raw = raw
        self.prepared = prepared
        self.objective = TargetLoss() if objective is None else objective
        self.baseline = baseline
        self.repeat = repeat

    @property
    def probes(self) -> tuple[Probe, ...]:
        """All that its parts ask of the model."""
        return self._probes_of(self.raw, self.prepared)

    def _probes_of(self, *parts: Augmentation | None) -> tuple[Probe, ...]:
        """What some parts and the objective ask, each question once."""
        asked = self.objective.probes
        for part in parts:
            asked += part.probes if part is not None else ()
        return tuple(dict.fromkeys(asked))

    def part(self, learner: Learner, name: Literal["raw", "prepared"]) -> Augmentation | None:
        """What is done to raw or to prepared inputs, fitted, and as it is in this step."""
        part: Augmentation | None = learner.fitted.get(name, getattr(self, name))
        return None if part is None else at(part, learner.step / learner.setting.steps)

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
        told: list[Mapping[str, Tensor]] = []
        for augmented, sampled in self.repeated(learner, batches["train"]):
            with learner.setting.launcher.autocast():
                with listening(self.probes, learner.networks) as heard:
                    output, batch, params = self.forward(learner, augmented, sampled)
                loss = self.objective(output, batch, params, heard)
            # Pass by pass, so that no more than one is held in memory.
            learner.backward(model=loss / self.repeat)
            told.append(self.report(loss, output, batch))
        learner.advance("model")
        return {name: torch.stack([one[name] for one in told]).mean() for name in told[0]}

    def repeated(self, learner: Learner, batch: Batch) -> Iterator[tuple[Batch, Params | None]]:
        """The batch as it goes into the model, `repeat` times, mixed anew each time."""
        if self.repeat == 1:
            yield self.augmented(learner, batch)
            return
        batch, params = self.asked(learner, batch)
        for place in range(self.repeat):
            yield self.finished(learner, batch, params, place)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        """The batch as it goes into the model, and the params of what was done to it last."""
        return self.finished(learner, *self.asked(learner, batch), 0)

    def asked(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        """What is `ready`, with what the model says of it as evidence."""
        batch, params = self.ready(learner, batch)
        probes = self._probes_of(self.part(learner, "raw"), self.part(learner, "prepared"))
        return ask(probes, learner.networks, batch), params

    def finished(
        self, learner: Learner, batch: Batch, params: Params | None, place: int
    ) -> tuple[Batch, Params | None]:
        """The batch after what is done to prepared inputs, and the params of that.

        Args:
            learner: knows what was fitted.
            batch: ready, with evidence.
            params: of what was done before; returned where nothing is done.
            place: 0 for the first time, and further for each repetition.
        """
        prepared = self.part(learner, "prepared")
        if prepared is None:
            return batch, params
        draws = learner.draws(batch).within("prepared")
        params = prepared.sample(batch, draws.within(f"repeat {place}") if place else draws)
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
        raw = self.part(learner, "raw")
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
