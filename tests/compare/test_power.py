from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.power import TTestPower

from vicinal.compare.power import (
    FORESEEN,
    MOST_SEEDS,
    centre_likely,
    centre_needed,
    chance_below,
    critical_t,
    more_seeds,
)

PLAIN = {"overlap": 0.0, "split_share": None, "level": 0.05, "power": 0.8}


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 99])
def test_the_noncentral_t_agrees_with_scipy(freedom: int) -> None:
    t = np.array([0.5, 2.0, 4.0])
    for centre in (0.0, 1.0, 3.0):
        exact = stats.nct.cdf(t, freedom, centre) - stats.nct.cdf(-t, freedom, centre)
        np.testing.assert_allclose(chance_below(t, freedom, centre), exact, atol=2e-4)


@pytest.mark.parametrize("pairs", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_centre_needed_has_the_power_that_scipy_says(pairs: int, level: float) -> None:
    # The other tail has a chance below 1e-5 here. statsmodels' TTestPower adds it and, depending
    # on the arguments, becomes NaN by it.
    centre = centre_needed(pairs - 1, level, 0.8)
    power = stats.nct.sf(critical_t(pairs - 1, level), pairs - 1, centre)
    assert power == pytest.approx(0.8, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 4, 30])
@pytest.mark.parametrize("centre", [1.0, 2.5])
def test_the_likely_centre_is_right_in_the_median_of_runs_without_a_verdict(
    freedom: int, centre: float
) -> None:
    critical = critical_t(freedom, 0.05)

    def below(t: float) -> float:
        law = stats.nct(freedom, centre)
        return float(law.cdf(t) - law.cdf(-t))

    middle = optimize.brentq(lambda t: below(t) - below(critical) / 2, 1e-6, critical)
    assert centre_likely(middle, freedom, critical) == pytest.approx(centre, rel=0.02)


@given(st.floats(0, 1), st.integers(2, 40))
def test_a_clearer_difference_asks_for_no_more_seeds(share: float, seeds: int) -> None:
    critical = critical_t(seeds - 1, 0.05)
    weaker, clearer = (
        more_seeds(critical * part, seeds, units=seeds, **PLAIN)
        for part in (share * 0.95, share * 0.95 + 0.04)
    )
    assert clearer is None or clearer >= 1
    if weaker is not None:
        assert clearer is not None
        assert clearer <= weaker <= MOST_SEEDS


@pytest.mark.parametrize("t, seeds", [(1.5, 5), (1.2, 10), (2.0, 3)])
def test_with_the_seeds_foretold_the_likely_effect_has_the_power_and_with_one_fewer_not(
    t: float, seeds: int
) -> None:
    more = more_seeds(t, seeds, units=seeds, **PLAIN)
    assert more is not None
    effect = centre_likely(t, seeds - 1, critical_t(seeds - 1, 0.05)) / seeds**0.5
    reached, before = (
        TTestPower().power(effect, seeds + extra, 0.05) for extra in (more, more - 1)
    )
    assert before - 2e-3 < 0.8 < reached + 2e-3


def test_no_difference_is_not_worth_any_number_of_seeds() -> None:
    assert more_seeds(0.0, 5, units=5, **PLAIN) is None
    # Without an effect half of all runs lie below this t.
    half = stats.t.isf(0.25 * 0.95 + 0.025, 4)
    assert more_seeds(half * 0.99, 5, units=5, **PLAIN) is None


def test_what_splits_share_cannot_be_outnumbered() -> None:
    # Ever more splits of the same samples leave an error of scatter * sqrt(overlap).
    loose = more_seeds(1.0, 3, units=15, **PLAIN)
    tight = more_seeds(1.0, 3, units=15, **{**PLAIN, "overlap": 0.25})
    assert loose is not None
    assert tight is None


def test_the_splits_own_scatter_bounds_what_seeds_can_do() -> None:
    free, bound, hopeless = (
        more_seeds(2.0, 4, units=5, **{**PLAIN, "overlap": 0.25, "split_share": share})
        for share in (0.0, 0.2, 1.0)
    )
    assert free is not None
    assert bound is not None
    assert free < bound <= (FORESEEN - 1) * 4
    assert hopeless is None


def test_splits_that_seeds_share_allow_no_far_forecast() -> None:
    settings = {**PLAIN, "overlap": 0.25, "split_share": 0.0}
    told = [more_seeds(t, 3, units=5, **settings) for t in np.linspace(0, 2.7, 40)]
    assert None in told
    assert max(more for more in told if more is not None) <= (FORESEEN - 1) * 3
