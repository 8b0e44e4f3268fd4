"""Which methods help, and how sure is that: the statistics of a comparison.

**What is tested.** A method and the baseline are trained with the same seeds on the same splits, so
their scores come in pairs, and the differences are tested by a t-test.

- *One split:* every seed gives a difference. The verdict speaks of this split; seeds cannot tell
  whether another split would agree.
- *Several splits (folds):* the seeds of a split are averaged first, and the means of the splits
  are tested. Trials of one split share its samples and are no independent witnesses: counted as
  such, up to 9 % of recorded comparisons without an effect got a verdict. Splits share training
  samples too, so the variance of the mean is s^2 (1/n + n_test/n_train), not s^2/n (Nadeau and
  Bengio, Inference for the generalization error, 2003). With one seed, or with new splits for
  every seed, this is the corrected repeated k-fold test of Bouckaert and Frank (2004).

A fold's number names its split: the same number at two seeds is the same split. Splits drawn anew
for each seed have numbers of their own.

**Scores that move in steps.** Accuracy on 36 samples moves in steps of 1/36. Two seeds often
give the same difference; its scatter is then zero, and a plain t-test is certain of an effect.
A score on a grid is known to half a step, like a reading of an instrument: a uniform error of
variance step^2/12. A difference has two, so step^2/6 is added to the variance of every difference.
Where no step is known and nothing varies, there is no verdict either.

**Why p is larger than the textbook's.** The t-test keeps its level for normal scatter. Where
scatter ends sooner than normal, a few pairs look alike too often: for the difference of two
uniform scores the rate is up to 1.13 times the level, on recorded runs up to 1.21 times. So p is
divided by `RESERVE`, and the interval widened to match: what is said at 5 % then holds at 5 %.

**Many methods.** p is corrected by Holm over the methods tested in the run.

**What no test on a few seeds can see** is a failure so rare that none of the seeds shows it:
a method that is better in nine seeds of ten and fails in the tenth may be said to help.

The tests hold the error rates to scatter recorded from real training by benchmarks/scatter.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vicinal.compare.paired import Paired, Scores
from vicinal.compare.power import more_seeds
from vicinal.compare.verdict import Verdict, Word, describe

__all__ = ["RESERVE", "TTest", "Verdict", "corrected_t", "describe", "holm", "judge"]

RESERVE = 0.8
"""Share of the level that the t-test gets; the rest is for scatter that is not normal."""


@dataclass(frozen=True)
class TTest:
    """One test, or an array of them.

    mean: (...) of the values. error: (...) its standard error, 0 where nothing varies.
    p: (...) two-sided, and 1 where nothing varies.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    p: NDArray[np.float64]


