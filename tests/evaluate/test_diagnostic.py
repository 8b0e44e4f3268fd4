"""Held against scikit-learn, which counts and integrates in another way."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, recall_score, roc_auc_score

from vicinal.evaluate import evaluate
from vicinal.evaluate.diagnostic import Average, area_under_roc, sensitivity, specificity

cases = given(
    seed=st.integers(0, 10_000),
    rows=st.integers(8, 80),
    classes=st.integers(2, 5),
    steps=st.sampled_from([2, 5, 1000]),
)


def drawn(seed: int, rows: int, classes: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities in a few steps, so that some are equal, and labels of every class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    labels[:classes] = torch.arange(classes)
    weights = torch.randint(1, steps + 1, (rows, classes), generator=generator).double()
    return weights / weights.sum(dim=1, keepdim=True), labels


@cases
def test_the_area_is_scikit_learn_s(seed: int, rows: int, classes: int, steps: int) -> None:
    probabilities, labels = drawn(seed, rows, classes, steps)
    one_hot = np.eye(classes)[labels.numpy()]
    for average in get_args(Average):
        wanted = roc_auc_score(one_hot, probabilities.numpy(), average=average)
        found = area_under_roc(probabilities, labels, average=average)
        assert found == pytest.approx(wanted, abs=1e-12)


@cases
def test_sensitivity_and_specificity_are_read_off_the_confusion_matrix(
    seed: int, rows: int, classes: int, steps: int
) -> None:
    probabilities, labels = drawn(seed, rows, classes, steps)
    predicted = probabilities.argmax(dim=1)
    matrix = confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(classes))
    found = sensitivity(predicted, labels, classes=classes)
    recalled = recall_score(labels, predicted, average=None, labels=range(classes), zero_division=0)
    assert found.numpy() == pytest.approx(recalled)
    for one, value in enumerate(specificity(predicted, labels, classes=classes).tolist()):
        others = np.delete(matrix, one, axis=0)
        assert value == pytest.approx(np.delete(others, one, axis=1).sum() / others.sum())


def test_classes_without_rows_do_not_count() -> None:
    scores, labels = drawn(3, 40, 2, 1000)
    wider = torch.cat([scores, torch.rand(40, 1)], dim=1)
    for average in get_args(Average):
        assert area_under_roc(wider, labels, average=average) == pytest.approx(
            area_under_roc(scores, labels, average=average)
        )
    assert math.isnan(sensitivity(labels, labels, classes=3)[2])
    assert specificity(labels, labels, classes=3).tolist() == [1, 1, 1]


def test_what_rows_of_one_class_cannot_tell_is_left_out_of_the_judgement() -> None:
    ones = torch.ones(5, dtype=torch.int64)
    assert math.isnan(area_under_roc(torch.rand(5, 2), ones))
    alone = evaluate("classification", torch.rand(5, 2), ones, ("a", "b"))
    assert not {"auc", "specificity"} & set(alone.metrics)
    labels = torch.arange(30) % 3
    logits = torch.randn(30, 3)
    both = evaluate("classification", logits, labels, ("a", "b", "c")).metrics
    wanted = roc_auc_score(
        labels.numpy(), logits.double().softmax(1).numpy(), multi_class="ovr", average="weighted"
    )
    assert both["auc"] == pytest.approx(wanted)
    per_class = specificity(logits.argmax(dim=1), labels, classes=3)
    assert both["specificity"] == pytest.approx(float(per_class.mean()))
