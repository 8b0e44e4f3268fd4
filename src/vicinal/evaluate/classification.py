"""How well a classifier does, and whether it knows how well it does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vicinal.evaluate.calibration import (
    adaptive_calibration_error,
    calibration_error,
    classwise_calibration_error,
    reliability,
)
from vicinal.evaluate.diagnostic import area_under_roc, sensitivity, specificity
from vicinal.evaluate.evaluation import Evaluation


def evaluate_classification(
    logits: Tensor, labels: Tensor, *, classes: Sequence[str]
) -> Evaluation:
    """The metrics of held-out logits.

    Computed here, in double precision, and not by torchmetrics: importing it takes two seconds in
    every process, it takes logits that happen to lie in [0, 1] for probabilities, and the bins are
    needed for the diagram anyway. The tests hold the numbers against it and scikit-learn.

    Args:
        logits: (N, C) float, as the model gives them, before any softmax.
        labels: (N,) int64, the right classes.
        classes: names of the C classes.

    Raises:
        ValueError: shapes do not fit, or a label is no class.
        FloatingPointError: a logit is not finite; an argmax of NaN would count as a prediction.
    """
    _check(logits, labels, classes)
    probabilities = logits.double().softmax(dim=1)  # (N, C)
    right = torch.nn.functional.one_hot(labels, len(classes)).double()
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).double()
    per_class = sensitivity(predicted, labels, classes=len(classes))
    bins = reliability(confidence, correct)
    metrics = {
        "accuracy": correct.mean(),
        "macro_accuracy": per_class.nanmean(),
        "nll": torch.nn.functional.cross_entropy(logits.double(), labels),
        "brier": (probabilities - right).square().sum(dim=1).mean(),
        "overconfidence": (confidence - correct).mean(),
    }
    if (labels != labels[0]).any():  # among rows of one class there is nothing to rank or to leave
        metrics["specificity"] = specificity(predicted, labels, classes=len(classes)).mean()
        metrics["auc"] = torch.tensor(area_under_roc(probabilities, labels), dtype=torch.float64)
    return Evaluation(
        metrics={name: float(value) for name, value in metrics.items()}
        | {
            "ece": calibration_error(bins),
            "adaptive_ece": adaptive_calibration_error(confidence, correct),
            "classwise_ece": classwise_calibration_error(probabilities, labels),
        },
        reliability=bins,
        per_class=dict(zip(classes, per_class.tolist(), strict=True)),
    )


def _check(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    expected = (len(labels), len(classes))
    if logits.shape != expected or labels.dim() != 1 or not len(labels):
        raise ValueError(
            f"logits must be (N, C) = {expected} with N > 0, for {len(classes)} classes and labels "
            f"of shape {tuple(labels.shape)}, got {tuple(logits.shape)}"
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise ValueError(
            f"labels must be in [0, {len(classes)}), got {int(labels.min())} to {int(labels.max())}"
        )
    strange = int((~logits.isfinite()).any(dim=1).sum())
    if strange:
        raise FloatingPointError(
            f"the outputs of {strange} of {len(labels)} rows are not finite: training diverged"
        )
