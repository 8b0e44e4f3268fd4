from __future__ import annotations

import math

import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.evaluate.regression import evaluate_regression


def outputs(seed: int, rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = 150 + 80 * torch.randn(rows, generator=generator)
    return y + 50 * torch.randn(rows, generator=generator), y


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 50), column=st.booleans())
def test_metrics_agree_with_scikit_learn(seed: int, rows: int, column: bool) -> None:
    output, y = outputs(seed, rows)
    metrics = evaluate_regression(output[:, None] if column else output, y).metrics
    assert metrics["rmse"] == pytest.approx(
        sklearn.metrics.root_mean_squared_error(y, output), rel=1e-5
    )
    assert metrics["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(y, output), rel=1e-5)
    assert metrics["r2"] == pytest.approx(sklearn.metrics.r2_score(y, output), rel=1e-4, abs=1e-4)


@given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100))
def test_errors_are_in_units_of_the_target_and_r2_has_none(seed: int, factor: float) -> None:
    output, y = (one.double() for one in outputs(seed, 20))
    here = evaluate_regression(output, y).metrics
    there = evaluate_regression(factor * output, factor * y).metrics
    assert there["rmse"] == pytest.approx(factor * here["rmse"])
    assert there["mae"] == pytest.approx(factor * here["mae"])
    assert there["r2"] == pytest.approx(here["r2"])


def test_a_large_offset_costs_no_digits() -> None:
    y = torch.arange(10, dtype=torch.float64) + 1e9
    assert evaluate_regression(y + 0.5, y).metrics["rmse"] == pytest.approx(0.5)
    # The spread of 0 to 9 is 82.5, the squared error 10 / 4.
    assert evaluate_regression(y + 0.5, y).metrics["r2"] == pytest.approx(1 - 2.5 / 82.5)


def test_predicting_the_mean_explains_nothing_and_equal_targets_have_no_r2() -> None:
    y = torch.tensor([1.0, 2.0, 6.0])
    assert evaluate_regression(torch.full((3,), 3.0), y).metrics["r2"] == pytest.approx(0)
    same = evaluate_regression(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])).metrics
    assert math.isnan(same["r2"])
    assert same["rmse"] == 1


@pytest.mark.parametrize("shape", [(4,), (3, 2), (1, 3), ()])
def test_a_shape_that_would_broadcast_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="output must be"):
        evaluate_regression(torch.zeros(shape), torch.zeros(3))


def test_outputs_that_are_not_finite_are_no_predictions() -> None:
    with pytest.raises(FloatingPointError, match="2 of 3 rows"):
        evaluate_regression(torch.tensor([math.nan, 1.0, math.inf]), torch.zeros(3))
