"""The training loop: it knows streams, phases and steps, and no method by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Part, Phase, Setting, Stream
from vicinal.core.target import ClassTarget, RegressionTarget, Target
from vicinal.data.sampling import endless_batches, set_apart


class TrainingFailed(RuntimeError):
    """Training cannot go on: one line says why."""


@dataclass(frozen=True)
class Examples:
    """All rows of a task as training needs them, on one device.

    x: (N, ...) raw inputs.
    y: (N,) int64 classes, or (N,) float32 standardised values.
    extras: what the dataset delivers beside them, each of N rows.
    """

    x: Tensor
    y: Tensor
    extras: Mapping[str, Any] = field(default_factory=dict)

    def batch(self, rows: Tensor, *, epoch: int, labelled: bool = True) -> Batch:
        """Some rows. rows: (B,) int64 on the host."""
        at = rows.to(self.x.device)
        target: Target | None = None
        if labelled:
            y = self.y[at]
            target = RegressionTarget(y) if y.is_floating_point() else ClassTarget(y[:, None])
        extras = {name: value[at] for name, value in self.extras.items()}
        return Batch(x=self.x[at], target=target, index=at, epoch=epoch, extras=extras)


@dataclass
class Progress:
    """What is known of a training that goes on.

    epoch, epochs: nominal ones: as many steps as a pass over all training rows takes.
    curves: averages over each epoch so far, by name.
    seconds: spent in steps.
    """

    epoch: int
    epochs: int
    curves: dict[str, list[float]]
    seconds: float


def train(
    method: Method,
    setting: Setting,
    examples: Examples,
    *,
    rows: Tensor,
    batch_size: int,
    epochs: int,
    observe: Callable[[Learner, Progress], None] | None = None,
) -> tuple[Learner, Progress]:
    """Train a method for as many steps as every other arm.

    Args:
        method: the recipe.
        setting: what all arms share.
        examples: the task's rows.
        rows: (M,) int64 training rows, on the host.
        batch_size: of a stream of relative size 1.
        epochs: passes over all training rows that the steps amount to.
        observe: called after each nominal epoch.

    Raises:
        TrainingFailed: the loss is not a finite number.
        ValueError: the method refuses the model or the task.
    """
    learner = method.start(setting)
    parts = divide(method, rows, examples.y, seed=setting.seed)
    steps_an_epoch = setting.steps // epochs
    progress = Progress(0, epochs, {}, 0.0)
    reports: list[Mapping[str, Tensor]] = []
    begin = time.perf_counter()
    for phase, steps in _spans(method.phases(), setting.steps):
        method.enter(learner, phase)
        for network in learner.networks.values():
            network.train()
        streams = {
            name: _batches(stream, parts, examples, batch_size, seed=setting.seed)
            for name, stream in phase.streams.items()
        }
        for _ in range(steps):
            reports.append(method.step(learner, {name: next(s) for name, s in streams.items()}))
            learner.step += 1
            if learner.step % steps_an_epoch == 0:
                _close_epoch(progress, reports)
                progress.seconds += time.perf_counter() - begin
                if observe is not None:
                    observe(learner, progress)
                begin = time.perf_counter()
    return learner, progress


def divide(method: Method, rows: Tensor, y: Tensor, *, seed: int) -> dict[Part, Tensor]:
    """The training rows by part. For one share, every arm sets the same rows apart."""
    parts: dict[Part, Tensor] = {}
    stays = rows
    for part, share in method.apart.items():
        labels = None if y.is_floating_point() else y.cpu()[stays]
        stays, parts[part] = set_apart(stays, share, seed=seed, labels=labels)
    parts["train"] = stays
    return parts


def _spans(phases: tuple[Phase, ...], steps: int) -> Iterator[tuple[Phase, int]]:
    """Each phase with its number of steps, which add up to all steps."""
    done, share = 0, 0.0
    for phase in phases:
        share += phase.share
        until = round(share * steps)
        yield phase, until - done
        done = until
    if done != steps:
        raise ValueError(f"the shares of the phases must sum to 1, got {share}")


def _batches(
    stream: Stream,
    parts: Mapping[Part, Tensor],
    examples: Examples,
    batch_size: int,
    *,
    seed: int,
) -> Iterator[Batch]:
    size = max(1, round(batch_size * stream.relative_size))
    batches = endless_batches(parts[stream.part], size, seed=seed)
    for _ in range(stream.ahead):
        next(batches)
    for epoch, rows in batches:
        yield examples.batch(rows, epoch=epoch, labelled=stream.part != "unlabelled")


def _close_epoch(progress: Progress, reports: list[Mapping[str, Tensor]]) -> None:
    """Average what the steps reported, in one transfer from the device."""
    names = list(dict.fromkeys(name for report in reports for name in report))
    progress.epoch += 1
    for name in names:
        values = torch.stack([report[name].float() for report in reports if name in report])
        mean = values.mean().item()
        if not math.isfinite(mean):
            raise TrainingFailed(
                f"the {name} is {mean} in epoch {progress.epoch}: try a lower --learning-rate"
            )
        progress.curves.setdefault(f"train {name}", []).append(mean)
    reports.clear()
