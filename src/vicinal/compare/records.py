"""What a run leaves behind: plain records that the store keeps and the report reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from vicinal.evaluate import ReliabilityBin

__all__ = ["Gallery", "ReliabilityBin", "RunRecord", "Sample", "TrialRecord"]

State = Literal["done", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One method on one split with one seed.

    key: hash of everything that decides the result.
    method: the arm's label, as typed: `cutmix:alpha=0.5`.
    metrics: of the held-out rows after the last epoch, by name (`accuracy`, `nll`, `ece`, ...;
        `rmse`, ...).
    curves: a value an epoch, by name: `train loss`, `train score`. Held-out metrics are taken at
        some epochs only and are NaN at the others.
    reliability: of the held-out predictions; empty for regression.
    per_class: accuracy of each class, by name; NaN where the class has no held-out row.
    seconds: spent in training steps. wall_seconds: in all.
    steps: optimiser steps taken.
    error: one line, if it failed.
    """

    key: str
    method: str
    seed: int
    fold: int
    state: State
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    reliability: list[ReliabilityBin] = field(default_factory=list)
    per_class: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    steps: int = 0
    finished: str = ""
    error: str = ""


@dataclass(frozen=True)
class RunRecord:
    """What was asked for, and on what.

    name: of the data.
    command: the command line, to be run again.
    created: ISO 8601, UTC.
    task: modality, kind, classes, number of rows, of training and held-out rows, notes.
    settings: every choice: model, epochs, batch size, learning rate, ..., seeds, folds, device,
        precision.
    reasons: why a choice that was not given is what it is, by its name.
    methods: labels of the arms in order; the first is the baseline.
    left_out: arms that do not fit the task, with the reason.
    environment: versions, machine, threads.
    overlap: held-out rows to training rows of a split where the splits' training rows overlap; 0
        if there is one split.
    """

    name: str
    command: str
    created: str
    task: dict[str, Any]
    settings: dict[str, Any]
    reasons: dict[str, str]
    methods: list[str]
    left_out: dict[str, str]
    environment: dict[str, str]
    overlap: float = 0.0

    @property
    def baseline(self) -> str:
        """The arm that the others are held against."""
        return self.methods[0]


@dataclass(frozen=True)
class Sample:
    """One sample as a method left it, for the report's gallery.

    picture: PNG bytes for images; empty otherwise.
    caption: its labels with their weights: `cat 0.70, dog 0.30`.
    values: the numbers of a table's row, by column; empty for images.
    """

    picture: bytes
    caption: str
    values: dict[str, float] = field(default_factory=dict)


#: For each arm, the same few training samples as it shows them to the model; `original` has them
#: untouched.
Gallery = dict[str, list[Sample]]
