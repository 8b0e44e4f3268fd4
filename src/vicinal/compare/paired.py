"""From the scores of two arms to the values that a test may take as independent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = Mapping[tuple[int, int], float]
"""The held-out score of an arm by (seed, fold)."""


@dataclass(frozen=True)
class Paired:
    """Differences of a method and the baseline, trial by trial.

    groups: the differences that share a value: those of a seed where there is one split, else those
        of a split.
    missing: trials of the run without a finite score of both.
    seeds, splits: how many different ones are left.
    largest: the largest absolute score among the pairs; 0 without a pair.
    """

    groups: tuple[tuple[float, ...], ...]
    missing: int
    seeds: int
    splits: int
    largest: float

    @classmethod
    def of(cls, scores: Scores, against: Scores, trials: Iterable[tuple[int, int]]) -> Paired:
        """Pair by seed and fold.

        Args:
            scores: of the method.
            against: scores of the baseline.
            trials: the seeds and folds of the run.
        """
        wanted = sorted(trials)
        kept = [trial for trial in wanted if _finite(scores, trial) and _finite(against, trial)]
        splits = {fold for _, fold in kept}
        groups: defaultdict[int, list[float]] = defaultdict(list)
        for seed, fold in kept:
            groups[fold if len(splits) > 1 else seed].append(
                float(scores[seed, fold]) - float(against[seed, fold])
            )
        return cls(
            groups=tuple(tuple(group) for group in groups.values()),
            missing=len(wanted) - len(kept),
            seeds=len({seed for seed, _ in kept}),
            splits=len(splits),
            largest=max(
                (abs(arm[trial]) for trial in kept for arm in (scores, against)), default=0
            ),
        )

    @property
    def pairs(self) -> int:
        return sum(len(group) for group in self.groups)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) float64, the mean difference of each group."""
        return np.array([math.fsum(group) / len(group) for group in self.groups], dtype=np.float64)

    @property
    def averaged(self) -> float:
        """What averaging leaves of an independent error's variance, on average over the values."""
        return math.fsum(1 / len(group) for group in self.groups) / len(self.groups)

    def split_share(self, rounding: float) -> float | None:
        """The share of the splits in the variance of the values, by analysis of variance.

        Args:
            rounding: variance that rounding adds to a difference.

        Returns:
            In [0, 1]; None where no two values share anything that more seeds would leave as it is.
        """
        freedom = self.pairs - len(self.groups)
        if freedom == 0:
            return None
        squares = math.fsum(float(np.var(group)) * len(group) for group in self.groups)
        of_seeds = (squares / freedom + rounding) * self.averaged
        total = float(np.var(self.values, ddof=1)) + rounding * self.averaged
        return max(0.0, 1 - of_seeds / total) if total > 0 else 0.0


def _finite(scores: Scores, trial: tuple[int, int]) -> bool:
    return trial in scores and math.isfinite(scores[trial])
