"""Quantiles of the Beta distribution, exact at the extremes and cheap enough for every batch.

A ratio of two float32 Gammas is wrong for small shapes: at Beta(0.01, 0.01) both underflow, and 18
% of the draws land in the middle instead of 0.2 %. Here one uniform number goes through the
inverse of the distribution function, tabulated once per pair of shapes between the logits of both
sides. In these coordinates the curve is smooth, and straight where the tails are, so that linear
interpolation is enough: the table is off by less than 1e-4 in probability for shapes from 0.01 to
    1,000 (tested).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: The logit of the smallest 52-bit uniform number is -36.7.
REACH = 37.0
KNOTS = 4097
SPACING = 2 * REACH / (KNOTS - 1)


@functools.lru_cache(maxsize=256)
def beta_logit_table(a: float, b: float) -> Floats:
    """Logits of Beta(a, b)'s quantiles at KNOTS evenly spaced logits of probability.

    Args:
        a: first shape, > 0.
        b: second shape, > 0.

    Returns:
        (KNOTS,) float64, increasing.
    """
    logit = np.linspace(-REACH, REACH, KNOTS)
    lower = _log_quantile(a, b, logit)  # log x, exact where x is small
    upper = _log_quantile(b, a, -logit)  # log (1 - x), exact where x is near one
    return lower - upper


def _log_quantile(a: float, b: float, logit: Floats) -> Floats:
    """The log of x with P(X <= x) = sigmoid(logit) for X of Beta(a, b)."""
    from scipy import special

    # Where x is tiny, P(X <= x) = x^a / (a B(a, b)) to first order, and x itself may underflow.
    log_probability = -np.logaddexp(0.0, -logit)
    tail = (log_probability + math.log(a) + special.betaln(a, b)) / a
    probability = special.expit(logit)
    complement = special.expit(-logit)
    # The inverse of the complement keeps the digits of probabilities near one.
    x = np.where(
        logit < 0,
        special.betaincinv(a, b, probability),
        special.betainccinv(a, b, complement),
    )
    with np.errstate(divide="ignore"):
        exact = np.log(x)
    return np.where(tail < -30.0, tail, exact)


def beta_quantile(logit: Floats, a: float, b: float) -> Floats:
    """Quantiles of Beta(a, b). logit: any shape, the logits of the probabilities."""
    table = beta_logit_table(a, b)
    place = (logit + REACH) * (1 / SPACING)
    knot = place.astype(np.int64)
    left = table[knot]
    value = left + (table[knot + 1] - left) * (place - knot)
    with np.errstate(over="ignore"):
        result: Floats = 1 / (1 + np.exp(-value))
    return result
