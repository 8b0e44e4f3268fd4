"""Recipes with other rows beside the labelled batch: unlabelled, held out, replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Phase, Setting, Stream
from vicinal.core.params import Params
from vicinal.core.target import SoftTarget, Target
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup, MixupParams


class ConfidentUnlabelled(Method):
    """FixMatch's step: confident guesses on weak views are the labels of strong ones.

    Args:
        share: of the training rows whose labels are hidden.
        threshold: confidence above which a guess counts.
    """

    def __init__(self, *, share: float = 0.5, threshold: float = 0.4) -> None:
        self.apart = {"unlabelled": share}
        self.threshold = threshold

    def phases(self) -> tuple[Phase, ...]:
        unlabelled = Stream("unlabelled", relative_size=2)
        return (Phase(streams={"labelled": Stream(), "unlabelled": unlabelled}),)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        labelled, unlabelled = batches["labelled"], batches["unlabelled"]
        assert labelled.target is not None
        assert unlabelled.target is None
        views = [labelled.x, unlabelled.x, self.strong(learner, unlabelled)]
        sizes = [len(view) for view in views]
        outputs = learner.model(learner.setting.prepare(torch.cat(views)))
        output, weak, strong = outputs.split(sizes)
        confidence, guess = weak.detach().softmax(dim=1).max(dim=1)
        counted = (confidence > self.threshold).float()
        consistency = (counted * F.cross_entropy(strong, guess, reduction="none")).mean()
        supervised = labelled.target.loss(output)
        learner.update(supervised + consistency)
        return {"loss": supervised, "counted": counted.mean()}

    def strong(self, learner: Learner, batch: Batch) -> Tensor:
        """Every image with one of its rows of pixels blank."""
        row = learner.draws(batch).within("strong").below("row", 8)
        return batch.tensor.masked_fill(F.one_hot(row, 8).bool()[:, None, :, None], 0)


class LookAhead(Supervised):
    """A policy weighs two operations so that a step on its mixture lowers the held-out loss."""

    apart = {"held_out": 0.2}  # noqa: RUF012

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(streams={"train": Stream(), "held_out": Stream("held_out")}),)

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        with setting.seeded("policy"):
            policy = nn.Linear(64, 2)
        adam = torch.optim.Adam(policy.parameters(), lr=1e-2)
        learner.networks["policy"] = policy
        learner.optimisers["policy"] = setting.launcher.setup_optimizers(adam)
        return learner

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        outer = self.look_ahead(learner, batches["train"], batches["held_out"])
        learner.update(policy=outer)
        return {**super().step(learner, batches), "held-out loss": outer}

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, None]:
        """Mirrored as often as the policy finds it worth for each sample."""
        x = learner.setting.prepare(batch.tensor)
        with torch.no_grad():
            share = self.shares(learner, x)[:, 1]
        mirrored = learner.draws(batch).within("policy").uniform("operation") < share
        return batch.replace(x=torch.where(mirrored[:, None, None, None], x.flip(-1), x)), None

    @staticmethod
    def shares(learner: Learner, x: Tensor) -> Tensor:
        """The policy's weights of leaving a sample alone and of mirroring it. Returns (B, 2)."""
        shares: Tensor = learner.networks["policy"](x.flatten(1)).softmax(dim=1)
        return shares

    def look_ahead(self, learner: Learner, batch: Batch, held: Batch) -> Tensor:
        """The held-out loss after a plain step on the policy's mixture; the model stays."""
        model, prepare = learner.model, learner.setting.prepare
        assert batch.target is not None
        assert held.target is not None
        x = prepare(batch.tensor)
        share = self.shares(learner, x)[:, :, None, None, None]  # (B, 2, 1, 1, 1)
        mixture = share[:, 0] * x + share[:, 1] * x.flip(-1)
        parameters = dict(model.named_parameters())
        # Batch normalisation writes its statistics: into copies here.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        inner = batch.target.loss(functional_call(model, parameters | buffers, mixture))
        slopes = torch.autograd.grad(inner, tuple(parameters.values()), create_graph=True)
        rate = learner.optimisers["model"].param_groups[0]["lr"]
        stepped = {
            name: weight - rate * slope
            for (name, weight), slope in zip(parameters.items(), slopes, strict=True)
        }
        output = functional_call(model, stepped | buffers, prepare(held.tensor))
        return held.target.loss(output)


@dataclass(frozen=True)
class StoredMixup(Params):
    """R stored draws for each sample.

    partner: (B, R) int64, rows of the dataset. kept: (B, R) float32.
    """

    partner: Tensor
    kept: Tensor


class Replayed(Supervised):
    """Train on mixtures whose params, and a teacher's outputs for them, came with the dataset."""

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(streams={"train": Stream(pooled=True)}),)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        mixed = self.replay(learner, batches["train"])
        assert mixed.target is not None
        output = learner.model(mixed.x)
        loss = mixed.target.loss(output)
        learner.update(loss)
        return self.report(loss, output, mixed)

    def replay(self, learner: Learner, batch: Batch) -> Batch:
        """One of the stored mixtures of each sample, with the teacher's judgement of it."""
        stored, teacher = batch.extras["mixing"], batch.extras["teacher"]
        record = learner.draws(batch).within("replay").below("record", teacher.shape[1])
        every = torch.arange(len(batch))
        params = MixupParams(stored.partner[every, record], stored.kept[every, record])
        # Partners lie anywhere in the training rows; they are taken raw, as the batch is.
        partners = batch.take(params.partner)
        prepare = learner.setting.prepare
        ready = batch.replace(
            x=prepare(batch.tensor), target=None, pool=partners.replace(x=prepare(partners.tensor))
        )
        target: Target = SoftTarget(teacher[every, record])
        return Mixup().apply(ready, params).replace(target=target)
