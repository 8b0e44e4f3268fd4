"""The error rates of verdicts, on the scatter of real training runs.

`scatter.json` was recorded by `python benchmarks/scatter.py`. A simulated run draws the trials of
its arms from the recorded ones; thousands of runs go through the arithmetic of `judge` as arrays,
and the first of them through `judge` itself, which has to say the same.

Rates are held to 5 % as observed. Over `RUNS` runs the standard error of a rate of 5 % is 0.2
points, so a true rate of 5.5 % would be refused with a certainty of 99 %.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from vicinal.compare.power import centre_needed
from vicinal.compare.statistics import RESERVE, Verdict, corrected_t, holm, judge

Floats = NDArray[np.float64]

RUNS = 10_000
LEVEL = 0.05
RECORDED = json.loads(Path(__file__).with_name("scatter.json").read_text())
DATA = tuple(RECORDED["fixed_split"])
FOLDED = tuple(RECORDED["folds"])


def step_of(data: str) -> float:
    """The step of the metric: accuracy moves in steps, R2 does not."""
    return 0.0 if data == "diabetes" else float(RECORDED["fixed_split"][data]["unit"])


def recorded(data: str, arm: str) -> Floats:
    """Scores of 400 seeds on one split."""
    part = RECORDED["fixed_split"][data]
    return np.array(part["scores"][arm]) * part["unit"]


def shifted(scores: Floats, by: float, step: float, rng: np.random.Generator) -> Floats:
    """Add an effect. On a grid, some scores move a step more than others, and the mean by `by`."""
    if step == 0:
        return scores + by
    steps = by / step
    return scores + step * (np.floor(steps) + (rng.random(scores.shape) < steps % 1))


def drawn(
    data: str, arm: str, *, methods: int, seeds: int, runs: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Trials of runs in which no method has an effect.

    With the arm `none`, methods and baseline draw from the same scatter. Any other arm is moved
    to the mean of the baseline, and its first method keeps the seeds that it was recorded with.

    Returns:
        The baseline's scores (runs, 1, seeds) and the methods' (runs, methods, seeds).
    """
    baseline, scores = recorded(data, "none"), recorded(data, arm)
    seed = rng.integers(len(baseline), size=(runs, 1, seeds))
    other = rng.integers(len(scores), size=(runs, methods, seeds))
    if arm != "none":
        other[:, :1] = seed
    effect = scores.mean() - baseline.mean()
    return baseline[seed], shifted(scores[other], -effect, step_of(data), rng)


def p_holm(baseline: Floats, methods: Floats, step: float) -> Floats:
    """Corrected p of runs on one split, (runs, methods)."""
    difference = methods - baseline
    largest = np.abs(methods).max()
    test = corrected_t(
        difference, overlap=0.0, rounding=step**2 / 6, negligible=16 * 2.0**-52 * largest
    )
    return holm(test.p)


def judged(baseline: Floats, methods: Floats, step: float) -> list[Verdict]:
    """The verdicts of `judge` on one run; baseline (1, seeds), methods (methods, seeds)."""
    arms = {"none": baseline[0]} | {f"method {i}": row for i, row in enumerate(methods)}
    scores = {
        arm: {(seed, 0): float(score) for seed, score in enumerate(row)}
        for arm, row in arms.items()
    }
    return judge(scores, "none", granularity=step)[1:]


@pytest.mark.parametrize("arm", ["none", "mixup", "noise"])
@pytest.mark.parametrize("data", DATA)
def test_without_an_effect_at_most_one_run_in_twenty_says_helps_or_hurts(
    data: str, arm: str
) -> None:
    rng, rates = np.random.default_rng(0), {}
    for seeds in (2, 3, 5, 10):
        for methods in (1, 3, 8):
            baseline, others = drawn(data, arm, methods=methods, seeds=seeds, runs=RUNS, rng=rng)
            p = p_holm(baseline, others, step_of(data))
            rates[seeds, methods] = (p <= LEVEL).any(1).mean()
            for run in range(5):
                words = [v.word for v in judged(baseline[run], others[run], step_of(data))]
                assert [word != "no evidence yet" for word in words] == (p[run] <= LEVEL).tolist()
    assert max(rates.values()) <= LEVEL, rates


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_reserve_covers_the_difference_of_two_uniform_scores(seeds: int) -> None:
    rng = np.random.default_rng(1)
    for methods in (1, 3, 8):
        baseline = rng.random((2 * RUNS, 1, seeds))
        p = p_holm(baseline, rng.random((2 * RUNS, methods, seeds)), 0.0)
        assert (p <= LEVEL).any(1).mean() <= LEVEL


