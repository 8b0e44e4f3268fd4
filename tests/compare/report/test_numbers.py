"""Numbers as readers see them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal.compare.report.numbers import (
    NOTHING,
    Score,
    count,
    duration,
    listed,
    mean,
    number,
    probability,
)


def test_differences_carry_their_sign_and_nothing_rounds_to_minus_zero() -> None:
    score = Score.of("accuracy", 0.9)
    assert score.difference(0.0213) + score.unit == "+2.1 points"
    assert score.difference(-0.0213) == "−2.1"
    assert score.difference(-0.0004) == score.difference(0.0004) == "0.0"
    assert score.between(-0.01, 0.02) == "−1.0 to +2.0"


def test_there_is_a_dash_where_there_is_no_number() -> None:
    score = Score.of("accuracy", math.nan)
    assert score.value(math.nan) == score.difference(math.nan) == NOTHING
    assert number(None, 2) == probability(math.nan) == duration(math.inf) == NOTHING
    assert score.between(math.nan, 0.1) == ""


@pytest.mark.parametrize(
    ("typical", "value", "difference"),
    [(53.0, "52.83", "+0.08"), (0.0123, "52.83000", "+0.08032"), (4321.0, "53", "0")],
)
def test_differences_of_amounts_are_no_more_exact_than_the_amounts(
    typical: float, value: str, difference: str
) -> None:
    score = Score.of("rmse", typical)
    assert score.value(52.83) == value
    assert score.difference(0.08032) == difference


@given(st.floats(0.0, 1e6))
def test_durations_are_told_to_within_a_twentieth(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    told = sum(float(n) * units[u] for n, u in zip(words[::2], words[1::2], strict=True))
    assert told == pytest.approx(seconds, rel=0.05, abs=0.05)


def test_words_around_numbers() -> None:
    assert [count(1, "seed"), count(1200, "seed")] == ["1 seed", "1,200 seeds"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert [probability(0.0004), probability(0.0123)] == ["< 0.001", "0.012"]


def test_the_mean_is_that_of_the_known_values() -> None:
    assert mean([1.0, math.nan, 3.0]) == 2.0
    assert math.isnan(mean([math.nan]))
