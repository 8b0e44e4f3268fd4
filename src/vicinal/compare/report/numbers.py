"""How numbers are written for people to read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vicinal.evaluate import METRICS, Metric

MINUS = "\N{MINUS SIGN}"
#: Stands where there is no number.
NOTHING = "\N{EN DASH}"


def known(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def mean(values: Iterable[float]) -> float:
    """Of the finite values; NaN where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


@dataclass(frozen=True)
class Score:
    """The metric that decides, and how its values are written in one report.

    name: in the records.
    places: decimals of an amount, whose differences would else be written more exactly than the
        amount itself; None leaves them to the metric.
    """

    name: str
    metric: Metric
    places: int | None

    @classmethod
    def of(cls, name: str, typical: float) -> Score:
        """For values of a metric that are about as large as a typical one."""
        metric = METRICS[name]
        if metric.style != "amount" or not math.isfinite(typical) or typical == 0:
            return cls(name, metric, None)
        return cls(name, metric, min(9, max(0, 3 - math.floor(math.log10(abs(typical))))))

    def value(self, value: float) -> str:
        """A value: `91.3 %`."""
        if self.places is not None or not math.isfinite(value):
            return number(value, self.places or 0)
        return _typeset(self.metric.format(value))

    @property
    def unit(self) -> str:
        """Of differences, with the space before it: shares differ by percentage points."""
        return " points" if self.metric.style == "share" else ""

    def difference(self, value: float) -> str:
        """A difference of two values, with its sign and without its unit: `+2.1`."""
        if self.places is not None or not math.isfinite(value):
            return number(value, self.places or 0, sign=True)
        return number(100 * value, 1, sign=True) if self.unit else number(value, 3, sign=True)

    def between(self, low: float, high: float) -> str:
        """The ends of an interval of a difference: `+0.4 to +2.1`; empty where there is none."""
        if not (known(low) and known(high)):
            return ""
        return " to ".join(self.difference(end) for end in (low, high))


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """A number with a true minus sign, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return _typeset(f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}")


def _typeset(text: str) -> str:
    """A true minus sign, and no sign at all before what was rounded to zero."""
    if text[:1] in "+-" and not any(digit in "123456789" for digit in text):
        text = text[1:]
    return text.replace("-", MINUS)


def probability(value: float) -> str:
    """A p-value; nobody should read more than three decimals into one."""
    if not math.isfinite(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it: `0.4 s`, `3 min 20 s`, `2 h 05 min`."""
    if not math.isfinite(seconds):
        return NOTHING
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02d} min"


def count(amount: int, noun: str, plural: str = "") -> str:
    """`1 seed`, `5 seeds`."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