def test_a_plain_paired_t_test_would_find_effects_in_the_steps_of_small_test_parts() -> None:
    rng = np.random.default_rng(2)
    baseline, others = drawn("wine", "none", methods=8, seeds=2, runs=RUNS, rng=rng)
    difference = others - baseline
    t = np.abs(difference.mean(-1)) / np.maximum(stats.sem(difference, axis=-1), 1e-12)
    plain = holm(2 * stats.t.sf(t, 1))
    assert (plain <= LEVEL).any(1).mean() > 0.3


SOME_SEEDS = ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])


def without_effect(data: str, arm: str, rng: np.random.Generator) -> Floats:
    """Differences of an arm and the baseline on 250 data sets, (data sets, seeds, folds).

    The mean over all data sets is the effect, and is taken away. What each data set and each fold
    has of its own stays.
    """
    part = RECORDED["folds"][data]
    method, baseline = (np.array(part["scores"][name]) * part["unit"] for name in (arm, "none"))
    return shifted(method - baseline, -(method - baseline).mean(), fold_step(data), rng)


def fold_step(data: str) -> float:
    return 0.0 if data == "diabetes" else float(RECORDED["folds"][data]["unit"])


@pytest.mark.parametrize("data", FOLDED)
def test_without_an_effect_folds_say_helps_or_hurts_in_at_most_one_run_in_twenty(
    data: str,
) -> None:
    part, rng = RECORDED["folds"][data], np.random.default_rng(3)
    overlap, step = part["held_out"] / part["trained_on"], fold_step(data)
    arms = [arm for arm in part["scores"] if arm != "none"]
    differences = [without_effect(data, arm, rng) for arm in arms]
    compared = 0
    for seeds in SOME_SEEDS:
        p = np.stack(
            [
                corrected_t(
                    difference[:, seeds].mean(1),
                    overlap=overlap,
                    rounding=step**2 / 6 / len(seeds),
                ).p
                for difference in differences
            ],
            axis=1,
        )  # (data sets, methods)
        compared += p.size
        assert (p <= LEVEL).mean() <= LEVEL
        assert (holm(p) <= LEVEL).any(1).mean() <= LEVEL
        for run in range(20):
            scores = {"none": {(seed, fold): 0.0 for seed in seeds for fold in range(5)}}
            for arm, difference in zip(arms, differences, strict=True):
                scores[arm] = {trial: float(difference[run][trial]) for trial in scores["none"]}
            verdicts = judge(scores, "none", granularity=step, overlap=overlap)[1:]
            assert [v.p for v in verdicts] == pytest.approx(p[run].tolist())
    assert compared >= 2000


def test_trials_of_one_split_counted_as_independent_would_find_effects_that_are_none() -> None:
    rng = np.random.default_rng(3)
    trials = without_effect("diabetes", "wide", rng).reshape(250, -1)
    assert (stats.ttest_1samp(trials, 0, axis=1).pvalue <= LEVEL).mean() > 0.065


# Scores that take two or three values in all cannot be found as often as the normal law says.
POWER_WITHIN = {
    "digits": 0.03, "diabetes": 0.03, "wine_narrow": 0.03, "breast_cancer": 0.06, "wine": 0.17
}  # fmt: skip


