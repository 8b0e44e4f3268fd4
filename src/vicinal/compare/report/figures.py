"""Learning curves and reliability diagrams, as what the template draws: one panel a method."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vicinal.compare.records import ReliabilityBin, TrialRecord
from vicinal.compare.report.axes import Axis, Panel
from vicinal.compare.report.numbers import Score, number

#: Predictions below which the accuracy of a bin is not to be read.
FEW = 10


@dataclass(frozen=True)
class Course:
    """How a number went over the epochs: mean, least and greatest of the trainings.

    epochs: those at which it was measured, counted from 1.
    """

    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, curves: Sequence[Sequence[float]], *, scale: float = 1.0) -> Course:
        """Over trainings. curves: a value an epoch each, NaN where it was not measured."""
        rows: list[tuple[int, float, float, float]] = []
        for place in range(max(map(len, curves), default=0)):
            at = [curve[place] * scale for curve in curves if place < len(curve)]
            values = [value for value in at if math.isfinite(value)]
            if values:
                rows.append((place + 1, sum(values) / len(values), min(values), max(values)))
        epochs, mean, low, high = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(epochs, mean, low, high)

    @property
    def points(self) -> list[tuple[float, float]]:
        """The mean, joined from one measured epoch to the next."""
        return list(zip(self.epochs, self.mean, strict=True))

    @property
    def band(self) -> list[tuple[float, float]]:
        """The outline of the range."""
        there = zip(self.epochs, self.high, strict=True)
        back = zip(reversed(self.epochs), reversed(self.low), strict=True)
        return [*there, *back]


@dataclass(frozen=True)
class CurvePanel:
    """The courses of one number under one method and under the baseline, on shared axes."""

    title: str
    unit: str
    panel: Panel
    course: Course
    baseline: Course | None
    last: str


def learning_curves(
    trials: Mapping[str, Sequence[TrialRecord]], baseline: str, score: Score
) -> dict[str, list[CurvePanel]]:
    """For each method its training loss and its held-out score by epoch.

    Args:
        trials: those that were completed, by method.
        baseline: its courses are drawn behind every other method's.
        score: the metric that decides.
    """
    percent = score.metric.style == "share"
    panels: dict[str, list[CurvePanel]] = defaultdict(list)
    for curve, title, scale in (
        ("train loss", "training loss", 1.0),
        (f"held-out {score.name}", f"held-out {score.metric.name}", 100.0 if percent else 1.0),
    ):
        courses = {
            method: Course.of([one.curves.get(curve, []) for one in some], scale=scale)
            for method, some in trials.items()
        }
        courses = {method: course for method, course in courses.items() if course.epochs}
        if not courses:
            continue
        last = max(course.epochs[-1] for course in courses.values())
        values = [v for course in courses.values() for v in (*course.low, *course.high)]
        panel = Panel(
            x=Axis.around((1, last), ticks=4, whole=True),
            y=Axis.around(values, margin=0.04, ticks=4),
        )
        for method, course in courses.items():
            end = course.mean[-1] / scale
            panels[method].append(
                CurvePanel(
                    title=title,
                    unit="%" if scale > 1 else "",
                    panel=panel,
                    course=course,
                    baseline=None if method == baseline else courses.get(baseline),
                    last=number(end, 3) if curve == "train loss" else score.value(end),
                )
            )
    return dict(panels)


@dataclass(frozen=True)
class Mark:
    """A bin in the diagram.

    ideal: where it would lie if confidence were right. few: it holds too few predictions to tell.
    """

    across: float
    down: float
    ideal: float
    radius: float
    few: bool
    words: str


@dataclass(frozen=True)
class Bar:
    """The number of predictions in a bin, below the diagram."""

    left: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class ReliabilityPanel:
    """One method's confidence against its accuracy.

    total: predictions. most: of them in one bin. floor: where the bars stand. room: their greatest
    height.
    """

    panel: Panel
    marks: list[Mark]
    bars: list[Bar]
    total: int
    most: int
    floor: float = 280.0
    room: float = 36.0


def reliability_diagram(trials: Sequence[TrialRecord]) -> ReliabilityPanel | None:
    """All held-out predictions of a method, from its trainings together."""
    bins = pooled(one for trial in trials for one in trial.reliability)
    if not bins:
        return None
    unit = Axis(0.0, 1.0, (0.0, 0.5, 1.0), 1)
    panel = Panel(unit, unit, width=230, height=284, left=30, right=222, top=20, bottom=200)
    total, most = sum(one.count for one in bins), max(one.count for one in bins)
    marks, bars = [], []
    for one in bins:
        words = (
            f"confidence {one.low:.2f} to {one.high:.2f}: {one.count:,} predictions, "
            f"{one.confidence:.2f} confident on average, {one.accuracy:.2f} correct"
        )
        across = panel.across(one.confidence)
        radius = round(2.0 + 6.0 * math.sqrt(one.count / total), 1)
        ideal = panel.down(one.confidence)
        few = one.count < FEW
        marks.append(Mark(across, panel.down(one.accuracy), ideal, radius, few, words))
        left, right = panel.across(one.low), panel.across(one.high)
        height = round(ReliabilityPanel.room * one.count / most, 1)
        bars.append(Bar(left + 0.5, round(right - left - 1, 1), height, words))
    return ReliabilityPanel(panel, marks, bars, total, most)


def pooled(bins: Iterable[ReliabilityBin]) -> list[ReliabilityBin]:
    """Bins of several trainings as one set: counts add up, the rest is averaged by count."""
    groups: dict[tuple[float, float], list[ReliabilityBin]] = defaultdict(list)
    for one in bins:
        if one.count:
            groups[one.low, one.high].append(one)
    result = []
    for (low, high), group in sorted(groups.items()):
        count = sum(one.count for one in group)
        confidence = sum(one.count * one.confidence for one in group) / count
        accuracy = sum(one.count * one.accuracy for one in group) / count
        result.append(ReliabilityBin(low, high, count, confidence, accuracy))
    return result
