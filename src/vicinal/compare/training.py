"""The training loop: it knows streams, phases and steps, and no method by name."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.batch import Batch
from vicinal.core.element_target import row_labels, target_of
from vicinal.core.method import Learner, Method, Part, Phase, Sampler, Setting, Stream
from vicinal.core.ragged import Ragged
from vicinal.data.sampling import endless_batches, set_apart


class TrainingFailed(RuntimeError):
    """Training cannot go on: one line says why."""


@dataclass(frozen=True)
class Examples:
    """All rows of a task as training needs them, on one device.

    x: (N, ...) raw inputs; for scenes of points a dict of N rows each.
    y: (N,) int64 classes, (N,) float32 standardised values, or N rows of a class for each point.
    extras: what the dataset delivers beside them, each of N rows.
    """

    x: Any
    y: Tensor | Ragged
    extras: Mapping[str, Any] = field(default_factory=dict)

    def batch(self, rows: Tensor, *, epoch: int, labelled: bool = True) -> Batch:
        """Some rows. rows: (B,) int64 on the host."""
        at = rows.to(self.y.device)
        target = target_of(self.y[at]) if labelled else None
        extras = {name: value[at] for name, value in self.extras.items()}
        x = pytree.tree_map(lambda inputs: inputs[at], self.x)
        return Batch(x=x, target=target, index=at, epoch=epoch, extras=extras)

    @property
    def labels(self) -> Tensor | None:
        """(N,) on the host, what rows are divided and sampled by; None where points have them."""
        return row_labels(self.y)


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
    parts: Mapping[Part, Tensor] | None = None,
    observe: Callable[[Learner, Progress], None] | None = None,
    state: Mapping[str, Any] | None = None,
) -> tuple[Learner, Progress]:
    """Train a method for as many steps as every other arm.

    Args:
        method: the recipe.
        setting: what all arms share.
        examples: the task's rows.
        rows: (M,) int64 training rows, on the host.
        batch_size: of a stream of relative size 1.
        epochs: passes over all training rows that the steps amount to.
        parts: rows that come with the data for a part, unlabelled ones say; the method sets none of
            `rows` apart for it then.
        observe: called after each nominal epoch.
        state: of a learner, as `observe` could save it; training goes on from there.

    Raises:
        TrainingFailed: the loss is not a finite number, or there are too few rows.
        ValueError: the method refuses the model or the task, or its phases and streams do not
            fit together.
    """
    if setting.steps % epochs:
        raise ValueError(f"{setting.steps} steps do not make {epochs} equal epochs")
    steps_an_epoch = setting.steps // epochs
    spans = _spans(method.phases(), setting.steps)
    divided = divide(method, rows, examples.labels, seed=setting.seed, parts=parts)

    def part(name: Part) -> Batch:
        return examples.batch(_rows_of(divided, name), epoch=0, labelled=name != "unlabelled")

    learner = method.start(dataclasses.replace(setting, part=part))
    progress = Progress(0, epochs, {}, 0.0)
    reports: list[Mapping[str, Tensor]] = []
    begin = time.perf_counter()
    for phase, first, last in spans:
        learner.phase = phase.name
        for network in learner.networks.values():
            network.train()
        method.enter(learner, phase, last - first)
        if state is not None:
            if state["step"] > last:
                continue
            learner.load_state_dict(state)
            progress.epoch = learner.step // steps_an_epoch
            state = None
        streams = {
            name: _batches(
                stream, divided, examples, batch_size, seed=setting.seed, step=learner.step
            )
            for name, stream in phase.streams.items()
        }
        for _ in range(learner.step, last):
            report = method.step(learner, {name: next(s) for name, s in streams.items()})
            reports.append({name: value.detach() for name, value in report.items()})
            learner.step += 1
            if learner.updates["model"] > learner.step:
                raise RuntimeError(
                    f"{type(method).__name__} took {learner.updates['model']} optimiser steps in "
                    f"{learner.step} steps of training: every arm has the same number"
                )
            if learner.step % steps_an_epoch == 0:
                _close_epoch(progress, reports)
                progress.seconds += time.perf_counter() - begin
                if observe is not None:
                    observe(learner, progress)
                begin = time.perf_counter()
    return learner, progress


def divide(
    method: Method,
    rows: Tensor,
    y: Tensor | None,
    *,
    seed: int,
    parts: Mapping[Part, Tensor] | None = None,
) -> dict[Part, Tensor]:
    """The training rows by part. For one share, every arm sets the same rows apart.

    Args:
        method: says what it wants set apart.
        rows: (M,) int64 training rows, on the host.
        y: (N,) the labels of all rows of the dataset, if they have one; classes are divided alike.
        seed: of the trial.
        parts: rows that come with the data for a part.

    Raises:
        TrainingFailed: there are too few rows.
        ValueError: the shares leave nothing to train on, or a row is in two parts.
    """
    divided = dict(parts or {})
    stays, left = rows, 1.0
    for part, share in method.apart.items():
        if part in divided or (part == "unlabelled" and share == 0):
            continue
        if not 0 < share < left:
            raise ValueError(f"the share of {part} must be above 0 and below {left}, got {share}")
        labels = None if y is None or y.is_floating_point() else y.cpu()[stays]
        stays, divided[part] = set_apart(stays, share / left, seed=seed, labels=labels)
        left -= share
    divided["train"] = stays
    for part, some in divided.items():
        if not len(some):
            raise TrainingFailed(
                f"{len(rows)} training rows are too few for {type(method).__name__}: "
                f"none is left for its {part} part"
            )
    together = torch.cat(list(divided.values())).tolist()
    if len(set(together)) < len(together):
        raise ValueError(f"a row is in two of the parts {', '.join(divided)}")
    if method.apart.get("unlabelled") == 0:
        divided.setdefault("unlabelled", divided["train"])
    return divided


def _spans(phases: tuple[Phase, ...], steps: int) -> list[tuple[Phase, int, int]]:
    """Each phase with the steps before it and the steps after it."""
    ends = [0.0, *itertools.accumulate(phase.share for phase in phases)]
    if not math.isclose(ends[-1], 1.0):
        raise ValueError(f"the shares of the phases must sum to 1, got {ends[-1]}")
    at = [round(end * steps) for end in ends]
    return list(zip(phases, at[:-1], at[1:], strict=True))


def _rows_of(parts: Mapping[Part, Tensor], part: Part) -> Tensor:
    if part not in parts:
        raise ValueError(f"the part {part!r} is wanted, which nothing sets apart")
    return parts[part]


def _batches(
    stream: Stream,
    parts: Mapping[Part, Tensor],
    examples: Examples,
    batch_size: int,
    *,
    seed: int,
    step: int,
) -> Iterator[Batch]:
    """What arrives from a step on: at every step the same, however training got there."""
    rows = _rows_of(parts, stream.part)
    labelled = stream.part != "unlabelled"
    labels = examples.labels if labelled else None
    size = max(1, round(batch_size * stream.relative_size))
    batches = (
        endless_batches(rows, size, seed=seed)
        if stream.sampler is None
        else _sampled(
            stream.sampler, rows, size, labels[rows] if labels is not None else None, seed
        )
    )
    pool = examples.batch(rows, epoch=0, labelled=labelled) if stream.pooled else None
    for epoch, some in itertools.islice(batches, step + stream.ahead, None):
        batch = examples.batch(some, epoch=epoch, labelled=labelled)
        yield batch if pool is None else batch.replace(pool=pool)


def _sampled(
    sampler: Sampler, rows: Tensor, size: int, labels: Tensor | None, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """The epochs of a method's own sampler, without end. Yields the epoch and a batch's rows."""
    for epoch in itertools.count():
        batches = sampler(rows, size, seed=seed, epoch=epoch, labels=labels)
        if not batches or not torch.isin(torch.cat(list(batches)), rows).all():
            raise ValueError("a sampler must give rows of its own part, and at least one batch")
        for batch in batches:
            yield epoch, batch


def _close_epoch(progress: Progress, reports: list[Mapping[str, Tensor]]) -> None:
    """Average what the steps reported, in one transfer from the device.

    An epoch in which nothing was reported under a name has NaN there, so that every curve has a
    value an epoch.
    """
    names = list(dict.fromkeys(name for report in reports for name in report))
    means: dict[str, float] = {}
    if names:
        columns = [[report[name].float() for report in reports if name in report] for name in names]
        values = torch.stack([torch.stack(column).mean() for column in columns]).tolist()
        means = {f"train {name}": value for name, value in zip(names, values, strict=True)}
    progress.epoch += 1
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise TrainingFailed(
                f"the {name} is {mean} in epoch {progress.epoch}: try a lower --learning-rate"
            )
    for name in (*progress.curves, *means):
        curve = progress.curves.setdefault(name, [math.nan] * (progress.epoch - 1))
        if len(curve) < progress.epoch:
            curve.append(means.get(name, math.nan))
    reports.clear()
