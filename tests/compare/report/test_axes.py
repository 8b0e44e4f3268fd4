"""Scales with round ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal.compare.report.axes import Axis, Panel

numbers = st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6), max_size=8)


@given(values=numbers, margin=st.floats(0, 0.2))
def test_every_value_has_a_place_and_so_has_every_tick(values: list[float], margin: float) -> None:
    axis = Axis.around([*values, math.nan, math.inf], margin=margin)
    assert all(axis.low <= value <= axis.high for value in values)
    room = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - room <= tick <= axis.high + room for tick in axis.ticks)
    assert 2 <= len(axis.ticks) <= 8


@given(values=numbers)
def test_ticks_are_written_exactly(values: list[float]) -> None:
    axis = Axis.around(values)
    for tick in axis.ticks:
        step = axis.ticks[1] - axis.ticks[0]
        assert float(axis.label(tick).replace("−", "-")) == pytest.approx(tick, abs=step / 100)


def test_ticks_are_round() -> None:
    assert [Axis.around((0.803, 0.861)).label(t) for t in Axis.around((0.803, 0.861)).ticks] == [
        "0.82",
        "0.84",
        "0.86",
    ]


def test_epochs_are_marked_at_whole_numbers() -> None:
    assert Axis.around((1, 3), whole=True).ticks == (1, 2, 3)


def test_a_scale_can_be_made_to_reach_zero() -> None:
    assert 0.0 in Axis.around((0.4, 0.9), include=(0.0,)).ticks


def test_a_panel_puts_high_values_on_top_and_keeps_all_inside() -> None:
    panel = Panel(Axis.around((0, 10)), Axis.around((0, 1)))
    assert panel.down(1.0) == panel.top < panel.down(0.0) == panel.bottom
    assert panel.across(0) == panel.left < panel.across(10) == panel.right
    assert panel.down(7.0) == panel.top
    assert panel.path([(0, 0), (10, 1)]) == "34,120 242,8"


@pytest.mark.parametrize("value", [0.0, 5.0, -0.001])
def test_a_single_value_lies_in_the_middle(value: float) -> None:
    assert Axis.around([value]).share(value) == pytest.approx(0.5)
