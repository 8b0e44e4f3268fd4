"""Where a value lies in a drawing.

The figures are plain SVG that the page's template writes: they take their colours from the page, in
light and in dark, their letters stay readable on a telephone, and all names stand in HTML, in any
script. A plotting library's SVG does none of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vicinal.compare.report.numbers import number


@dataclass(frozen=True)
class Axis:
    """A linear scale with round ticks.

    low, high: its ends. ticks: values to mark, within them. decimals: that tell ticks apart.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    @classmethod
    def around(
        cls,
        values: Iterable[float],
        *,
        include: Iterable[float] = (),
        ticks: int = 4,
        margin: float = 0.0,
        whole: bool = False,
    ) -> Axis:
        """A scale on which all finite values have a place.

        Args:
            values: to be shown.
            include: further values that the scale has to reach.
            ticks: about how many.
            margin: room beyond the outermost values, as a share of their span.
            whole: ticks are whole numbers.
        """
        finite = [value for value in (*values, *include) if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if low == high:
            # One value: give it a span that suits its size, so that it lies in the middle.
            room = abs(low) / 10 or 0.5
            low, high = low - room, high + room
        room = margin * (high - low)
        low, high = low - room, high + room
        step = _round_step((high - low) / ticks)
        step = max(1.0, math.ceil(step)) if whole else step
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        # 2.5 and its like need one decimal more than their power of ten.
        decimals += round(step * 10**decimals, 6) % 1 != 0
        return cls(low, high, tuple(i * step for i in range(first, last + 1)), decimals)

    def share(self, value: float) -> float:
        """How far along the scale, 0 to 1; what lies beyond an end is put there."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def percent(self, value: float) -> str:
        """How far along the scale, as CSS and SVG write it."""
        return f"{100 * self.share(value):.2f}%"

    def label(self, tick: float) -> str:
        """A tick in words."""
        return number(tick, self.decimals)


def _round_step(span: float) -> float:
    """Of 1, 2, 2.5, 5 times a power of ten, the one that is nearest to a span."""
    power = 10.0 ** math.floor(math.log10(span))
    return power * min((1, 2, 2.5, 5, 10), key=lambda step: abs(math.log(step * power / span)))


@dataclass(frozen=True)
class Panel:
    """A plot with two axes, drawn in a box of fixed proportions that scales as a whole.

    left, right, top, bottom: edges of the plot in the box's units, about a pixel each.
    """

    x: Axis
    y: Axis
    width: float = 250.0
    height: float = 140.0
    left: float = 34.0
    right: float = 242.0
    top: float = 8.0
    bottom: float = 120.0

    def across(self, value: float) -> float:
        """Where a value of x lies."""
        return round(self.left + self.x.share(value) * (self.right - self.left), 1)

    def down(self, value: float) -> float:
        """Where a value of y lies."""
        return round(self.bottom - self.y.share(value) * (self.bottom - self.top), 1)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """Points joined, as the `points` of an SVG polyline or polygon."""
        return " ".join(f"{self.across(x):g},{self.down(y):g}" for x, y in points)
