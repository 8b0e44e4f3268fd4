"""Labels and a teacher's logits, on the scale of their spread."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal import Batch
from vicinal.objectives.standardised_distillation import StandardisedDistillation, standardised


def logits(seed: int, classes: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, classes, generator=generator, dtype=torch.float64)


def loss_of(
    student: Tensor, teacher: Tensor, objective: StandardisedDistillation | None = None
) -> Tensor:
    batch = Batch.of(torch.zeros(4, 1), torch.arange(4) % student.shape[1])
    batch = batch.replace(extras={"teacher": teacher})
    return (objective or StandardisedDistillation())(student, batch, None, {})


def test_it_is_the_loss_of_the_paper() -> None:
    student, teacher = logits(0), logits(1)
    labels = torch.arange(4)
    total = 0.0
    for row in range(4):
        s = student[row] / student[row].std(correction=1)
        t = teacher[row] / teacher[row].std(correction=1)
        p, q = t.softmax(dim=0), s.softmax(dim=0)
        total += 0.9 * (p * (p / q).log()).sum().item() - 0.1 * q[labels[row]].log().item()
    assert loss_of(student, teacher).item() == pytest.approx(total / 4, abs=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(0.01, 0.0), (3.0, -2.0), (40.0, 7.0)])
def test_only_the_shape_of_the_logits_counts(scale: float, shift: float) -> None:
    student, teacher = logits(0), logits(1)
    plain = loss_of(student, teacher).item()
    assert loss_of(scale * student + shift, teacher).item() == pytest.approx(plain, abs=1e-6)
    assert loss_of(student, scale * teacher + shift).item() == pytest.approx(plain, abs=1e-6)
    warm = StandardisedDistillation(temperature=4.0)
    moved = loss_of(scale * student + shift, teacher, warm)
    assert abs(moved - loss_of(student, teacher, warm)) > 1e-3


def test_the_divergence_is_zero_for_standardised_logits_that_agree_and_only_for_these() -> None:
    alone = StandardisedDistillation(0.0, 1.0)
    student = logits(0)
    assert loss_of(student, 5 * student - 1, alone).item() == pytest.approx(0, abs=1e-6)
    assert loss_of(student, student + 0.3 * logits(1), alone).item() > 1e-3


def test_the_deviation_is_the_unbiased_one() -> None:
    student = logits(0, classes=3)
    biased = (
        student
        / (student - student.mean(dim=1, keepdim=True)).square().mean(dim=1, keepdim=True).sqrt()
    )
    torch.testing.assert_close(standardised(student) * math.sqrt(3 / 2), biased)


def test_gradients_flow_through_the_deviation() -> None:
    student = logits(0).requires_grad_()
    assert torch.autograd.gradcheck(standardised, student)
    # What does not depend on the scale has no slope along it; with a detached deviation it has.
    (slope,) = torch.autograd.grad(loss_of(student, logits(1)), student)
    assert (slope * student).sum(dim=1).abs().max().item() < 1e-6


def test_a_temperature_gives_the_usual_loss() -> None:
    student, teacher = logits(0), logits(1)
    divergence = F.kl_div(
        (student / 4).log_softmax(dim=1), (teacher / 4).softmax(dim=1), reduction="batchmean"
    )
    expected = 0.1 * F.cross_entropy(student, torch.arange(4)) + 0.9 * 16 * divergence
    found = loss_of(student, teacher, StandardisedDistillation(temperature=4.0))
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_constant_logits_are_survived() -> None:
    student = torch.full((4, 5), 2.0, requires_grad=True)
    loss = loss_of(student, torch.zeros(4, 5))
    (slope,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(0.1 * math.log(5), abs=1e-5)
    assert slope.isfinite().all()


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    loss_of(student, teacher).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None


def test_what_is_missing_or_out_of_range_is_told() -> None:
    batch = Batch.of(torch.zeros(4, 1))
    with pytest.raises(TypeError, match="targets"):
        StandardisedDistillation()(logits(0), batch, None, {})
    batch = Batch.of(torch.zeros(4, 1), torch.arange(4))
    with pytest.raises(LookupError, match="teacher"):
        StandardisedDistillation()(logits(0), batch, None, {})
    with pytest.raises(ValueError, match="label_weight must be"):
        StandardisedDistillation(-1.0)
    with pytest.raises(ValueError, match="teacher_weight must be"):
        StandardisedDistillation(0.1, math.nan)
    with pytest.raises(ValueError, match="temperature must be"):
        StandardisedDistillation(temperature=0.0)
