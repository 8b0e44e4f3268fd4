"""Scenes are judged point by point, classes alike."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vicinal.core.element_target import IGNORED
from vicinal.core.ragged import Ragged
from vicinal.evaluate import evaluate, primary_metric
from vicinal.evaluate.segmentation import intersection_over_union

RIGHT = torch.tensor([0, 0, 0, 1, 1, 2, IGNORED])
TAKEN = torch.tensor([0, 0, 1, 1, 2, 2, 0])


def test_intersection_over_union_by_hand() -> None:
    asked = RIGHT != IGNORED
    found = intersection_over_union(TAKEN[asked], RIGHT[asked], 4)
    assert found[:3].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    assert found[3].isnan()


def test_the_mean_iou_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_jaccard_index

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 6, generator=generator)
    labels = torch.randint(6, (500,), generator=generator)
    found = evaluate("segmentation", logits, Ragged.of([labels]), [str(i) for i in range(6)])
    wanted = multiclass_jaccard_index(logits, labels, 6, average="macro")
    assert found.metrics["miou"] == pytest.approx(float(wanted))
    assert primary_metric("segmentation") == "miou"


def test_ignored_points_do_not_count() -> None:
    logits = F.one_hot(TAKEN, 4).float()
    rows = Ragged.of([RIGHT[:4], RIGHT[4:]])
    found = evaluate("segmentation", logits, rows, ["a", "b", "c", "d"])
    assert found.metrics["miou"] == pytest.approx(0.5)
    assert found.metrics["accuracy"] == pytest.approx(4 / 6)
