from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, RegressionTarget, Target
from vicinal.objectives.target_loss import TargetLoss


def batch(target: Target | None, count: int = 4) -> Batch:
    return Batch(x=torch.zeros(count, 2), target=target, index=torch.arange(count))


def test_for_plain_classes_it_is_the_cross_entropy() -> None:
    output = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1, 1])
    loss = TargetLoss()(output, batch(Target.of(labels)), None, {})
    torch.testing.assert_close(loss, F.cross_entropy(output, labels))


def test_for_mixed_classes_it_is_the_weighted_mean_of_two_cross_entropies() -> None:
    output = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    first, second = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 2, 0, 2])
    kept = torch.tensor([0.3, 1.0, 0.0, 0.5])
    target = ClassTarget(first[:, None]).mix(ClassTarget(second[:, None]), kept)
    loss = TargetLoss()(output, batch(target), None, {})
    own, other = (F.cross_entropy(output, one, reduction="none") for one in (first, second))
    torch.testing.assert_close(loss, (kept * own + (1 - kept) * other).mean())


def test_for_numbers_it_is_the_squared_error() -> None:
    output, values = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 4.0])
    loss = TargetLoss()(output, batch(RegressionTarget(values), 2), None, {})
    assert loss.item() == pytest.approx((1 + 4) / 2)


def test_without_a_target_there_is_no_loss() -> None:
    with pytest.raises(ValueError, match="without a target"):
        TargetLoss()(torch.zeros(4, 3), batch(None), None, {})
