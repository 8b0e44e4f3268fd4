"""How the accuracy of each class changed against the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vicinal.compare.records import TrialRecord
from vicinal.compare.report.numbers import mean, number

#: Classes that the table has room for.
SHOWN_CLASSES = 20
#: Of colour, in the style sheet.
STEPS = 8


@dataclass(frozen=True)
class Shade:
    """A cell: what it says, for better or worse, and in which of the steps of colour, 0 to 8."""

    text: str
    kind: str = "unclear"
    step: int = 0


@dataclass(frozen=True)
class ClassChanges:
    """Changes of accuracy in percentage points, a row a class and a column a method.

    rows: the class, its accuracy under the baseline, and a cell for each method.
    total: how many classes there are; the rows are those with the largest changes.
    """

    methods: list[str]
    rows: list[tuple[str, str, list[Shade]]]
    total: int


def class_changes(
    trials: Mapping[str, Sequence[TrialRecord]], baseline: str
) -> ClassChanges | None:
    """Mean change over the trainings that a method and the baseline both completed.

    Args:
        trials: those that were completed, by method.
        baseline: what the others are held against.
    """
    before = {(one.seed, one.fold): one.per_class for one in trials.get(baseline, ())}
    methods = [method for method in trials if method != baseline]
    names = list(dict.fromkeys(name for classes in before.values() for name in classes))
    if not methods or not names:
        return None
    changes = {
        name: [
            mean(
                one.per_class.get(name, math.nan) - before[one.seed, one.fold][name]
                for one in trials[method]
                if name in before.get((one.seed, one.fold), {})
            )
            for method in methods
        ]
        for name in names
    }
    size = {name: max((abs(c) for c in changes[name] if c == c), default=-1.0) for name in names}
    # Sorting is stable: classes that changed alike keep the order of the data.
    shown = sorted(names, key=lambda name: -size[name])[:SHOWN_CLASSES]
    if len(names) <= SHOWN_CLASSES:
        shown = names
    largest = max(size.values())
    rows = []
    for name in shown:
        accuracy = mean(classes.get(name, math.nan) for classes in before.values())
        cells = [_shade(change, largest) for change in changes[name]]
        rows.append((name, number(100 * accuracy, 0), cells))
    return ClassChanges(methods, rows, len(names))


def _shade(change: float, largest: float) -> Shade:
    if math.isnan(change):
        return Shade(number(change, 0))
    step = round(STEPS * abs(change) / largest) if largest > 0 else 0
    kind = "helps" if change > 0 else "hurts" if change < 0 else "unclear"
    return Shade(number(100 * change, 1, sign=True), kind, step)
