from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, MultiLabelTarget, SoftTarget
from vicinal.objectives.softmax_binary import SoftmaxBinaryLoss


def loss_of(output: torch.Tensor, target: ClassTarget | SoftTarget) -> torch.Tensor:
    return SoftmaxBinaryLoss()(output, Batch.of(torch.zeros(len(output), 1), target), None, {})


def test_it_is_half_as_many_times_torchs_as_there_are_classes() -> None:
    output = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    given = torch.tensor([[0, 1], [1, 2], [2, 2], [3, 0], [4, 1], [0, 4]])
    target = ClassTarget(given, torch.tensor([[0.3, 0.7]]).expand(6, 2))
    expected = 5 / 2 * F.binary_cross_entropy(output.softmax(dim=1), target.dense(5))
    torch.testing.assert_close(loss_of(output, target), expected)
    torch.testing.assert_close(loss_of(output, SoftTarget(target.dense(5))), expected)


def test_two_classes_make_it_cross_entropy() -> None:
    output = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(6) % 2
    torch.testing.assert_close(
        loss_of(output, ClassTarget(labels[:, None])), F.cross_entropy(output, labels)
    )


def test_it_is_finite_with_its_gradient_where_the_model_is_sure_and_wrong() -> None:
    output = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    loss = loss_of(output, ClassTarget(torch.tensor([[1]])))
    (gradient,) = torch.autograd.grad(loss, output)
    assert 100 < loss < 200
    assert gradient.isfinite().all()
    assert gradient[0, 1] < 0


def test_targets_that_are_no_classes_are_refused() -> None:
    batch = Batch.of(torch.zeros(2, 1), MultiLabelTarget(torch.zeros(2, 3)))
    with pytest.raises(TypeError, match="needs classes, got a multilabel target"):
        SoftmaxBinaryLoss()(torch.zeros(2, 3), batch, None, {})
