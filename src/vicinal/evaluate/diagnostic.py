"""What physicians ask of a classifier: how well it ranks, what it finds, what it leaves alone.

Each class is held against all others, and classes are averaged. The mean sensitivity of the classes
is the macro accuracy of `classification`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Average = Literal["macro", "weighted"]


def area_under_roc(
    probabilities: Tensor, labels: Tensor, *, average: Average = "weighted"
) -> float:
    """How often a row of a class is given more of it than a row of another; ties count half.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a Receiver Operating
    Characteristic Curve, Radiology 1982: the area is that share. One class against the rest, as
    scikit-learn's `roc_auc_score(multi_class="ovr")`.

    Args:
        probabilities: (N, C) float, or anything that grows with them.
        labels: (N,) int64.
        average: `weighted` by the number of rows of each class, or `macro`, all classes alike.
            Classes without rows do not count.

    Returns:
        In [0, 1], 0.5 by chance; NaN where all rows are of one class.
    """
    rows, classes = probabilities.shape
    columns = probabilities.double().T.contiguous()  # (C, N)
    ordered = columns.sort(dim=1).values
    # The mean rank of equal values.
    below = torch.searchsorted(ordered, columns)
    up_to = torch.searchsorted(ordered, columns, right=True)
    rank = (below + up_to + 1).double() / 2
    own = torch.nn.functional.one_hot(labels, classes).T  # (C, N)
    count = own.sum(dim=1)
    won = (rank * own).sum(dim=1) - count * (count + 1) / 2
    return _averaged(won / (count * (rows - count)), count, average)


def sensitivity(predicted: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Of the rows of each class, the share that is predicted to be of it.

    Args:
        predicted: (N,) int64.
        labels: (N,) int64.
        classes: how many.

    Returns:
        (C,) float64, NaN for classes without rows.
    """
    of_class = labels.bincount(minlength=classes)
    return _found(predicted, labels, classes) / of_class


def specificity(predicted: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Of the rows of all other classes, the share that is not predicted to be of this one.

    Args:
        predicted: (N,) int64.
        labels: (N,) int64.
        classes: how many.

    Returns:
        (C,) float64, NaN for a class that all rows are of.
    """
    others = len(labels) - labels.bincount(minlength=classes)
    wrongly = predicted.bincount(minlength=classes) - _found(predicted, labels, classes)
    return 1 - wrongly / others


def _found(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The rows of each class that are predicted to be of it. Returns (C,) float64."""
    return torch.bincount(labels, (predicted == labels).double(), minlength=classes)


def _averaged(values: Tensor, count: Tensor, average: Average) -> float:
    """The mean over classes that are there. values: (C,), NaN where there is none."""
    there = count > 0
    weights = count[there].double() if average == "weighted" else there[there].double()
    return float((values[there] * weights).sum() / weights.sum())
