"""The figure of paired differences: a strip a method, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vicinal.compare.records import RunRecord, TrialRecord
from vicinal.compare.report.axes import Axis
from vicinal.compare.report.leaderboard import Look, completed, look
from vicinal.compare.report.numbers import Score, known, number
from vicinal.compare.verdict import Verdict

#: Ends of intervals further out than this many times the outermost point leave the figure.
REACH = 2.5


@dataclass(frozen=True)
class Strip:
    """A method against the baseline.

    difference: the mean, in words; centre: as a number. between: the ends of its 95 % interval,
        in words; low, high: as numbers, None where there is no interval.
    pairs: the difference in each pair of trainings.
    """

    method: str
    look: Look
    difference: str
    between: str
    centre: float
    low: float | None
    high: float | None
    pairs: list[float]


@dataclass(frozen=True)
class Differences:
    """The figure. strips: the best difference first. axis: in the metric's own unit."""

    strips: list[Strip]
    axis: Axis
    score: Score

    def label(self, tick: float) -> str:
        """A tick in words."""
        if self.score.unit:
            return number(100 * tick, max(0, self.axis.decimals - 2), sign=True)
        return number(tick, self.axis.decimals, sign=True)

    @property
    def cut(self) -> bool:
        """Whether an interval leaves the scale."""
        ends = [end for one in self.strips for end in (one.low, one.high) if end is not None]
        return any(not self.axis.low <= end <= self.axis.high for end in ends)


def paired_differences(
    run: RunRecord, trials: Sequence[TrialRecord], verdicts: Sequence[Verdict], score: Score
) -> Differences | None:
    """Lay the figure out; None where no method has a pair with the baseline.

    Args:
        run: what was asked for.
        trials: completed and failed.
        verdicts: one for each method.
        score: the metric that decides.
    """
    done = completed(run, trials)
    base = {(one.seed, one.fold): one.metrics[score.name] for one in done[run.baseline]}
    strips = []
    for verdict in verdicts:
        if verdict.method == run.baseline or not known(verdict.difference):
            continue
        words = score.between(verdict.low, verdict.high)
        pairs = [
            one.metrics[score.name] - base[one.seed, one.fold]
            for one in done[verdict.method]
            if (one.seed, one.fold) in base
        ]
        strips.append(
            Strip(
                method=verdict.method,
                look=look(verdict),
                difference=score.difference(verdict.difference) + score.unit,
                between=words,
                centre=verdict.difference,
                low=verdict.low if words else None,
                high=verdict.high if words else None,
                pairs=[pair for pair in pairs if known(pair)],
            )
        )
    if not strips:
        return None
    strips.sort(key=lambda one: -one.centre if score.metric.higher_is_better else one.centre)
    return Differences(strips, _scale(strips), score)


def _scale(strips: Sequence[Strip]) -> Axis:
    """Reaches all points, and the ends of intervals that do not dwarf them, as two seeds' may."""
    points = [value for one in strips for value in (*one.pairs, one.centre)]
    reach = REACH * max(map(abs, points))
    ends = [end for one in strips for end in (one.low, one.high) if end is not None]
    near = [max(-reach, min(reach, end)) for end in ends] if reach > 0 else ends
    return Axis.around([*points, *near], include=(0.0,), margin=0.05, ticks=7)
