from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vicinal.compare.statistics import RESERVE, Verdict, holm, judge

Scores = dict[tuple[int, int], float]


def seeded(scores: Sequence[float]) -> Scores:
    """A score per seed, on one split."""
    return {(seed, 0): score for seed, score in enumerate(scores)}


def folded(scores: Sequence[Sequence[float]]) -> Scores:
    """A row of scores per seed, one per split."""
    return {(s, f): score for s, row in enumerate(scores) for f, score in enumerate(row)}


def verdict_on(method: Scores, baseline: Scores, **settings: float) -> Verdict:
    return judge({"none": baseline, "it": method}, "none", **settings)[1]


BASE = [0.71, 0.74, 0.69, 0.73, 0.72]
BETTER = [0.78, 0.80, 0.77, 0.79, 0.81]

measured = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=8)


# What is tested


def test_on_one_split_p_and_interval_are_those_of_the_paired_t_test_at_the_reserved_level() -> None:
    verdict = verdict_on(seeded(BETTER), seeded(BASE))
    plain = stats.ttest_rel(BETTER, BASE)
    assert verdict.p == pytest.approx(plain.pvalue / RESERVE)
    interval = plain.confidence_interval(1 - 0.05 * RESERVE)
    assert (verdict.low, verdict.high) == pytest.approx((interval.low, interval.high))
    assert verdict.difference == pytest.approx(np.mean(BETTER) - np.mean(BASE))
    assert (verdict.word, verdict.pairs, verdict.seeds, verdict.splits) == ("helps", 5, 5, 1)


def test_folds_that_overlap_widen_the_error_as_nadeau_and_bengio_say() -> None:
    verdict = verdict_on(folded([BETTER]), folded([BASE]), overlap=1 / 4)
    difference = np.subtract(BETTER, BASE)
    error = difference.std(ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    expected = 2 * stats.t.sf(difference.mean() / error, 4) / RESERVE
    assert verdict.p == pytest.approx(expected)


def test_new_splits_for_every_seed_are_the_test_of_bouckaert_and_frank() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0.3, 1, size=(3, 5))
    trials = {(s, 5 * s + f): float(scores[s, f]) for s in range(3) for f in range(5)}
    verdict = verdict_on(trials, dict.fromkeys(trials, 0.0), overlap=1 / 4)
    error = scores.std(ddof=1) * math.sqrt(1 / 15 + 1 / 4)
    expected = 2 * stats.t.sf(abs(scores.mean()) / error, 14) / RESERVE
    assert verdict.p == pytest.approx(min(1, expected))
    assert (verdict.seeds, verdict.splits) == (3, 15)


def test_repeating_a_split_with_seeds_that_change_nothing_is_no_more_evidence() -> None:
    once = verdict_on(folded([BETTER]), folded([BASE]), overlap=1 / 4)
    often = verdict_on(folded([BETTER] * 10), folded([BASE] * 10), overlap=1 / 4)
    assert often.p == pytest.approx(once.p)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_seeds_within_folds_remove_the_scatter_of_training() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.05, size=(8, 5))
    scores = 0.75 + noise - noise.mean(0) + np.linspace(0, 0.01, 5)
    few = verdict_on(folded(scores[:2].tolist()), folded([[0.7] * 5] * 2), overlap=1 / 4)
    many = verdict_on(folded(scores.tolist()), folded([[0.7] * 5] * 8), overlap=1 / 4)
    assert many.p < few.p / 10


@settings(max_examples=5)  # statsmodels collects garbage on every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(np.array(p)), expected)
    np.testing.assert_allclose(holm(np.array([p, p[::-1]]))[0], expected)


def test_p_is_corrected_for_every_method_that_was_tested_and_no_other() -> None:
    rng = np.random.default_rng(2)
    scores = {name: seeded(rng.normal(size=5).tolist()) for name in ("none", "a", "b", "c")}
    scores["d"] = {(0, 0): 0.5}
    verdicts = judge(scores, "none")
    tested = [v for v in verdicts if v.method in "abc"]
    expected = multipletests([v.p for v in tested], method="holm")[1]
    assert [v.p_holm for v in tested] == pytest.approx(expected.tolist())
    assert math.isnan(verdicts[0].p_holm)
    assert math.isnan(verdicts[-1].p_holm)


# Directions


def test_a_metric_that_should_fall_turns_the_word_and_not_the_difference() -> None:
    up = verdict_on(seeded(BETTER), seeded(BASE))
    down = verdict_on(seeded(BETTER), seeded(BASE), higher_is_better=False)
    assert (up.word, down.word) == ("helps", "hurts")
    assert up.difference == down.difference > 0


