from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.objectives.distillation import self_distillation


def logits(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 6, 4, generator=generator) * 2
    return student, teacher


@given(seed=st.integers(0, 1000), temperature=st.floats(0.25, 20))
def test_it_is_the_divergence_at_the_temperature_times_its_square(
    seed: int, temperature: float
) -> None:
    student, teacher = logits(seed)
    p = (teacher.double() / temperature).softmax(dim=1)
    q = (student.double() / temperature).softmax(dim=1)
    wanted = temperature**2 * (p * (p / q).log()).sum(dim=1)
    found = self_distillation(student, teacher, temperature=temperature)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)
    assert (found > -1e-4).all()


def test_a_prediction_is_no_distance_from_itself() -> None:
    student, _ = logits()
    assert self_distillation(student, student + 5).abs().max() < 1e-6


def test_what_is_learnt_from_receives_no_gradient() -> None:
    student, teacher = (one.requires_grad_() for one in logits())
    self_distillation(student, teacher).sum().backward()
    assert teacher.grad is None
    wanted = student.detach().softmax(dim=1) - teacher.detach().softmax(dim=1)
    torch.testing.assert_close(student.grad, wanted)


def test_at_a_high_temperature_it_compares_centred_logits() -> None:
    student, teacher = logits()
    gap = student - teacher
    gap = gap - gap.mean(dim=1, keepdim=True)
    wanted = gap.square().sum(dim=1) / (2 * 4)
    found = self_distillation(student, teacher, temperature=200.0)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=0.05)
