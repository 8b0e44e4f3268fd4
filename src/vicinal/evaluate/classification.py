"""How well a classifier does, and whether it knows how well it does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vicinal.evaluate.evaluation import Evaluation, ReliabilityBin

#: Equal-width bins of confidence, as in Guo et al., On Calibration of Modern Neural Networks, 2017.
BINS = 15


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
    per_class = _accuracy_of_classes(correct, labels, len(classes))
    bins = reliability(confidence, correct)
    metrics = {
        "accuracy": correct.mean(),
        "macro_accuracy": per_class.nanmean(),
        "nll": torch.nn.functional.cross_entropy(logits.double(), labels),
        "brier": (probabilities - right).square().sum(dim=1).mean(),
        "overconfidence": (confidence - correct).mean(),
    }
    return Evaluation(
        metrics={name: float(value) for name, value in metrics.items()}
        | {"ece": calibration_error(bins)},
        reliability=bins,
        per_class=dict(zip(classes, per_class.tolist(), strict=True)),
    )


def reliability(
    confidence: Tensor, correct: Tensor, *, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Predictions sorted by confidence into bins of equal width, each (low, high].

    Args:
        confidence: (N,) float in (0, 1], of the predicted class.
        correct: (N,) float, 1 where the prediction is right and 0 elsewhere.
        bins: how many.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=confidence.device)
    place = torch.bucketize(confidence.double(), edges[1:-1])  # (N,), the edge itself goes below
    count = torch.bincount(place, minlength=bins)
    confidences = torch.bincount(place, confidence.double(), minlength=bins) / count
    accuracies = torch.bincount(place, correct.double(), minlength=bins) / count  # 0 / 0 is NaN
    columns = (edges[:-1], edges[1:], count, confidences, accuracies)
    return tuple(
        ReliabilityBin(*one) for one in zip(*(column.tolist() for column in columns), strict=True)
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy, weighted by count.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    filled = [one for one in bins if one.count]
    total = sum(one.count for one in filled)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in filled) / total


def _accuracy_of_classes(correct: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(C,) float64, NaN for classes without rows."""
    return torch.bincount(labels, correct, minlength=classes) / torch.bincount(
        labels, minlength=classes
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
