"""Held against torchmetrics and scikit-learn, which know nothing of this code."""

from __future__ import annotations

import math

import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.classification as judge
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.evaluate.calibration import calibration_error, reliability
from vicinal.evaluate.classification import evaluate_classification
from vicinal.evaluate.evaluation import Evaluation


def outputs(seed: int, rows: int, classes: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than by chance, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    logits = torch.randn(rows, classes, generator=generator) * scale
    logits[torch.arange(rows), labels] += scale
    return logits, labels


def evaluated(logits: Tensor, labels: Tensor) -> Evaluation:
    names = [f"class {one}" for one in range(logits.shape[1])]
    return evaluate_classification(logits, labels, classes=names)


cases = given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 60),
    classes=st.integers(2, 6),
    scale=st.floats(0.01, 10),
)


@cases
def test_accuracy_and_calibration_error_agree_with_torchmetrics(
    seed: int, rows: int, classes: int, scale: float
) -> None:
    logits, labels = outputs(seed, rows, classes, scale)
    metrics = evaluated(logits, labels).metrics
    # Given logits that happen to lie in [0, 1], torchmetrics would take them for probabilities.
    probabilities = logits.softmax(1)
    accuracy = judge.multiclass_accuracy(probabilities, labels, classes, average="micro")
    ece = judge.multiclass_calibration_error(probabilities, labels, classes, n_bins=15, norm="l1")
    assert metrics["accuracy"] == pytest.approx(float(accuracy), abs=1e-6)
    assert metrics["ece"] == pytest.approx(float(ece), abs=1e-5)


@cases
def test_nll_brier_and_macro_accuracy_agree_with_scikit_learn(
    seed: int, rows: int, classes: int, scale: float
) -> None:
    logits, labels = outputs(seed, rows, classes, scale)
    metrics = evaluated(logits, labels).metrics
    probabilities = torch.softmax(logits.double(), 1).numpy()
    every = list(range(classes))
    nll = sklearn.metrics.log_loss(labels, probabilities, labels=every)
    assert metrics["nll"] == pytest.approx(nll, rel=1e-5, abs=1e-9)
    brier = sklearn.metrics.brier_score_loss(
        torch.nn.functional.one_hot(labels, classes).numpy(), probabilities, scale_by_half=False
    )
    assert metrics["brier"] == pytest.approx(brier, abs=1e-9)
    recalled = sklearn.metrics.recall_score(
        labels, logits.argmax(1), labels=labels.unique().tolist(), average="macro"
    )
    assert metrics["macro_accuracy"] == pytest.approx(recalled, abs=1e-9)


def test_accuracy_of_each_class_is_its_recall_and_absent_classes_have_none() -> None:
    logits, labels = outputs(0, 200, 5)
    labels[labels == 3] = 1
    per_class = evaluated(logits, labels).per_class
    recall = sklearn.metrics.recall_score(
        labels, logits.argmax(1), labels=[0, 1, 2, 4], average=None
    )
    seen = [per_class[f"class {one}"] for one in (0, 1, 2, 4)]
    assert seen == pytest.approx(recall.tolist())
    assert math.isnan(per_class["class 3"])
    assert list(per_class) == [f"class {one}" for one in range(5)]


def test_bins_hold_every_row_and_their_means() -> None:
    logits, labels = outputs(1, 500, 4, scale=0.7)
    bins = evaluated(logits, labels).reliability
    confidence, predicted = logits.double().softmax(1).max(1)
    assert sum(one.count for one in bins) == 500
    assert [round(15 * one.low) for one in bins] == list(range(15))
    for one in bins:
        inside = (one.low < confidence) & (confidence <= one.high)
        assert one.count == int(inside.sum())
        if one.count:
            right = (predicted == labels)[inside].double().mean()
            assert one.confidence == pytest.approx(float(confidence[inside].mean()))
            assert one.accuracy == pytest.approx(float(right))
        else:
            assert math.isnan(one.confidence)
            assert math.isnan(one.accuracy)


def test_a_confidence_of_one_falls_into_the_last_bin() -> None:
    bins = reliability(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert [one.count for one in bins] == [0] * 14 + [2]
    assert calibration_error(bins) == pytest.approx(0.5)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    edges = torch.linspace(0, 1, 16, dtype=torch.float64)[1:]
    assert [one.count for one in reliability(edges, torch.ones(15))] == [1] * 15
    assert all(one.confidence == one.high for one in reliability(edges, torch.ones(15)))


def test_confidence_drawn_as_accuracy_is_calibrated_and_sharpened_logits_are_overconfident() -> (
    None
):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40_000, 5, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    honest, sharp = evaluated(logits, labels).metrics, evaluated(3 * logits, labels).metrics
    assert honest["ece"] < 0.015
    assert abs(honest["overconfidence"]) < 0.01
    assert sharp["accuracy"] == honest["accuracy"]
    # All bins err on the same side, so that the mean gap is the gap of the means.
    assert sharp["ece"] == pytest.approx(sharp["overconfidence"], abs=0.005)
    assert sharp["overconfidence"] > 0.15


def test_certainty_about_a_wrong_class_costs_its_logit_and_not_infinity() -> None:
    metrics = evaluated(torch.tensor([[1000.0, 0.0]]), torch.tensor([1])).metrics
    assert metrics["nll"] == 1000
    assert metrics["brier"] == 2


def test_half_precision_logits_are_judged_in_double() -> None:
    logits, labels = outputs(2, 300, 10)
    half = logits.bfloat16()
    assert evaluated(half, labels).metrics == evaluated(half.double(), labels).metrics


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1]), r"got \(3, 2\)"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), "for 2 classes"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "N > 0"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), r"labels must be in \[0, 2\), got 0 to 2"),
        (torch.zeros(2, 2), torch.tensor([-1, 0]), "got -1 to 0"),
    ],
)
def test_shapes_and_labels_that_do_not_fit_are_refused(
    logits: Tensor, labels: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_classification(logits, labels, classes=["a", "b"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_are_no_predictions(value: float) -> None:
    logits, labels = outputs(3, 10, 3)
    logits[4, 1] = value
    with pytest.raises(FloatingPointError, match="1 of 10 rows"):
        evaluated(logits, labels)