@pytest.mark.parametrize("methods", [1, 3])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("data", DATA)
def test_an_effect_of_known_size_is_found_at_the_power_stated(
    data: str, seeds: int, methods: int
) -> None:
    rng, step, power = np.random.default_rng(4), step_of(data), 0.8
    scatter = np.sqrt(2 * recorded(data, "none").var() + step**2 / 6)
    # The other methods have no effect, so Holm asks the level over their number of this one.
    effect = scatter * centre_needed(seeds - 1, LEVEL * RESERVE / methods, power) / seeds**0.5
    baseline, others = drawn(data, "none", methods=methods, seeds=seeds, runs=RUNS, rng=rng)
    others[:, 0] = shifted(others[:, 0], effect, step, rng)
    found = (p_holm(baseline, others, step)[:, 0] <= LEVEL).mean()
    assert found == pytest.approx(power, abs=POWER_WITHIN[data])


def least(enough: Callable[[int], bool], start: int) -> int:
    """The least number from `start` on that is enough, given that more never is less so."""
    low, high = start - 1, start
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


# Up to eight times the seeds at hand: further away, nearly half of the numbers are infinite, and
# the median of a few hundred runs is no steady number. The accuracies of `wine` take two values,
# of which three or five seeds make too few different t for a median to be held to.
FORETOLD = [
    *[(data, 1.0, seeds, 3) for data in DATA if data != "wine" for seeds in (3, 5, 10)],
    *[(data, 0.6, seeds, 1) for data in DATA if data != "wine" for seeds in (5, 10)],
    ("wine", 1.0, 10, 3),
    ("wine", 0.6, 10, 1),
]


@pytest.mark.parametrize("data, size, seeds, methods", FORETOLD)
def test_the_number_of_seeds_foretold_is_right_in_the_median(
    data: str, size: float, seeds: int, methods: int
) -> None:
    """Over runs with an effect of `size` standard deviations that end without a verdict."""
    rng, step = np.random.default_rng(5), step_of(data)
    effect = size * 2**0.5 * recorded(data, "none").std()

    def runs(seeds: int, count: int) -> tuple[Floats, Floats]:
        baseline, others = drawn(data, "none", methods=methods, seeds=seeds, runs=count, rng=rng)
        others[:, 0] = shifted(others[:, 0], effect, step, rng)
        return baseline, others

    def power(seeds: int) -> float:
        return float((p_holm(*runs(seeds, RUNS), step)[:, 0] <= LEVEL).mean())

    needed = least(lambda total: power(total) >= 0.8, seeds + 1)
    foretold = []
    for baseline, others in zip(*runs(seeds, 600), strict=True):
        verdict = judged(baseline, others, step)[0]
        if verdict.word == "no evidence yet":
            more = verdict.more_seeds
            foretold.append(np.inf if more is None else seeds + more)
    assert 0.7 <= np.median(foretold) / needed <= 1.3


@pytest.mark.parametrize("splits, share, size", [(5, 0.0, 1.0), (5, 0.08, 1.5), (10, 0.08, 0.7)])
def test_with_splits_that_seeds_share_the_number_foretold_is_rough(
    splits: int, share: float, size: float
) -> None:
    """Normal scatter of the seeds; `share` is the variance of the splits in units of theirs."""
    rng, overlap = np.random.default_rng(6), 1 / (splits - 1)

    def runs(seeds: int, count: int) -> Floats:
        own = share**0.5 * rng.standard_normal((count, 1, splits))
        return size + own + rng.standard_normal((count, seeds, splits))

    def power(seeds: int) -> float:
        test = corrected_t(runs(seeds, RUNS).mean(1), overlap=overlap, rounding=0.0)
        return float((test.p <= LEVEL).mean())

    needed, foretold = least(lambda total: power(total) >= 0.8, 1), []
    for difference in runs(3, 600):
        method = {trial: float(score) for trial, score in np.ndenumerate(difference)}
        verdict = judge(
            {"none": dict.fromkeys(method, 0.0), "it": method}, "none", overlap=overlap
        )[1]
        if verdict.word == "no evidence yet":
            foretold.append(np.inf if verdict.more_seeds is None else 3 + verdict.more_seeds)
    assert 0.6 <= np.median(foretold) / needed <= 1.5
