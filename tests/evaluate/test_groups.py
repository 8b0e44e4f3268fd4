"""The accuracy of the group that fares worst."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score

from vicinal.evaluate.groups import group_accuracies, worst_group_accuracy


def test_each_group_is_scored_by_itself_and_the_worst_is_told() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labels = torch.randint(3, (2, 90), generator=generator)
    groups = torch.randint(4, (90,), generator=generator) * 10 - 5
    found = group_accuracies(predicted, labels, groups)
    assert set(found) == set(groups.tolist())
    for name, accuracy in found.items():
        rows = groups == name
        assert accuracy == pytest.approx(accuracy_score(labels[rows], predicted[rows]))
    assert worst_group_accuracy(predicted, labels, groups) == min(found.values())


def test_unequal_lengths_and_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"with N > 0, got \(3,\), \(3,\) and \(2,\)"):
        group_accuracies(torch.zeros(3), torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="N > 0"):
        worst_group_accuracy(*torch.zeros(3, 0))
