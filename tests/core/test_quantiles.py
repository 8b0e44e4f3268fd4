"""Quantiles of the Beta distribution, held against scipy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from vicinal.core import quantiles

SHAPES = (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 5.0, 30.0, 200.0, 1000.0)
#: Halfway between knots, where interpolation is worst, and everywhere else.
LOGITS = np.linspace(-36.7, 36.7, 3 * quantiles.KNOTS)


def tabulated(a: float, b: float) -> npt.NDArray[np.float64]:
    """Logits of the quantiles, by linear interpolation in the table."""
    knots = np.linspace(-quantiles.REACH, quantiles.REACH, quantiles.KNOTS)
    return np.interp(LOGITS, knots, quantiles.beta_logit_table(a, b))


def probability(value: npt.NDArray[np.float64], a: float, b: float) -> npt.NDArray[np.float64]:
    """P(X <= sigmoid(value)) for X of Beta(a, b), where the sigmoid is below one half."""
    exact = special.betainc(a, b, special.expit(value))
    # What underflows as a number has a probability all the same: x^a / (a B(a, b)) for tiny x.
    tail = a * value - math.log(a) - special.betaln(a, b)
    return np.where(value < -600, np.exp(np.minimum(tail, 0)), exact)


@pytest.mark.parametrize("a", SHAPES)
def test_quantiles_are_within_a_ten_thousandth_in_probability(a: float) -> None:
    for b in SHAPES:
        value = tabulated(a, b)
        below = probability(np.minimum(value, 0), a, b)
        above = probability(np.minimum(-value, 0), b, a)
        error = np.where(value < 0, below - special.expit(LOGITS), above - special.expit(-LOGITS))
        assert np.abs(error).max() < 1e-4, f"Beta({a}, {b})"


@pytest.mark.parametrize("a, b", [(0.01, 0.01), (0.2, 3.0), (1000.0, 1000.0)])
def test_tables_increase(a: float, b: float) -> None:
    table = quantiles.beta_logit_table(a, b)
    assert np.isfinite(table).all()
    assert (np.diff(table) > 0).all()


@pytest.mark.parametrize("a, b", [(0.3, 0.7), (2.0, 5.0), (1.0, 1.0)])
def test_quantiles_are_the_sigmoids_of_the_table(a: float, b: float) -> None:
    found = quantiles.beta_quantile(LOGITS, a, b)
    np.testing.assert_allclose(found, special.expit(tabulated(a, b)), rtol=1e-9)
    exact = stats.beta(a, b).ppf([0.001, 0.25, 0.5, 0.9])
    np.testing.assert_allclose(
        quantiles.beta_quantile(special.logit([0.001, 0.25, 0.5, 0.9]), a, b), exact, rtol=1e-3
    )


def test_the_extreme_uniform_numbers_are_inside_the_table() -> None:
    least = 0.5 * 2.0**-52
    ends = special.logit(np.array([least, 1 - least]))
    assert (np.abs(ends) < quantiles.REACH - quantiles.SPACING).all()
    assert np.isfinite(quantiles.beta_quantile(ends, 0.01, 0.01)).all()
