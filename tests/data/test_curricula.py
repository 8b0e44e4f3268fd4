"""How much augmentation a moment gets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal.data.curricula import TanhRamp


def test_it_starts_at_a_hundredth_and_has_tanh_of_one_at_tau() -> None:
    ramp = TanhRamp(40)
    assert ramp(0) == 0.01
    assert ramp(40) == pytest.approx(math.tanh(1) + 0.01)
    assert ramp(20) == pytest.approx(math.tanh(0.5) + 0.01)


@given(tau=st.floats(0.01, 100), at=st.floats(0, 1000), later=st.floats(0, 1000))
def test_it_rises_and_reaches_one(tau: float, at: float, later: float) -> None:
    ramp = TanhRamp(tau)
    assert 0.01 <= ramp(at) <= ramp(at + later) <= 1
    assert ramp(2.65 * tau) == 1
    assert ramp(2.6 * tau) < 1


@pytest.mark.parametrize("tau", [0, -1, math.nan])
def test_a_ramp_without_length_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="tau must be positive"):
        TanhRamp(tau)
