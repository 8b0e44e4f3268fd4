"""The divergence of a model from a teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vicinal import Batch
from vicinal.core.target import ClassTarget, RegressionTarget, SoftTarget, Target
from vicinal.objectives.distill_kl import DistillKL, kl_divergence

GOLDEN = Path(__file__).parents[1] / "data" / "reinforced" / "golden" / "ml_dr.json"


def batch(target: Target | None, size: int) -> Batch:
    return Batch(x=torch.zeros(size, 1), target=target, index=torch.arange(size))


@given(seed=st.integers(0, 1000), sharpness=st.floats(0.1, 20.0))
def test_of_sparse_labels_it_is_that_of_the_dense_ones(seed: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Labels come twice in a row, and some have no weight.
    labels = torch.randint(0, 6, (5, 4), generator=generator)
    weights = (sharpness * torch.randn(5, 5, generator=generator)).softmax(dim=1)
    weights = weights * (torch.rand(5, 5, generator=generator) > 0.2)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    target = ClassTarget(labels, weights[:, :4], weights[:, 4])
    output = torch.randn(5, 6, generator=generator, requires_grad=True)
    dense = target.dense(6)
    expected = F.kl_div(output.log_softmax(dim=1), dense, reduction="none").sum(dim=1)
    found = kl_divergence(target, output)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kl_divergence(SoftTarget(dense), output), expected)
    slopes = [torch.autograd.grad(one.sum(), output)[0] for one in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-5, rtol=1e-5)


def test_it_is_zero_for_a_model_that_says_what_the_teacher_says() -> None:
    output = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    own = SoftTarget(output.softmax(dim=1))
    torch.testing.assert_close(kl_divergence(own, output), torch.zeros(4), atol=1e-6, rtol=0)
    hard = ClassTarget(torch.tensor([[0], [1], [2], [3]]))
    torch.testing.assert_close(
        kl_divergence(hard, output), F.cross_entropy(output, hard.labels[:, 0], reduction="none")
    )


def test_the_authors_code_has_the_same_loss_and_gradient() -> None:
    golden = json.loads(GOLDEN.read_text())
    output = torch.tensor(golden["student_logits"], requires_grad=True)
    samples = batch(SoftTarget(torch.tensor(golden["dense"])), len(output))
    loss = DistillKL()(output, samples, None, {})
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], abs=1e-5)
    torch.testing.assert_close(output.grad, torch.tensor(golden["gradient"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "target, found",
    [(RegressionTarget(torch.zeros(2)), "a regression target"), (None, "no target")],
)
def test_what_is_no_distribution_cannot_be_learnt(target: Target | None, found: str) -> None:
    with pytest.raises(TypeError, match=f"needs a distribution over classes, got {found}"):
        DistillKL()(torch.zeros(2, 3), batch(target, 2), None, {})
