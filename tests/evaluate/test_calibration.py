"""Held against torchmetrics, loops, and what is known of the data."""

from __future__ import annotations

import math

import pytest
import torch
import torchmetrics.functional.classification as judge
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.evaluate.calibration import (
    adaptive_calibration_error,
    average_calibration_error,
    calibration,
    classwise_calibration_error,
    fit_temperature,
    maximum_calibration_error,
    reliability,
)
from vicinal.evaluate.classification import evaluate_classification

cases = given(seed=st.integers(0, 10_000), rows=st.integers(1, 60), classes=st.integers(2, 6))


def outputs(seed: int, rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than by chance, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    logits = torch.randn(rows, classes, generator=generator) * 2
    logits[torch.arange(rows), labels] += 2
    return logits, labels


@cases
def test_the_error_of_classes_is_the_mean_of_binary_ones(
    seed: int, rows: int, classes: int
) -> None:
    logits, labels = outputs(seed, rows, classes)
    probabilities = logits.softmax(dim=1)
    of_classes = [
        judge.binary_calibration_error(
            probabilities[:, one].clone(), (labels == one).long(), n_bins=15, norm="l1"
        )
        for one in range(classes)
    ]
    error = classwise_calibration_error(probabilities, labels)
    assert error == pytest.approx(float(sum(of_classes)) / classes, abs=1e-5)


@cases
def test_bins_of_equal_counts_are_as_loops_have_them(seed: int, rows: int, classes: int) -> None:
    logits, labels = outputs(seed, rows, classes)
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = (predicted == labels).double()
    order = confidence.argsort()
    error, start = 0.0, 0
    for place in range(1, 16):
        end = math.ceil(place * rows / 15)
        inside = order[start:end]
        error += abs(float(confidence[inside].sum() - correct[inside].sum())) / rows
        start = end
    assert adaptive_calibration_error(confidence, correct) == pytest.approx(error, abs=1e-12)


@cases
def test_the_largest_gap_is_the_judges_and_the_average_one_counts_bins_alike(
    seed: int, rows: int, classes: int
) -> None:
    logits, labels = outputs(seed, rows, classes)
    report = calibration(logits, labels)
    probabilities = logits.double().softmax(dim=1)
    largest = judge.multiclass_calibration_error(
        probabilities, labels, num_classes=classes, n_bins=15, norm="max"
    )
    assert report.mce == pytest.approx(float(largest), abs=1e-6)
    confidence, predicted = probabilities.max(dim=1)
    gaps: dict[int, list[float]] = {}
    for sure, right in zip(confidence.tolist(), (predicted == labels).tolist(), strict=True):
        gaps.setdefault(math.ceil(sure * 15), []).append(sure - right)
    means = [abs(sum(gap) / len(gap)) for gap in gaps.values()]
    assert report.ace == pytest.approx(sum(means) / len(means), abs=1e-9)
    assert report.ece <= report.mce + 1e-12
    assert report.ace <= report.mce + 1e-12


def test_a_report_has_what_the_single_measures_say() -> None:
    logits, labels = outputs(3, 400, 4)
    report = calibration(logits, labels, bins=10)
    probabilities = logits.double().softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).double()
    assert report.nll == nll(logits, labels, 1.0)
    assert report.adaptive == adaptive_calibration_error(confidence, correct, bins=10)
    assert report.classwise == classwise_calibration_error(probabilities, labels, bins=10)
    table = reliability(confidence, correct, bins=10)
    assert [one.count for one in report.reliability] == [one.count for one in table]
    metrics = evaluate_classification(logits, labels, classes=list("abcd")).metrics
    assert calibration(logits, labels).ece == metrics["ece"]
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        calibration(logits, labels, bins=0)
    with pytest.raises(ValueError, match="must be finite"):
        calibration(logits * math.nan, labels)


def test_the_errors_by_hand() -> None:
    # In (0.5, 0.75] one prediction of 0.7 is right; in (0.75, 1] three of 0.8 are right once.
    table = reliability(torch.tensor([0.7, 0.8, 0.8, 0.8]), torch.tensor([1.0, 1, 0, 0]), bins=4)
    assert average_calibration_error(table) == pytest.approx((0.3 + 0.8 - 1 / 3) / 2)
    assert maximum_calibration_error(table) == pytest.approx(0.8 - 1 / 3)
    confidence = torch.tensor([0.5, 0.6, 0.9, 1.0])
    correct = torch.tensor([1.0, 0.0, 1.0, 1.0])
    # Two bins of two: 0.55 against 1/2, 0.95 against 1.
    assert adaptive_calibration_error(confidence, correct, bins=2) == pytest.approx(0.05)
    # Of equal width they are one bin and an empty one.
    probabilities = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    assert classwise_calibration_error(probabilities, torch.tensor([0, 0])) == pytest.approx(0.5)
    assert classwise_calibration_error(probabilities, torch.tensor([0, 1])) == pytest.approx(0.25)


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    confidence = torch.tensor([0.8] * 30 + [0.9] * 30)
    correct = (torch.arange(60) % 5 > 0).double()
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    error = adaptive_calibration_error(confidence, correct)
    assert error == pytest.approx(0.05)
    assert adaptive_calibration_error(confidence[shuffled], correct[shuffled]) == error


def test_they_are_among_the_metrics() -> None:
    logits, labels = outputs(3, 400, 4)
    metrics = evaluate_classification(logits, labels, classes=list("abcd")).metrics
    probabilities = logits.double().softmax(dim=1)
    confidence, predicted = probabilities.max(dim=1)
    adaptive = adaptive_calibration_error(confidence, (predicted == labels).double())
    assert metrics["adaptive_ece"] == adaptive
    assert metrics["classwise_ece"] == classwise_calibration_error(probabilities, labels)


def nll(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return torch.nn.functional.cross_entropy(logits.double() / temperature, labels).item()


@given(seed=st.integers(0, 10_000), scale=st.floats(0.05, 50))
def test_no_other_temperature_makes_the_labels_likelier(seed: int, scale: float) -> None:
    logits, labels = outputs(seed, 200, 5)
    logits = logits * scale
    best = fit_temperature(logits, labels)
    for factor in (0.999, 1.001, 0.5, 2.0):
        assert nll(logits, labels, best) < nll(logits, labels, best * factor)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100))
def test_the_temperature_has_the_unit_of_the_logits(seed: int, scale: float) -> None:
    logits, labels = outputs(seed, 100, 4)
    logits = logits.double()
    fitted = fit_temperature(logits * scale, labels)
    assert fitted == pytest.approx(scale * fit_temperature(logits, labels), rel=1e-7)
    moved = logits + torch.linspace(-50, 50, 100)[:, None]
    assert fit_temperature(moved * scale, labels) == pytest.approx(fitted, rel=1e-7)


def test_labels_drawn_from_the_probabilities_need_none_and_sharpened_logits_their_factor() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40_000, 5, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.02)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, abs=0.06)
    classes = list("abcde")
    sharp = evaluate_classification(3 * logits, labels, classes=classes).metrics["ece"]
    scaled = 3 * logits / fit_temperature(3 * logits, labels)
    assert evaluate_classification(scaled, labels, classes=classes).metrics["ece"] < sharp / 10


def test_a_temperature_that_does_not_exist_is_not_made_up() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="needs a row that is predicted wrong"):
        fit_temperature(logits, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="needs logits that tell of the labels"):
        fit_temperature(logits, torch.tensor([1, 0]))
