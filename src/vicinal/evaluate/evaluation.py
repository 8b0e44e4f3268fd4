"""What comes out of judging a model's outputs on rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions whose confidence lies in (low, high].

    count: how many.
    confidence, accuracy: their means; NaN in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """The judgement of a model on held-out rows.

    metrics: by the names of `vicinal.evaluate.METRICS`.
    reliability: all bins of the reliability diagram, from low to high; empty for regression.
    per_class: the accuracy on the rows of each class, by its name, NaN for a class without rows;
        empty for regression.
    """

    metrics: Mapping[str, float]
    reliability: tuple[ReliabilityBin, ...] = ()
    per_class: Mapping[str, float] = field(default_factory=dict)
