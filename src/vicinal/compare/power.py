"""How many more seeds would give a verdict.

The plain way takes the difference and the scatter seen as true and looks up the number of pairs
that a t-test needs. With few pairs that misleads: the size of a difference is over-estimated by
its own noise, its scatter under-estimated, and the question is only asked where the test has
just failed. Over runs with a known effect the plain number has its median between a tenth and
more than twice of what is needed.

So the effect is estimated without bias in the median, *given that there was no verdict*: it is the
one under which |t| would, in half of all runs that end without a verdict, be below the |t| seen.
The number needed falls with the effect, so its median over such runs is the right one, whatever
the true effect and the number of pairs at hand. Half of the numbers told are too low, half too
high, and for a weak effect many of the latter are infinite: nothing better can be known.

Where all seeds share the same splits, part of the scatter is the splits' own and no seed removes
it. That part is known from a handful of splits, so the number is rough, and is told for the near
future only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_SEEDS = 1000
"""More seeds than this are not within reason."""

FORESEEN = 3
"""With splits that all seeds share, totals are told up to this multiple of the seeds at hand."""

_NODES = 512


@lru_cache(maxsize=4096)
def _relative_spread(freedom: int) -> NDArray[np.float64]:
    """Equally likely values of an estimated over a true standard deviation. Returns (512,)."""
    from scipy import stats

    chances = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(np.sqrt(stats.chi2.ppf(chances, freedom) / freedom))


def chance_below(t: ArrayLike, freedom: int, centre: ArrayLike) -> NDArray[np.float64]:
    """The chance that |T| <= t for a noncentral t; the arguments broadcast.

    A mean over the distribution of the estimated scatter. `scipy.stats.nct.cdf` is exact but
    gives NaN far from its centre, where the search for an effect must pass.

    Args:
        t: not negative.
        freedom: degrees of freedom.
        centre: noncentrality, the true mean in units of its standard error.
    """
    from scipy.special import ndtr

    spread = _relative_spread(freedom)
    bound = np.asarray(t, dtype=np.float64)[..., None] * spread
    middle = np.asarray(centre, dtype=np.float64)[..., None]
    return np.asarray((ndtr(bound - middle) - ndtr(-bound - middle)).mean(-1))


def critical_t(freedom: int, level: float) -> float:
    """The |t| that a two-sided test at `level` asks for."""
    from scipy import stats

    return float(stats.t.isf(level / 2, freedom))


@lru_cache(maxsize=4096)
def centre_needed(freedom: int, level: float, power: float) -> float:
    """The noncentrality at which a two-sided t-test finds the effect with chance `power`."""
    from scipy import optimize, stats

    critical = critical_t(freedom, level)
    # Where scatter and mean each fall on the right side with chance sqrt(power), both do with
    # chance power, so the root lies below.
    each = math.sqrt(power)
    spread = math.sqrt(float(stats.chi2.ppf(each, freedom)) / freedom)
    highest = critical * spread + float(stats.norm.ppf(each)) + 1
    if 1 - float(chance_below(critical, freedom, 0.0)) >= power:
        return 0.0
    root = optimize.brentq(
        lambda centre: 1 - float(chance_below(critical, freedom, centre)) - power, 0.0, highest
    )
    return float(root)


def centre_likely(t: float, freedom: int, critical: float) -> float:
    """The noncentrality under which half of the |T| below `critical` are below `t`.

    Returns:
        0 where `t` is below the median that no effect at all would give.
    """
    from scipy import optimize

    def excess(centre: float) -> float:
        below, seen = chance_below([t, critical], freedom, centre)
        return float(below / seen) - 0.5

    if excess(0.0) <= 0:
        return 0.0
    # Beyond, a |T| below the critical value is too rare to be computed with.
    highest = critical * float(_relative_spread(freedom)[-1]) + 5
    if t >= critical or excess(highest) > 0:
        return highest
    return float(optimize.brentq(excess, 0.0, highest, xtol=1e-6))


def more_seeds(
    t: float,
    seeds: int,
    *,
    units: int,
    overlap: float,
    split_share: float | None,
    level: float,
    power: float,
) -> int | None:
    """How many more seeds would give a verdict with chance `power`.

    Args:
        t: |t| seen, below the critical value.
        seeds: number of different seeds behind it.
        units: number of values that were tested, each a seed or the mean of a split.
        overlap: test over training samples where the units share training samples, else 0.
        split_share: None where each seed brings units of its own. Where the same splits are
            trained with every seed, the share of the units' variance that belongs to the splits,
            in [0, 1]: more seeds leave it as it is.
        level: of the test this method would have to pass.
        power: in (0, 1).

    Returns:
        At least 1, or None where `MOST_SEEDS`, or `FORESEEN` times the seeds, would not do.
    """
    freedom = units - 1
    likely = centre_likely(t, freedom, critical_t(freedom, level))
    if likely == 0:
        return None
    if split_share is not None:
        # Variance left of a split's mean, relative to now: share + (1 - share) seeds / total.
        left = (likely / centre_needed(freedom, level, power)) ** 2
        if left <= split_share:
            return None
        total = math.ceil(seeds * (1 - split_share) / (left - split_share))
        return max(1, total - seeds) if total <= FORESEEN * seeds else None

    effect = likely * math.sqrt(1 / units + overlap)  # in standard deviations of a unit

    def enough(more: int) -> bool:
        then = round(units * (seeds + more) / seeds)
        return centre_needed(then - 1, level, power) * math.sqrt(1 / then + overlap) <= effect

    if not enough(MOST_SEEDS):
        return None
    low, high = 0, MOST_SEEDS  # `high` is enough; `low` is not, or is no more seed at all
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
