from __future__ import annotations

import math

import pytest
import torch

from vicinal.evaluate.incremental import final_average_accuracy, forgetting, predicted_share

#: Three tasks; the first is forgotten, the second gets better.
TABLE = torch.tensor([[0.9, math.nan, math.nan], [0.95, 0.6, math.nan], [0.5, 0.7, 0.8]])


def test_the_final_accuracy_is_the_mean_of_all_tasks_after_the_last() -> None:
    assert final_average_accuracy(TABLE) == pytest.approx((0.5 + 0.7 + 0.8) / 3)


def test_forgetting_is_the_fall_from_the_best_before_the_end() -> None:
    assert forgetting(TABLE) == pytest.approx(((0.95 - 0.5) + (0.6 - 0.7)) / 2)
    assert forgetting(torch.ones(4, 4)) == 0
    assert forgetting(torch.tensor([[0.3]])) == 0


def test_tasks_before_they_were_learnt_are_not_read() -> None:
    guessed = TABLE.nan_to_num(1.0)
    assert forgetting(guessed) == forgetting(TABLE)
    assert final_average_accuracy(guessed) == final_average_accuracy(TABLE)


def test_predictions_are_counted_by_their_classes() -> None:
    logits = torch.eye(4)[torch.tensor([0, 1, 3, 3, 2])]
    assert predicted_share(logits, torch.tensor([0, 1])) == pytest.approx(0.4)


def test_what_is_no_table_of_accuracies_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(T, T\), got \(2, 3\)"):
        forgetting(torch.ones(2, 3))
    with pytest.raises(ValueError, match="finite"):
        final_average_accuracy(torch.full((2, 2), math.nan))
