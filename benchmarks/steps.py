"""The cost of a training step by method, beside a step of plain training.

    python benchmarks/steps.py [--quick] [--threads N] [--patience SECONDS]

Every row is a whole step of an arm as `compare` trains it, crop, flip and the optimiser's step
included: a small network on 64 images of 32 x 32, and a vision transformer of timm on 8 of
224 x 224. The limits are passes of the model alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from report import finish, options, table
from timing import Row, side_by_side
from torch import Tensor

from vicinal.compare.memory import keep_freed_memory
from vicinal.compare.plan import Recipe
from vicinal.compare.trial import Arena
from vicinal.core.method import Learner, Method
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import parse_arm

CLASSES = 10
ARMS = (
    "none",
    "mixup",
    "manifold_mixup",
    "cutmix",
    "saliencymix",
    "snapmix",
    "attentivemix",
    "puzzlemix",
    "co_mixup",
    "automix",
    "adautomix",
)
#: Of a vision transformer with a class token.
ATTENTIVE = ("none", "cutmix", "transmix", "maskmix", "mixpro", "tokenmix")


def arena(threads: int, model: str, *, images: int, size: int) -> Arena:
    """The ground that all arms are trained on: images of size x size."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(images)
    shape = (images, 3, size, size)
    task = Task(
        name="images",
        modality="image",
        kind="classification",
        x=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        y=rows % CLASSES,
        classes=tuple("0123456789"),
        mirrors=True,
    )
    recipe = Recipe(
        model=model,
        model_fingerprint="",
        epochs=100_000,
        batch_size=images,
        optimiser="sgd",
        learning_rate=0.05,
        weight_decay=5e-4,
        crop=4,
        flip=True,
        folds=None,
        holdout=0.2,
        device="cpu",
        precision="32-true",
        threads=threads,
    )
    return Arena(task, Split(train=rows, test=rows), recipe, seed=0)


def started(ground: Arena, arm: str) -> tuple[Method, Learner]:
    """An arm ready for its first step."""
    method = parse_arm(arm).method()
    setting = dataclasses.replace(
        ground.setting,
        part=lambda _: ground.examples.batch(torch.arange(len(ground.task.y)), epoch=0),
    )
    learner = method.start(setting)
    for network in learner.networks.values():
        network.train()
    method.enter(learner, method.phases()[0], setting.steps)
    return method, learner


def step(ground: Arena, arm: str) -> Callable[[], Callable[[], object]]:
    """A step of an arm, each with the draws of another epoch."""

    def build() -> Callable[[], object]:
        method, learner = started(ground, arm)

        def call() -> None:
            batch = ground.examples.batch(torch.arange(len(ground.task.y)), epoch=learner.step)
            method.step(learner, {"train": batch})
            learner.step += 1

        return call

    return build


def passes(ground: Arena, count: int) -> Callable[[], Callable[[], object]]:
    """Forward and backward passes of the model over the batch, and nothing else."""

    def build() -> Callable[[], object]:
        _, learner = started(ground, "none")
        batch = ground.examples.batch(torch.arange(len(ground.task.y)), epoch=0)
        x, target = learner.setting.prepare(batch.tensor), batch.target
        parameters = list(learner.model.parameters())
        assert target is not None

        def call() -> tuple[Tensor, ...]:
            loss = torch.stack([target.loss(learner.model(x)) for _ in range(count)]).sum()
            return torch.autograd.grad(loss, parameters)

        return call

    return build


def main() -> None:
    chosen = options(__doc__)
    keep_freed_memory()  # as in a trial
    text = (
        "AutoMix trains its model on two batches a step, AdAutoMix on three; both add a pass of "
        "the twin over the clean images, and one there and back through their mixtures."
    )
    small = arena(chosen.threads, "small-resnet", images=64, size=32)
    large = arena(chosen.threads, "vit_tiny_patch16_224", images=8, size=224)
    tables = []
    for title, ground, arms, against in (
        ("A step on 64 images of 32 x 32, small-resnet", small, ARMS, "mixup"),
        ("A step on 8 images of 224 x 224, vit_tiny_patch16_224", large, ATTENTIVE, "cutmix"),
    ):
        rows = [
            *(Row(f"{n} passes", passes(ground, n), "limit", "of the model") for n in (1, 2, 3)),
            *(
                Row(arm, step(ground, arm), "yardstick" if arm == "none" else "vicinal")
                for arm in arms
            ),
        ]
        records = side_by_side(
            rows,
            rounds=3 if chosen.quick else 31,
            patience=0.0 if chosen.quick else chosen.patience,
            against={"× none": "none", f"× {against}": against},
        )
        tables.append(table(title, records, text=text if ground is small else ""))
    finish(chosen, tables)


if __name__ == "__main__":
    main()
