from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vicinal.compare.verdict import Verdict, describe

HELPS = Verdict(
    method="mixup",
    word="helps",
    difference=0.0132,
    low=0.0041,
    high=0.0223,
    p=0.004,
    p_holm=0.012,
    pairs=5,
    more_seeds=None,
    seeds=5,
    splits=1,
)
UNCLEAR = replace(HELPS, word="no evidence yet", low=-0.0041, p_holm=0.31, more_seeds=7)
NAN = {"low": math.nan, "high": math.nan, "p": math.nan, "p_holm": math.nan}


def test_a_verdict_on_accuracy_is_told_in_points() -> None:
    assert describe(HELPS, "accuracy") == "helps: +1.3 points [+0.4, +2.2], p = 0.012"


def test_another_metric_is_told_in_itself_with_the_digits_its_interval_bears() -> None:
    rmse = replace(HELPS, word="hurts", difference=2.134, low=1.02, high=3.2481)
    assert describe(rmse, "rmse") == "hurts: +2.1 RMSE [+1.0, +3.2], p = 0.012"
    small = replace(HELPS, difference=0.01317, low=0.01309, high=0.01325)
    assert describe(small, "r2") == "helps: +0.013170 R² [+0.013090, +0.013250], p = 0.012"


def test_every_metric_has_a_unit_as_it_is_shown() -> None:
    assert "points" in describe(HELPS, "macro_accuracy")
    assert " ECE " in describe(HELPS, "ece")


@pytest.mark.parametrize(
    "more, said",
    [
        (1, "about 1 more seed would tell"),
        (7, "about 7 more seeds would tell"),
        (137, "about 140 more seeds would tell"),
        (None, "more seeds are not expected to tell"),
    ],
)
def test_the_number_of_seeds_is_told_as_roughly_as_it_is_known(more: int | None, said: str) -> None:
    line = describe(replace(UNCLEAR, more_seeds=more), "accuracy")
    assert line == f"no evidence yet: +1.3 points [-0.4, +2.2], p = 0.31 ({said})"


def test_a_small_p_is_told_by_its_bound() -> None:
    assert describe(replace(HELPS, p_holm=3e-7), "accuracy").endswith("p < 0.001")


@pytest.mark.parametrize(
    "verdict, remark",
    [
        (replace(HELPS, word="too few seeds", **NAN), "a verdict takes at least 2 seeds"),
        (replace(HELPS, word="diverged", **NAN), "scores that are no numbers allow no verdict"),
        (replace(UNCLEAR, more_seeds=None, seeds=1, splits=5), "a second seed would show"),
        (
            replace(UNCLEAR, low=math.nan, high=math.nan, p=1, p_holm=1, more_seeds=None),
            "the seeds change nothing",
        ),
        (
            replace(UNCLEAR, difference=0.0, low=0.0, high=0.0, p=1, p_holm=1, more_seeds=None),
            "no difference seen",
        ),
    ],
)
def test_why_there_is_no_verdict_is_said(verdict: Verdict, remark: str) -> None:
    assert f"({remark}" in describe(verdict, "accuracy")


def test_no_difference_has_no_sign() -> None:
    for difference in (0.0, -0.00001):
        line = describe(replace(UNCLEAR, difference=difference), "accuracy")
        assert line.startswith("no evidence yet: 0.0 points")


def test_nothing_to_compare_is_said_and_missing_pairs_are_counted() -> None:
    nothing = replace(HELPS, word="too few seeds", difference=math.nan, pairs=0, missing=5, **NAN)
    line = describe(nothing, "accuracy")
    assert line.startswith("too few seeds: nothing to compare")
    assert line.endswith("; 5 of 5 pairs are missing")
    assert "missing" not in describe(HELPS, "accuracy")


def test_the_baseline_is_only_named() -> None:
    assert describe(replace(HELPS, word="baseline"), "accuracy") == "baseline"
