from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, RegressionTarget, Target
from vicinal.mixers.interpolate import Mixup
from vicinal.objectives.smoothing import SmoothedLoss
from vicinal.objectives.target_loss import TargetLoss


def batch(target: Target | None, count: int) -> Batch:
    return Batch(x=torch.zeros(count, 2), target=target, index=torch.arange(count))


@given(
    smoothing=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
    count=st.integers(1, 7),
    classes=st.integers(2, 9),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_it_equals_torch(
    smoothing: float, seed: int, count: int, classes: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = scale * torch.randn(count, classes, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    loss = SmoothedLoss(smoothing)(output, batch(Target.of(labels), count), None, {})
    expected = F.cross_entropy(output, labels, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-6 * scale)


def test_it_smooths_mixed_labels_too() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    plain = Batch.of(torch.zeros(4, 2), labels)
    mixed = Mixup()(plain, generator=torch.Generator().manual_seed(0))
    output = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    dense = 0.8 * mixed.target.dense(3) + 0.2 / 3
    expected = F.cross_entropy(output, dense)
    torch.testing.assert_close(SmoothedLoss(0.2)(output, mixed, None, {}), expected)


def test_without_a_share_it_is_the_plain_loss() -> None:
    output = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    samples = batch(Target.of(torch.tensor([0, 1, 2, 0, 1])), 5)
    plain = TargetLoss()(output, samples, None, {})
    torch.testing.assert_close(SmoothedLoss(0.0)(output, samples, None, {}), plain)


def test_it_is_least_where_the_smoothed_labels_are_predicted() -> None:
    samples = batch(ClassTarget(torch.tensor([[0]])), 1)
    best = torch.tensor([[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]]).log()
    least = SmoothedLoss(0.1)(best, samples, None, {})
    for logit in (0.0, 10.0, 1000.0):
        other = torch.tensor([[logit, 0.0, 0.0]])
        loss = SmoothedLoss(0.1)(other, samples, None, {})
        assert loss > least
        assert loss.isfinite()


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got"):
        SmoothedLoss(share)


@pytest.mark.parametrize(
    "target, found",
    [(RegressionTarget(torch.zeros(2)), "a regression target"), (None, "no target")],
)
def test_what_is_no_class_cannot_be_smoothed(target: Target | None, found: str) -> None:
    with pytest.raises(TypeError, match=f"needs class labels, got {found}"):
        SmoothedLoss(0.1)(torch.zeros(2, 3), batch(target, 2), None, {})
