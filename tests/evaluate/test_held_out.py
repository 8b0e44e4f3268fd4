from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vicinal.core.ragged import Ragged
from vicinal.evaluate import METRICS, evaluate, primary_metric


def test_each_kind_has_its_metrics_and_all_are_described() -> None:
    found = {
        "classification": evaluate(
            "classification", torch.eye(3), torch.tensor([0, 1, 1]), ("a", "b", "c")
        ),
        "regression": evaluate("regression", torch.zeros(3), torch.arange(3.0)),
        "segmentation": evaluate(
            "segmentation", torch.eye(3), Ragged.of([torch.tensor([0, 1, 1])]), ("a", "b", "c")
        ),
    }
    for kind, evaluation in found.items():
        assert primary_metric(kind) in evaluation.metrics  # type: ignore[arg-type]
        assert all(type(value) is float for value in evaluation.metrics.values())
    names = {name for evaluation in found.values() for name in evaluation.metrics}
    assert names == set(METRICS)
    assert found["classification"].per_class == {"a": 1, "b": 0.5} | {
        "c": pytest.approx(float("nan"), nan_ok=True)
    }
    assert not found["regression"].reliability


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'ranking'"):
        evaluate("ranking", torch.zeros(1), torch.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'ranking'"):
        primary_metric("ranking")  # type: ignore[arg-type]


def test_judging_loads_neither_torchmetrics_nor_scikit_learn() -> None:
    code = (
        "import sys, torch; from vicinal.evaluate import evaluate;"
        "evaluate('classification', torch.eye(2), torch.tensor([0, 1]), 'ab');"
        "heavy = {'torchmetrics', 'sklearn', 'scipy', 'torchvision'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
