from __future__ import annotations

import pytest

from vicinal.evaluate.metrics import METRICS


def test_accuracy_moves_in_steps_of_one_row_and_losses_in_none() -> None:
    assert METRICS["accuracy"].granularity(500) == pytest.approx(0.002)
    for name in ("nll", "brier", "ece", "rmse", "r2"):
        assert METRICS[name].granularity(500) == 0


def test_errors_fall_and_scores_rise_as_models_get_better() -> None:
    rising = {name for name, metric in METRICS.items() if metric.higher_is_better}
    assert rising == {"accuracy", "macro_accuracy", "auc", "specificity", "miou", "r2"}


@pytest.mark.parametrize(
    ("name", "value", "shown", "difference"),
    [
        ("accuracy", 0.58421, "58.4 %", "+58.4 pp"),
        ("accuracy", -0.012, "-1.2 %", "-1.2 pp"),
        ("ece", 0.0914, "0.091", "+0.091"),
        ("rmse", 53.1234, "53.12", "+53.12"),
        ("rmse", -0.00012345, "-0.0001234", "-0.0001234"),
        ("r2", 0.5, "0.500", "+0.500"),
    ],
)
def test_numbers_are_shown_in_their_units(
    name: str, value: float, shown: str, difference: str
) -> None:
    assert METRICS[name].format(value) == shown
    assert METRICS[name].format_difference(value) == difference
