"""The one entry: outputs for held-out rows in, their judgement out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from vicinal.core.ragged import Ragged
from vicinal.evaluate.classification import evaluate_classification
from vicinal.evaluate.evaluation import Evaluation
from vicinal.evaluate.regression import evaluate_regression
from vicinal.evaluate.segmentation import evaluate_segmentation


def evaluate(
    kind: Literal["classification", "regression", "segmentation"],
    output: Tensor,
    y: Tensor | Ragged,
    classes: Sequence[str] = (),
) -> Evaluation:
    """Judge a model's outputs on rows that it was not trained on.

    Args:
        kind: of the task.
        output: (N, C) float logits for classification, of every point for segmentation; (N,) or
            (N, 1) float for regression, in the units of y.
        y: (N,) int64 classes or float values; for segmentation rows of classes.
        classes: names of the classes; empty for regression.

    Raises:
        ValueError: the kind is unknown, or shapes do not fit.
        FloatingPointError: outputs are not finite, as after a training that diverged.
    """
    if isinstance(y, Ragged):
        return evaluate_segmentation(output, y.values, classes=classes)
    if kind == "classification":
        return evaluate_classification(output, y, classes=classes)
    if kind == "regression":
        return evaluate_regression(output, y)
    raise ValueError(f"kind must be classification, regression or segmentation, got {kind!r}")
