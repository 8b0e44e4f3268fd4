"""A class for each element: losses go by element, and those that are ignored do not count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.ragged import Ragged

LABELS = [torch.tensor([0, 2, IGNORED]), torch.tensor([1]), torch.tensor([IGNORED])]


def target() -> ElementTarget:
    return ElementTarget(Ragged.of(LABELS))


def output() -> torch.Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def test_the_loss_is_the_mean_over_the_elements_that_are_asked_for() -> None:
    logits = output()
    wanted = F.cross_entropy(logits[[0, 1, 3]], torch.tensor([0, 2, 1]))
    torch.testing.assert_close(target().loss(logits), wanted)
    each = target().loss(logits, reduction="none")
    first = F.cross_entropy(logits[:2], torch.tensor([0, 2]))
    torch.testing.assert_close(
        each, torch.stack([first, -logits[3].log_softmax(0)[1], each.new_zeros(())])
    )


def test_where_all_is_ignored_the_loss_is_zero_and_its_gradient_too() -> None:
    logits = output()[:1].requires_grad_()
    loss = ElementTarget(Ragged.of([torch.tensor([IGNORED])])).loss(logits)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_score_is_the_share_that_is_right() -> None:
    logits = F.one_hot(torch.tensor([0, 1, 2, 1, 0]), 3).float()
    assert target().score(logits).tolist() == [0.5, 1.0, 0.0]


def test_elements_are_joined_and_not_mixed() -> None:
    with pytest.raises(TypeError, match="join the samples instead"):
        target().mix(target(), torch.ones(3))


def test_rows_are_picked_and_compared() -> None:
    picked = target()[torch.tensor([1, 0])]
    assert picked.labels.lengths.tolist() == [1, 3]
    assert target().equal(target())
    assert not target().equal(picked)
    assert ElementTarget.concatenate([target()[:1], target()[1:]]).equal(target())
    assert target().select(
        torch.tensor([True, False, True, True, False])
    ).labels.lengths.tolist() == [2, 1, 0]
