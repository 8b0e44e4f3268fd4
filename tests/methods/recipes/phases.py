"""Recipes of several phases, or that end with a computation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Phase, Setting
from vicinal.methods.supervised import Supervised


class ContrastThenProbe(Supervised):
    """Contrastive pre-training, then a linear probe on the frozen features."""

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("contrast", share=0.5), Phase("probe", share=0.5))

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        with setting.seeded("projection"):
            learner.networks["projection"] = nn.Linear(128, 8)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        model = learner.model
        if phase.name == "contrast":
            trained = [model.features, learner.networks["projection"]]
        else:
            model.features.requires_grad_(False).eval()
            trained = [model.head]
        parameters = [parameter for part in trained for parameter in part.parameters()]
        optimiser = learner.setting.make_optimiser(parameters)
        learner.optimisers["model"] = optimiser
        learner.schedules["model"] = learner.setting.make_schedule(optimiser, steps)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        if learner.phase == "probe":
            return super().step(learner, batches)
        batch = batches["train"]
        draws = learner.draws(batch).within("views")
        views = [self.shifted(batch, draws.below(f"shift {at}", 2)) for at in range(2)]
        features = learner.model.features(learner.setting.prepare(torch.cat(views)))
        z = F.normalize(learner.networks["projection"](features), dim=1)
        similarity = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
        other = torch.arange(len(z)).roll(len(batch))
        loss = F.cross_entropy(similarity, other)
        learner.update(loss)
        return {"contrast": loss}

    @staticmethod
    def shifted(batch: Batch, by: Tensor) -> Tensor:
        """Every image moved down by 0 or 1 pixel. by: (B,) int64."""
        moved = batch.tensor.roll(1, dims=2)
        return torch.where(by.bool()[:, None, None, None], moved, batch.tensor)


class ClosedForm(Supervised):
    """Features as they are drawn, and a head that is the solution of a ridge regression.

    No optimiser moves: sums are gathered for a pass, and solved in a last phase of no step.
    """

    ridge = 1.0

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("gather", share=1.0), Phase("solve", share=0.0))

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        learner.memory["gram"] = torch.zeros(128, 128)
        learner.memory["moment"] = torch.zeros(128, setting.outputs)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        learner.model.eval()
        if phase.name == "solve":
            gram, moment = learner.memory["gram"], learner.memory["moment"]
            solved = torch.linalg.solve(gram + self.ridge * torch.eye(128), moment)
            with torch.no_grad():
                learner.model.head.weight.copy_(solved.T)
                learner.model.head.bias.zero_()

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch = batches["train"]
        assert batch.target is not None
        with torch.no_grad():
            features = learner.model.features(learner.setting.prepare(batch.tensor))
        learner.memory["gram"] += features.T @ features
        learner.memory["moment"] += features.T @ batch.target.dense(learner.setting.outputs)
        return {"features": features.norm(dim=1).mean()}
