"""How well the points of scenes are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vicinal.core.element_target import IGNORED
from vicinal.evaluate.classification import evaluate_classification
from vicinal.evaluate.evaluation import Evaluation


def evaluate_segmentation(logits: Tensor, labels: Tensor, *, classes: Sequence[str]) -> Evaluation:
    """The metrics of the points of held-out scenes: those of classification, and the mean IoU.

    Source of the mean IoU: Everingham et al., The Pascal Visual Object Classes Challenge, IJCV
    2010: over all points of all scenes; a class that no point has or is taken for does not count.

    Args:
        logits: (N, C) float, of every point.
        labels: (N,) int64, the right classes, or `IGNORED`.
        classes: names of the C classes.

    Raises:
        ValueError: shapes do not fit, or a label is no class.
        FloatingPointError: a logit is not finite.
    """
    asked = labels != IGNORED
    logits, labels = logits[asked], labels[asked]
    evaluation = evaluate_classification(logits, labels, classes=classes)
    shares = intersection_over_union(logits.argmax(dim=1), labels, len(classes))
    return replace(evaluation, metrics={"miou": float(shares.nanmean()), **evaluation.metrics})


def intersection_over_union(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Of each class. predicted, labels: (N,) int64. Returns (C,) float64, NaN without points."""
    both = torch.bincount(labels[predicted == labels], minlength=classes)
    either = (
        torch.bincount(labels, minlength=classes)
        + torch.bincount(predicted, minlength=classes)
        - both
    )
    return both.double() / either
