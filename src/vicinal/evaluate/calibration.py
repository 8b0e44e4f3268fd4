"""Whether a classifier's confidence is the share of its predictions that are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.evaluate.evaluation import ReliabilityBin

#: Bins of confidence, as in Guo et al., On Calibration of Modern Neural Networks, 2017.
BINS = 15


@dataclass(frozen=True)
class Calibration:
    """How far a classifier's confidence is from the share of its predictions that are right.

    nll: mean negative log likelihood of the labels, in nats.
    ece: expected calibration error, over bins of equal width.
    ace: average calibration error, the mean gap of the bins that are filled, whatever they hold.
    mce: maximum calibration error, the largest gap of a bin.
    adaptive: the calibration error over bins of equally many predictions.
    classwise: that of the probability of each class, averaged.
    reliability: the bins of equal width, from low to high.
    """

    nll: float
    ece: float
    ace: float
    mce: float
    adaptive: float
    classwise: float
    reliability: tuple[ReliabilityBin, ...]


def calibration(logits: Tensor, labels: Tensor, *, bins: int = BINS) -> Calibration:
    """All measures of calibration of held-out logits.

    Args:
        logits: (N, C) float, before any softmax.
        labels: (N,) int64, the right classes.
        bins: how many.

    Raises:
        ValueError: shapes do not fit, a label is no class, a logit is not finite, or there is no
            bin.
    """
    check_logits(logits, labels)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    probabilities = logits.double().softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).double()
    table = reliability(confidence, correct, bins=bins)
    return Calibration(
        nll=float(torch.nn.functional.cross_entropy(logits.double(), labels)),
        ece=calibration_error(table),
        ace=average_calibration_error(table),
        mce=maximum_calibration_error(table),
        adaptive=adaptive_calibration_error(confidence, correct, bins=bins),
        classwise=classwise_calibration_error(probabilities, labels, bins=bins),
        reliability=table,
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
    edges = _edges(bins, confidence.device)
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


def average_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The mean gap of confidence and accuracy over the bins that are filled, each counted once.

    Source: Neumann, Zisserman, Vedaldi, Relaxed Softmax, NeurIPS workshop 2018; ACE of netcal.
    """
    gaps = _gaps(bins)
    return sum(gaps) / len(gaps)


def maximum_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The largest gap of confidence and accuracy of a bin.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 5.
    """
    return max(_gaps(bins))


def _gaps(bins: Sequence[ReliabilityBin]) -> list[float]:
    """Of the bins that are filled."""
    return [abs(one.confidence - one.accuracy) for one in bins if one.count]


def adaptive_calibration_error(confidence: Tensor, correct: Tensor, *, bins: int = BINS) -> float:
    """The calibration error over bins of equally many predictions.

    Bins of equal width hold most predictions of a good classifier in the last of them, and say
    little of the rest.

    Source: Nguyen and O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language
    Processing Models, EMNLP 2015, section 4. Equal confidences share a bin, so that the order of
    the rows does not matter.

    Args:
        confidence: (N,) float, of the predicted class.
        correct: (N,) float, 1 where the prediction is right and 0 elsewhere.
        bins: how many; fewer are filled where there are fewer rows.
    """
    ordered = confidence.double().sort().values
    # The last row of each bin but the last.
    ends = torch.arange(1, bins, device=ordered.device) * len(ordered) / bins
    edges = ordered[ends.ceil().long() - 1]
    place = torch.bucketize(confidence.double(), edges)
    return _mean_gap(place, confidence - correct, len(confidence))


def classwise_calibration_error(
    probabilities: Tensor, labels: Tensor, *, bins: int = BINS
) -> float:
    """The calibration error of the probability of each class, averaged over the classes.

    Source: Kull et al., Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class
    Probabilities with Dirichlet Calibration, NeurIPS 2019, section 2.

    Args:
        probabilities: (N, C) float, of all classes.
        labels: (N,) int64.
        bins: of equal width, how many.
    """
    rows, classes = probabilities.shape
    right = torch.nn.functional.one_hot(labels, classes).double()
    place = torch.bucketize(probabilities.double(), _edges(bins, labels.device)[1:-1])  # (N, C)
    place = place + bins * torch.arange(classes, device=labels.device)
    return _mean_gap(place.flatten(), (probabilities - right).flatten(), rows) / classes


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number to divide logits by so that the likelihood of the labels is greatest.

    The negative log likelihood is convex in one over the temperature, so that its slope is zero in
    one place; it is found to a relative 1e-9, not approached by some steps of an optimiser.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    Args:
        logits: (N, C) float, of rows that were not trained on, nor are judged.
        labels: (N,) int64.

    Raises:
        ValueError: there is no best temperature: every row is predicted right, so that it falls
            to zero, or the labels' logits are no larger than the average, so that it grows forever.
    """
    from scipy.optimize import brentq

    slope = slope_in_inverse_temperature(logits, labels)
    wide = logits.double()
    given = wide.gather(1, labels[:, None])[:, 0]
    if not bool((given < wide.amax(dim=1)).any()):
        raise ValueError("a temperature needs a row that is predicted wrong, and there is none")
    if not float((wide.mean(dim=1) - given).mean()) < 0:
        raise ValueError("a temperature needs logits that tell of the labels: these do not")
    low, high = -1.0, 1.0
    # The slope falls as the temperature grows: positive below the solution, negative above.
    while slope(low) <= 0:
        low *= 2
    while slope(high) >= 0:
        high *= 2
    return math.exp(brentq(slope, low, high, xtol=1e-12, rtol=1e-9))


def slope_in_inverse_temperature(logits: Tensor, labels: Tensor) -> Callable[[float], float]:
    """How the mean negative log likelihood changes with one over the temperature.

    Args:
        logits: (N, C) float.
        labels: (N,) int64.

    Returns:
        A function of the temperature's logarithm; it never rises.
    """
    wide = logits.double()
    # What a constant in a row adds cancels, and would only cost digits.
    wide = wide - wide.amax(dim=1, keepdim=True)
    given = wide.gather(1, labels[:, None])[:, 0]

    def slope(log_temperature: float) -> float:
        shares = (wide / math.exp(log_temperature)).softmax(dim=1)
        return float(((shares * wide).sum(dim=1) - given).mean())

    return slope


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Refuse logits and labels that do not belong together.

    Raises:
        ValueError: shapes do not fit, a label is no class, or a logit is not finite.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits must be (N, C) and labels (N,) with N > 0, got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if (
        labels.is_floating_point()
        or not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]
    ):
        raise ValueError(f"labels must be classes, whole numbers in [0, {logits.shape[1]})")
    if not bool(logits.isfinite().all()):
        raise ValueError("logits must be finite, got NaN or infinity")


def _edges(bins: int, device: torch.device) -> Tensor:
    """Of bins of equal width. Returns (bins + 1,) float64."""
    return torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=device)


def _mean_gap(place: Tensor, gap: Tensor, rows: int) -> float:
    """The gaps summed in each bin, their sizes over the number of rows. place, gap: (M,)."""
    return float(torch.bincount(place, gap.double()).abs().sum()) / rows
