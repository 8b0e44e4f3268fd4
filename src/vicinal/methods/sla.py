"""Self-supervised label augmentation: a class for every pair of label and transformation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Range
from vicinal.core.method import Learner, Setting
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget
from vicinal.evaluate.aggregate import aggregate
from vicinal.methods.supervised import Supervised
from vicinal.objectives.distillation import self_distillation
from vicinal.transforms.orbit import Orbit, OrbitParams, Transformations

Head = Literal["joint", "sd", "mt"]
Inference = Literal["usual", "aggregated", "single"]


class SLA(Supervised):
    """Train on all versions of every image, and tell class and transformation as one label.

    No prediction is asked to be the same for all versions; at prediction they vote, each with the
    logits of its own transformation. Held against two baselines on the same rows: `head="mt"`, two
    heads for the two labels, and the arm `orbit`, which gives all versions the label of the image.

    Source: Lee et al., Self-supervised Label Augmentation via Input Transformations, ICML 2020,
    equations 3 to 6, and the authors' trainers.py.

    Args:
        head: `joint`, a class for each pair; `sd`, a second head beside it for the classes alone,
            which learns the vote of the joint one; `mt`, a head for the classes and a head for the
            transformations.
        transformations: see `Orbit`.
        inference: whether all versions vote (`aggregated`) or the image is judged as it is
            (`single`), with `sd` by its second head; `usual` is aggregated for `joint` alone.
        temperature: of the distillation, > 0.
        beta: weight of the second head's own cross-entropy, >= 0; the paper has 0 and 1, the
            authors' code 1.
        summed: whether the loss of an image's versions is their sum, as the authors have it for
            large data sets, and not their mean.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="sla",
        kind="method",
        family="orbit",
        modality=("image",),
        summary="Learns every pair of class and quarter turn as a class, and lets all turns vote.",
        systems=Orbit.card.systems,
        paper=Orbit.card.paper,
        parameters={
            "head": Options(("joint", "sd", "mt"), "joint", meaning="what is told apart"),
            **Orbit.card.parameters,
            "inference": Options(
                ("usual", "aggregated", "single"), "usual", meaning="who votes at prediction"
            ),
            "temperature": Range(
                0.5, 8.0, default=1.0, scale="log", valid="(0, inf)", meaning="of the distillation"
            ),
            "beta": Range(
                0.0,
                1.0,
                default=1.0,
                valid="[0, inf)",
                meaning="weight of the second head's own cross-entropy",
            ),
            "summed": Options(
                (False, True), False, meaning="sum the loss of all versions, for large data sets"
            ),
        },
        needs=Orbit.card.needs,
        targets=("classes",),
        differs=(
            "two heads are one linear layer as wide as both, so that any model has them: the last "
            "layer of the model must be linear",
        ),
        controls=("orbit",),
        example=(
            "import vicinal\n"
            "\n"
            "orbit = vicinal.Orbit({transformations})\n"
            "classes = int(y.max()) + 1\n"
            "model = make_model(classes * len(orbit))  # yours, with so many outputs\n"
            "\n"
            "# in the training loop\n"
            "batch = vicinal.Batch.of(x, y)\n"
            "versions, params = orbit.augment(batch, vicinal.Draws(0, batch.index))\n"
            "joint = versions.target.expand(params.member, len(orbit))\n"
            "loss = joint.loss(model(versions.x))"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        head: Head = "joint",
        *,
        transformations: Transformations = "rotation",
        inference: Inference = "usual",
        temperature: float = 1.0,
        beta: float = 1.0,
        summed: bool = False,
    ) -> None:
        self.card.check(
            head=head,
            transformations=transformations,
            inference=inference,
            temperature=temperature,
            beta=beta,
            summed=summed,
        )
        self.orbit = Orbit(transformations)
        loss = OrbitLoss(head, len(self.orbit), temperature=temperature, beta=beta, summed=summed)
        super().__init__(prepared=self.orbit, objective=loss)
        self.head = head
        usual = "aggregated" if head == "joint" else "single"
        self.inference = usual if inference == "usual" else inference

    def start(self, setting: Setting) -> Learner:
        count, members = setting.outputs, len(self.orbit)
        width = {"joint": count * members, "sd": count * (members + 1), "mt": count + members}
        learner = super().start(dataclasses.replace(setting, outputs=width[self.head]))
        return dataclasses.replace(learner, setting=setting)

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        x = learner.setting.prepare(batch.tensor)
        shown = range(len(self.orbit)) if self.inference == "aggregated" else (0,)
        outputs = [learner.model(self.orbit.version(x, member)) for member in shown]
        return self.vote(torch.stack(outputs, dim=1))

    def vote(self, outputs: Tensor) -> Tensor:
        """The logits of the classes.

        Args:
            outputs: (B, M, W) of all versions of each sample, or (B, 1, W) of the first.

        Returns:
            (B, C).
        """
        first, second = heads(outputs, self.head, len(self.orbit))
        if self.head == "sd" and self.inference == "single":
            return second[:, 0]
        return aggregate(first if self.head == "mt" else matched(first, len(self.orbit)))

    def report(self, loss: Tensor, output: Tensor, batch: Batch) -> dict[str, Any]:
        members = len(self.orbit)
        outputs = output.detach().view(-1, members, output.shape[1])
        if self.inference == "single":
            outputs = outputs[:, :1]
        # A row for each sample: what is told of it is the same for all its versions.
        return super().report(loss, self.vote(outputs), batch[::members])


