"""The one entry: outputs for held-out rows in, their judgement out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from vicinal.evaluate.classification import evaluate_classification
from vicinal.evaluate.evaluation import Evaluation
from vicinal.evaluate.regression import evaluate_regression


def evaluate(
    kind: Literal["classification", "regression"],
    output: Tensor,
    y: Tensor,
    classes: Sequence[str] = (),
) -> Evaluation:
    """Judge a model's outputs on rows that it was not trained on.

    Args:
        kind: of the task.
        output: (N, C) float logits for classification; (N,) or (N, 1) float for regression, in the
            units of y.
        y: (N,) int64 classes or float values.
        classes: names of the classes; empty for regression.

    Raises:
        ValueError: the kind is unknown, or shapes do not fit.
        FloatingPointError: outputs are not finite, as after a training that diverged.
    """
    if kind == "classification":
        return evaluate_classification(output, y, classes=classes)
    if kind == "regression":
        return evaluate_regression(output, y)
    raise ValueError(f"kind must be classification or regression, got {kind!r}")
