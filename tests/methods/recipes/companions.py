"""Recipes with networks beside the model: teachers, and an adversary."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Phase, Setting
from vicinal.core.target import SoftTarget
from vicinal.methods.supervised import Supervised


class Distilled(Supervised):
    """Learn a frozen teacher's probabilities, and no label.

    Args:
        teacher: copied, so that it stays as it is.
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        learner.networks["teacher"] = copy.deepcopy(self.teacher).requires_grad_(False)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        learner.networks["teacher"].eval()

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, _ = self.augmented(learner, batches["train"])
        taught = SoftTarget(learner.networks["teacher"](batch.x).softmax(dim=1))
        output = learner.model(batch.x)
        loss = taught.loss(output)
        learner.update(loss)
        return self.report(loss, output, batch)


class MeanTeacher(Supervised):
    """A teacher that is the average of the model over time: consistent with it, and judged."""

    decay = 0.9

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        learner.networks["teacher"] = AveragedModel(
            learner.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay), use_buffers=True
        )
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        learner.networks["teacher"].eval()

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, _ = self.augmented(learner, batches["train"])
        assert batch.target is not None
        teacher = learner.networks["teacher"]
        assert isinstance(teacher, AveragedModel)
        output = learner.model(batch.x)
        loss = batch.target.loss(output)
        agreement = (output - teacher(batch.x)).square().mean()
        learner.update(loss + agreement)
        teacher.update_parameters(learner.model)
        return self.report(loss, output, batch) | {"agreement": agreement}

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        output: Tensor = learner.networks["teacher"](learner.setting.prepare(batch.tensor))
        return output


class Adversary(Supervised):
    """A network draws masks that make mixtures hard for the model, which trains on them.

    Args:
        model_weight, mask_weight: of the two losses, for tests of who moves by which.
    """

    def __init__(self, *, model_weight: float = 1.0, mask_weight: float = 1.0) -> None:
        super().__init__()
        self.model_weight = model_weight
        self.mask_weight = mask_weight

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        with setting.seeded("masks"):
            masks = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1), nn.Sigmoid())
        adam = torch.optim.Adam(masks.parameters(), lr=1e-2)
        learner.networks["masks"] = masks
        learner.optimisers["masks"] = setting.launcher.setup_optimizers(adam)
        return learner

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, _ = self.augmented(learner, batches["train"])
        at = learner.draws(batch).within("adversary").permutation("partner")
        mask = learner.networks["masks"](torch.cat([batch.x, batch.x[at]], dim=1))
        assert batch.target is not None
        mixed = mask * batch.x + (1 - mask) * batch.x[at]
        kept = mask.detach().mean(dim=(1, 2, 3))
        loss = batch.target.mix(batch.target[at], kept).loss(learner.model(mixed))
        balance = (mask.mean() - 0.5).square()
        learner.update(self.model_weight * loss, masks=self.mask_weight * (balance - loss))
        return {"loss": loss, "balance": balance}