class OrbitLoss(Objective):
    """The loss of all versions of a batch of samples, in the order of an orbit.

    Args:
        head: see `SLA`.
        members: M, versions of each sample.
        temperature: of the distillation.
        beta: weight of the second head's own cross-entropy.
        summed: whether the joint loss of a sample is a sum over its versions.
    """

    def __init__(
        self, head: Head, members: int, *, temperature: float, beta: float, summed: bool
    ) -> None:
        self.head = head
        self.members = members
        self.temperature = temperature
        self.beta = beta
        self.summed = summed

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        target = batch.target
        if not isinstance(target, ClassTarget) or not isinstance(params, OrbitParams):
            raise ValueError("label augmentation needs class labels and the params of an orbit")
        first, second = heads(output, self.head, self.members)
        if self.head == "mt":
            return target.loss(first) + functional.cross_entropy(second, params.member)
        loss = target.expand(params.member, self.members).loss(first)
        if self.summed:
            loss = self.members * loss
        if self.head == "joint":
            return loss
        student = second[:: self.members]
        versions = first.reshape(-1, self.members, first.shape[1])
        votes = aggregate(matched(versions, self.members))
        distilled = self_distillation(student, votes, temperature=self.temperature).mean()
        return loss + distilled + self.beta * target[:: self.members].loss(student)


def heads(output: Tensor, head: Head, members: int) -> tuple[Tensor, Tensor]:
    """The outputs of a model by head.

    Args:
        output: (..., W).
        head: see `SLA`.
        members: M, transformations.

    Returns:
        (..., C * M) joint logits and the rest, (..., C) or nothing; for `mt` (..., C) and (..., M).
    """
    width = output.shape[-1]
    own = {"joint": 0, "sd": width // (members + 1), "mt": members}[head]
    return output[..., : width - own], output[..., width - own :]


def matched(joint: Tensor, members: int) -> Tensor:
    """Of each version's joint logits, those of the transformation it went through.

    Args:
        joint: (B, V, C * M) of the first V versions of each sample.
        members: M.

    Returns:
        (B, V, C).
    """
    pairs = joint.reshape(*joint.shape[:2], -1, members)  # (B, V, C, M)
    return pairs.diagonal(dim1=1, dim2=3).mT