def test_method_and_baseline_change_places_with_the_sign_alone() -> None:
    one, other = (
        verdict_on(seeded(BETTER), seeded(BASE)),
        verdict_on(seeded(BASE), seeded(BETTER)),
    )
    assert (one.word, other.word) == ("helps", "hurts")
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == pytest.approx(other.p)


@given(measured, st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-10, 10))
def test_the_unit_of_the_metric_and_the_order_of_seeds_change_no_p(
    scores: list[float], seed: int, scale: float, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    other = rng.integers(0, 1000, size=len(scores)) / 1000
    first = verdict_on(seeded(scores), seeded(other.tolist()), granularity=0.001)
    order = rng.permutation(len(scores))
    moved, base = (
        (np.array(arm)[order] * scale + offset).tolist() for arm in (scores, other.tolist())
    )
    second = verdict_on(seeded(moved), seeded(base), granularity=0.001 * scale)
    assert second.p == pytest.approx(first.p, rel=1e-6)
    assert second.difference == pytest.approx(first.difference * scale, rel=1e-6, abs=1e-9)


@given(measured, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.001, 0.05]))
def test_for_a_single_method_a_verdict_is_an_interval_without_zero(
    scores: list[float], seed: int, step: float
) -> None:
    other = np.random.default_rng(seed).integers(0, 300, size=len(scores)) / 1000
    verdict = verdict_on(seeded(scores), seeded(other.tolist()), granularity=step)
    if not math.isnan(verdict.low):
        assert (verdict.low > 0 or verdict.high < 0) == (verdict.word in ("helps", "hurts"))


# Scores that move in steps


def test_two_seeds_with_one_difference_are_no_evidence() -> None:
    for granularity in (0.0, 1 / 36):
        verdict = verdict_on(
            seeded([35 / 36, 34 / 36]), seeded([34 / 36, 33 / 36]), granularity=granularity
        )
        assert verdict.word == "no evidence yet"
        assert verdict.p > 0.05


@pytest.mark.parametrize("seeds", [2, 5, 50])
def test_where_the_seeds_change_nothing_there_is_neither_interval_nor_verdict(seeds: int) -> None:
    # The two differences are 0.1 both, and differ in the last bit.
    method, baseline = seeded([0.3, 0.8] * seeds), seeded([0.2, 0.7] * seeds)
    verdict = verdict_on(method, baseline)
    assert (verdict.word, verdict.p, verdict.more_seeds) == ("no evidence yet", 1.0, None)
    assert math.isnan(verdict.low)
    assert math.isnan(verdict.high)


def test_half_a_step_of_error_stands_in_for_scatter_that_steps_hide() -> None:
    verdict = verdict_on(seeded([0.75] * 5), seeded([0.75 - 3 / 36] * 5), granularity=1 / 36)
    # Two uniform errors of a step's width: variance 1/6 step^2 a pair.
    t = 3 / math.sqrt(1 / 6 / 5)
    assert verdict.p == pytest.approx(2 * stats.t.sf(t, 4) / RESERVE)
    assert verdict.word == "helps"


def test_averaging_seeds_averages_the_error_of_the_steps() -> None:
    base, method = [[0.5] * 5] * 4, [[0.5 + 1 / 36] * 5] * 4
    verdict = verdict_on(folded(method), folded(base), granularity=1 / 36, overlap=1 / 4)
    t = 1 / math.sqrt(1 / 6 / 4 * (1 / 5 + 1 / 4))
    assert verdict.p == pytest.approx(2 * stats.t.sf(t, 4) / RESERVE)


@pytest.mark.parametrize("granularity", [0.0, 1 / 36])
def test_a_method_equal_to_the_baseline_has_p_one_and_no_number_of_seeds(
    granularity: float,
) -> None:
    verdict = verdict_on(seeded(BASE), seeded(BASE), granularity=granularity)
    assert (verdict.word, verdict.p, verdict.p_holm) == ("no evidence yet", 1.0, 1.0)
    assert (verdict.difference, verdict.more_seeds) == (0.0, None)
    assert verdict.low <= 0 <= verdict.high


# Trials that are missing


def test_pairs_of_which_one_is_missing_are_left_out_and_counted() -> None:
    method, baseline = seeded(BETTER), seeded(BASE)
    del method[1, 0], baseline[3, 0]
    verdict = verdict_on(method, baseline)
    kept = [0, 2, 4]
    expected = stats.ttest_rel([BETTER[i] for i in kept], [BASE[i] for i in kept]).pvalue
    assert verdict.p == pytest.approx(expected / RESERVE)
    assert (verdict.pairs, verdict.missing, verdict.seeds) == (3, 2, 3)