def corrected_t(
    values: NDArray[np.float64], *, overlap: float, rounding: float, negligible: float = 0.0
) -> TTest:
    """Test whether the mean is zero.

    Args:
        values: (..., n) float64, a difference per seed or the mean difference per split; n >= 2.
        overlap: test over training samples where the values share training samples, else 0.
        rounding: variance that the rounding of scores to steps adds to a value.
        negligible: a standard error not above this is arithmetic noise.
    """
    from scipy import stats

    count = values.shape[-1]
    mean = values.mean(axis=-1)
    error = np.sqrt((values.var(axis=-1, ddof=1) + rounding) * (1 / count + overlap))
    varies = error > negligible
    error = np.where(varies, error, 0.0)
    t = np.abs(mean) / np.where(varies, error, np.inf)
    p = np.minimum(1.0, 2 * stats.t.sf(t, count - 1) / RESERVE)
    return TTest(mean=mean, error=error, p=p)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct the p of a family for its size (Holm 1979).

    statsmodels' `multipletests` gives the same numbers for one family at a time, and collects
    garbage on every call, which with torch loaded takes longer than all the rest of a verdict.

    Args:
        p: (..., m) float64, a family in the last dimension. The result has the same shape.
    """
    order = np.argsort(p, axis=-1)
    weights = np.arange(p.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * weights, axis=-1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), axis=-1)
    return corrected


def judge(
    scores: Mapping[str, Scores],
    baseline: str,
    *,
    higher_is_better: bool = True,
    granularity: float = 0.0,
    overlap: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> list[Verdict]:
    """Give a verdict per method against the baseline.

    A pair of which one score is absent, NaN or infinite is left out and counted. A method with a
    NaN or infinite score gets no verdict (`diverged`): what is left would flatter it.

    Args:
        scores: by method and (seed, fold), the held-out score. Absent keys are trials that failed.
        baseline: the method that the others are held against.
        higher_is_better: the direction of the metric.
        granularity: the step of the metric: 1 / n_test for accuracy, 0 for one without steps. Where
            test parts differ in size, that of the smallest.
        overlap: n_test / n_train where splits share training samples, as folds do; 0 otherwise.
        level: chance, per run, that any method without an effect gets a verdict.
        power: chance of a verdict that `more_seeds` aims at.

    Returns:
        A verdict per method, in the order of `scores`, the baseline's own included.

    Raises:
        ValueError: an argument is out of range, or the baseline is not among the methods.
    """
    _check(scores, baseline, granularity, overlap, level, power)
    trials = {trial for of_method in scores.values() for trial in of_method}
    rounding = granularity**2 / 6
    paired = {method: Paired.of(scores[method], scores[baseline], trials) for method in scores}
    excused = {
        method: _untestable(method, baseline, scores[method], paired[method]) for method in scores
    }
    tests = {
        method: corrected_t(
            pairs.values,
            overlap=overlap,
            rounding=rounding * pairs.averaged,
            negligible=16 * float(np.finfo(np.float64).eps) * pairs.largest,
        )
        for method, pairs in paired.items()
        if excused[method] is None
    }
    p_values = holm(np.array([test.p for test in tests.values()], dtype=np.float64))
    corrected = dict(zip(tests, p_values.tolist(), strict=True))
    # Methods that have their verdict keep it; Holm tests the best of the others at the level
    # divided by their number.
    undecided = int((p_values > level).sum())
    sign = 1 if higher_is_better else -1
    verdicts = []
    for method, pairs in paired.items():
        word = excused[method]
        if word is not None:
            verdicts.append(_verdict(method, word, pairs, level=level))
            continue
        test, p_holm, more = tests[method], corrected[method], None
        if p_holm <= level:
            word = "helps" if sign * float(test.mean) > 0 else "hurts"
        else:
            word = "no evidence yet"
            more = _more_seeds(
                test,
                pairs,
                overlap=overlap,
                rounding=rounding,
                level=level / undecided,
                power=power,
            )
        verdicts.append(
            _verdict(method, word, pairs, test=test, p_holm=p_holm, more=more, level=level)
        )
    return verdicts


def _untestable(method: str, baseline: str, scores: Scores, paired: Paired) -> Word | None:
    """The word for a method that gets no test."""
    if method == baseline:
        return "baseline"
    if not all(math.isfinite(score) for score in scores.values()):
        return "diverged"
    return "too few seeds" if len(paired.groups) < 2 else None


def _more_seeds(
    test: TTest, paired: Paired, *, overlap: float, rounding: float, level: float, power: float
) -> int | None:
    """How many more seeds would pass the test at `level`."""
    if test.error == 0:
        return None  # nothing varies: more of it teaches nothing
    if paired.seeds == 1:
        return None  # one seed cannot tell its own share of the scatter from the splits'
    return more_seeds(
        abs(float(test.mean)) / float(test.error),
        paired.seeds,
        units=len(paired.groups),
        overlap=overlap,
        split_share=paired.split_share(rounding),
        level=level * RESERVE,
        power=power,
    )


def _verdict(
    method: str,
    word: Word,
    paired: Paired,
    *,
    test: TTest | None = None,
    p_holm: float = math.nan,
    more: int | None = None,
    level: float,
) -> Verdict:
    """A verdict with its numbers; those that only a test gives are NaN without one."""
    from scipy import stats

    values = paired.values
    difference = float(values.mean()) if len(values) else math.nan
    half = p = math.nan
    if test is not None:
        p, error = float(test.p), float(test.error)
        # Where nothing varies, the difference may be off by any amount: there is no interval.
        if error > 0 or difference == 0:
            half = error * float(stats.t.isf(level * RESERVE / 2, len(values) - 1))
    return Verdict(
        method=method,
        word=word,
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=p,
        p_holm=p_holm,
        pairs=paired.pairs,
        more_seeds=more,
        missing=paired.missing,
        seeds=paired.seeds,
        splits=paired.splits,
    )


def _check(
    scores: Mapping[str, Scores],
    baseline: str,
    granularity: float,
    overlap: float,
    level: float,
    power: float,
) -> None:
    if baseline not in scores:
        raise ValueError(f"baseline must be one of {', '.join(scores)}, got {baseline!r}")
    for name, value in (("granularity", granularity), ("overlap", overlap)):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be at least 0, got {value}")
    for name, value in (("level", level), ("power", power)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value}")
