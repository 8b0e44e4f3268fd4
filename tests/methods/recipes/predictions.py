"""Recipes with a rule of their own for prediction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Setting
from vicinal.core.target import ClassTarget
from vicinal.methods.supervised import Supervised


class Averaged(Supervised):
    """Plain training; the prediction is the mean probability of an image and its mirror image."""

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        x = learner.setting.prepare(batch.tensor)
        views = torch.stack([learner.model(x), learner.model(x.flip(-1))])
        return views.softmax(dim=2).mean(dim=0).log()


class JointLabels(Supervised):
    """Self-supervised label augmentation: one class for each label and quarter turn.

    Lee, Hwang and Shin, ICML 2020: the head is four times as wide, and the four turned copies of a
    sample vote, each with the logits of its own turn.
    """

    turns = 4

    def start(self, setting: Setting) -> Learner:
        model = setting.make_model(setting.outputs * self.turns)
        optimiser = setting.make_optimiser(model.parameters())
        schedule = setting.make_schedule(optimiser, setting.steps)
        return Learner(setting, {"model": model}, {"model": optimiser}, {"model": schedule})

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch = batches["train"]
        assert isinstance(batch.target, ClassTarget)
        turn = torch.arange(self.turns).repeat(len(batch))
        joint = batch.target.labels[:, 0].repeat_interleave(self.turns) * self.turns + turn
        loss = ClassTarget(joint[:, None]).loss(self.outputs(learner, batch).flatten(0, 1))
        learner.update(loss)
        return {"loss": loss}

    def outputs(self, learner: Learner, batch: Batch) -> Tensor:
        """The joint logits of all turned copies. Returns (B, 4, C * 4)."""
        x = learner.setting.prepare(batch.tensor)
        turned = torch.stack([x.rot90(turn, (2, 3)) for turn in range(self.turns)], dim=1)
        output: Tensor = learner.model(turned.flatten(0, 1)).unflatten(0, (len(x), self.turns))
        return output

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        joint = self.outputs(learner, batch).unflatten(2, (-1, self.turns))  # (B, 4, C, 4)
        return joint.diagonal(dim1=1, dim2=3).mean(dim=2)