def test_a_split_with_fewer_seeds_counts_as_much_as_another() -> None:
    method = folded([[0.8, 0.6], [0.9, 0.7]])
    del method[1, 0]
    verdict = verdict_on(method, folded([[0.5, 0.5]] * 2))
    assert verdict.difference == pytest.approx(((0.8 - 0.5) + (0.65 - 0.5)) / 2)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_method_that_diverges_in_one_seed_gets_no_verdict_from_the_others(score: float) -> None:
    verdict = verdict_on(seeded([*BETTER, score]), seeded([*BASE, 0.7]))
    assert verdict.word == "diverged"
    assert verdict.difference == pytest.approx(np.mean(BETTER) - np.mean(BASE))
    assert math.isnan(verdict.p)
    assert (verdict.pairs, verdict.missing, verdict.more_seeds) == (5, 1, None)


def test_a_baseline_that_diverges_in_one_seed_costs_that_pair() -> None:
    with_it = verdict_on(seeded([*BETTER, 0.8]), seeded([*BASE, math.nan]))
    without = verdict_on(seeded(BETTER), seeded(BASE))
    assert (with_it.p, with_it.word) == (without.p, without.word)
    assert with_it.missing == 1


@pytest.mark.parametrize(
    "method", [{}, {(0, 0): 0.8}, {(7, 0): 0.8, (8, 0): 0.9}], ids=["none", "one", "strangers"]
)
def test_fewer_than_two_pairs_are_too_few(method: Scores) -> None:
    verdict = verdict_on(method, seeded(BASE))
    assert verdict.word == "too few seeds"
    assert math.isnan(verdict.p_holm)
    assert math.isnan(verdict.low)
    assert verdict.more_seeds is None


def test_one_seed_over_folds_gives_a_verdict_and_no_number_of_seeds() -> None:
    sure = verdict_on(folded([BETTER]), folded([BASE]), overlap=1 / 4)
    unsure = verdict_on(folded([[0.7, 0.75, 0.7, 0.75, 0.7]]), folded([BASE]), overlap=1 / 4)
    assert sure.word == "helps"
    assert (unsure.word, unsure.more_seeds) == ("no evidence yet", None)


# The number of seeds


def test_more_methods_without_a_verdict_ask_for_more_seeds() -> None:
    unclear = seeded([0.73, 0.74, 0.72, 0.74, 0.76])
    alone = verdict_on(unclear, seeded(BASE)).more_seeds
    rng = np.random.default_rng(5)
    scores = {"none": seeded(BASE), "it": unclear}
    scores |= {f"other {i}": seeded(rng.normal(0.718, 0.02, 5).tolist()) for i in range(4)}
    among = judge(scores, "none")[1]
    assert among.word == "no evidence yet"
    assert alone is not None
    assert among.more_seeds is not None
    assert among.more_seeds > alone


def test_methods_that_have_their_verdict_do_not_add_to_the_seeds_of_the_others() -> None:
    unclear = seeded([0.73, 0.74, 0.72, 0.74, 0.76])
    sure = {f"sure {i}": seeded([score + 0.2 for score in BETTER]) for i in range(3)}
    alone = judge({"none": seeded(BASE), "it": unclear}, "none")[1]
    among = judge({"none": seeded(BASE), "it": unclear} | sure, "none")
    assert [v.word for v in among[2:]] == ["helps"] * 3
    assert among[1].more_seeds == alone.more_seeds is not None


# What judge is given and gives


def test_verdicts_come_in_the_order_of_the_methods_with_the_baseline_among_them() -> None:
    scores = {"b": seeded(BETTER), "none": seeded(BASE), "a": seeded(BASE)}
    verdicts = judge(scores, "none")
    assert [v.method for v in verdicts] == ["b", "none", "a"]
    assert verdicts[1].word == "baseline"
    assert judge({"none": seeded(BASE)}, "none")[0].word == "baseline"


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: judge({"a": {}}, "none"), "baseline"),
        (lambda: judge({"a": {}}, "a", granularity=-1.0), "granularity"),
        (lambda: judge({"a": {}}, "a", overlap=math.nan), "overlap"),
        (lambda: judge({"a": {}}, "a", level=0.0), "level"),
        (lambda: judge({"a": {}}, "a", power=1.0), "power"),
    ],
)
def test_arguments_out_of_range_are_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
