"""A verdict on one method, and the line that tells it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vicinal.evaluate import METRICS

Word = Literal["helps", "hurts", "no evidence yet", "too few seeds", "diverged", "baseline"]


@dataclass(frozen=True)
class Verdict:
    """What the trials say of a method against the baseline.

    method: its name.
    word: `helps` or `hurts` where Holm's p is at most the level; `no evidence yet` where it is
        not; `too few seeds` where fewer than two seeds or splits can be paired; `diverged` where
        a score of the method is NaN or infinite, since the mean of the others would flatter it.
    difference: mean paired difference of the metric, method minus baseline; NaN without a pair.
    low, high: interval of that difference at 1 - level, for this method alone; NaN where there
        is no test, and where the seeds change nothing.
    p: of the paired t-test that `vicinal.compare.statistics` describes; NaN where there is none.
    p_holm: the same, corrected for the number of methods tested in the run.
    pairs: trials of the method that have their counterpart of the baseline.
    missing: seeds and folds of the run where one of the two is absent or not a number.
    seeds, splits: how many different ones are among the pairs.
    more_seeds: how many more seeds would give a verdict, with the power asked for; half of such
        numbers are too low and half too high. None beside a verdict, where no number up to 1000
        is expected to do, and where one seed over several splits cannot tell.
    """

    method: str
    word: Word
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    pairs: int
    more_seeds: int | None
    missing: int = 0
    seeds: int = 0
    splits: int = 0


def describe(verdict: Verdict, metric: str) -> str:
    """Say a verdict in a line: `helps: +1.3 points [+0.4, +2.2], p = 0.012`.

    Args:
        verdict: of a method.
        metric: its name, as the unit of the difference.
    """
    if verdict.word == "baseline":
        return "baseline"
    parts = [f"{verdict.word}: {_told(verdict, metric)}"]
    if not math.isnan(verdict.p_holm):
        parts.append("p < 0.001" if verdict.p_holm < 0.001 else f"p = {verdict.p_holm:.2g}")
    said = remark(verdict)
    line = ", ".join(parts) + (f" ({said})" if said else "")
    if verdict.missing:
        of = verdict.pairs + verdict.missing
        line += f"; {verdict.missing} of {of} pairs are missing"
    return line


def _told(verdict: Verdict, metric: str) -> str:
    if math.isnan(verdict.difference):
        return "nothing to compare"
    mean, interval = difference(verdict, metric)
    return f"{mean} {unit(metric)} {interval}".rstrip()


def unit(metric: str) -> str:
    """What a difference of a metric is counted in: points for a share, else the metric itself."""
    return "points" if METRICS[metric].style == "share" else METRICS[metric].name


def difference(verdict: Verdict, metric: str) -> tuple[str, str]:
    """The mean difference, `+1.3`, and its interval, `[+0.4, +2.2]`, which may be empty.

    There must be a pair of trials.
    """
    points = METRICS[metric].style == "share"
    scale = 100.0 if points else 1.0
    half = (verdict.high - verdict.low) / 2 * scale
    known = math.isfinite(half) and half > 0
    size = half if known else abs(verdict.difference) * scale
    # Digits beyond the second of the uncertainty are noise.
    places = min(6, max(1, 1 - math.floor(math.log10(size)))) if size > 0 else 1
    if points and size >= 0.1:
        places = 1  # as accuracies are told
    mean, low, high = (
        "" if math.isnan(value) else _signed(value * scale, places)
        for value in (verdict.difference, verdict.low, verdict.high)
    )
    return mean, f"[{low}, {high}]" if low else ""


def _signed(value: float, places: int) -> str:
    rounded = round(value, places)
    return f"{rounded + 0.0:+.{places}f}" if rounded else f"{0:.{places}f}"  # no "-0.0"


def remark(verdict: Verdict) -> str:
    """What is to be added to the word, such as how many more seeds would tell; may be empty."""
    if verdict.word == "too few seeds":
        return "a verdict takes at least 2 seeds"
    if verdict.word == "diverged":
        return "scores that are no numbers allow no verdict"
    if verdict.word != "no evidence yet":
        return ""
    if verdict.more_seeds is not None:
        more = verdict.more_seeds
        rounded = more if more < 20 else int(float(f"{more:.2g}"))
        return f"about {rounded} more seed{'s' if rounded > 1 else ''} would tell"
    if verdict.difference == 0 and verdict.p == 1:
        return "no difference seen"
    if math.isnan(verdict.low):
        return "the seeds change nothing, so more of them cannot tell"
    if verdict.seeds == 1:
        return "a second seed would show what more of them can tell"
    return "more seeds are not expected to tell"
