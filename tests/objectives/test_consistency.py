from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor

from vicinal.objectives.consistency import jensen_shannon


def outputs(views: int, count: int, classes: int, *, seed: int, scale: float = 1.0) -> Tensor:
    """(V, B, C) float64 logits."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(views, count, classes, generator=generator, dtype=torch.float64)


shapes = {"views": st.integers(1, 4), "count": st.integers(1, 5), "classes": st.integers(2, 6)}


@given(**shapes, seed=st.integers(0, 1000))
def test_equal_views_do_not_diverge(views: int, count: int, classes: int, seed: int) -> None:
    one = outputs(1, count, classes, seed=seed)
    divergence = jensen_shannon(one.expand(views, -1, -1))
    torch.testing.assert_close(divergence, torch.zeros(count), atol=1e-6, rtol=0)


@given(**shapes, seed=st.integers(0, 1000), scale=st.sampled_from([0.01, 1.0, 100.0, 1e4]))
def test_it_lies_between_zero_and_the_logarithm_of_the_number_of_views(
    views: int, count: int, classes: int, seed: int, scale: float
) -> None:
    divergence = jensen_shannon(outputs(views, count, classes, seed=seed, scale=scale))
    assert divergence.shape == (count,)
    assert (divergence >= -1e-6).all()
    assert (divergence <= math.log(views) + 1e-5).all()


@pytest.mark.parametrize("views", [2, 3, 4])
def test_views_that_are_sure_of_different_classes_diverge_by_the_logarithm(views: int) -> None:
    sure = 1000 * torch.eye(views)[:, None]
    torch.testing.assert_close(jensen_shannon(sure), torch.tensor([math.log(views)]))


@given(count=st.integers(1, 5), classes=st.integers(2, 6), seed=st.integers(0, 1000))
def test_for_two_views_it_is_scipy_s_distance_squared(count: int, classes: int, seed: int) -> None:
    logits = outputs(2, count, classes, seed=seed)
    first, second = softmax(logits.numpy(), axis=-1)
    expected = [jensenshannon(p, q) ** 2 for p, q in zip(first, second, strict=True)]
    found = jensen_shannon(logits).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(**shapes, seed=st.integers(0, 1000))
def test_it_is_the_mean_divergence_from_the_mean(
    views: int, count: int, classes: int, seed: int
) -> None:
    logits = outputs(views, count, classes, seed=seed)
    found = jensen_shannon(logits)
    for row in range(count):
        views_of = [softmax(logits[view, row].numpy()) for view in range(views)]
        mean = [sum(p[label] for p in views_of) / views for label in range(classes)]
        total = 0.0
        for p in views_of:
            total += sum(p[label] * math.log(p[label] / mean[label]) for label in range(classes))
        assert found[row].item() == pytest.approx(total / views, abs=1e-6)


def test_it_is_the_loss_of_the_augmix_paper() -> None:
    # The authors' cifar.py: the three Kullback-Leibler terms over a mixture that is clipped.
    logits = outputs(3, 6, 4, seed=5)
    probabilities = logits.softmax(dim=-1)
    log_mixture = probabilities.mean(dim=0).clamp(1e-7, 1).log()
    divide = torch.nn.functional.kl_div
    terms = [divide(log_mixture, p, reduction="batchmean") for p in probabilities]
    expected = sum(terms) / 3
    assert jensen_shannon(logits).mean().item() == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4, 1e30])
def test_gradients_are_finite_however_sure_the_views_are(scale: float) -> None:
    logits = (scale * outputs(3, 4, 5, seed=0)).float().requires_grad_()
    jensen_shannon(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_gradient_points_where_views_agree() -> None:
    logits = outputs(3, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(_double, (logits,), eps=1e-4, atol=1e-3)
    before = jensen_shannon(logits)
    (slope,) = torch.autograd.grad(before.sum(), logits)
    assert (jensen_shannon(logits - 0.1 * slope) < before).all()


def _double(logits: Tensor) -> Tensor:
    return jensen_shannon(logits).double()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    logits = outputs(3, 4, 5, seed=2).to(dtype)
    divergence = jensen_shannon(logits)
    assert divergence.dtype == torch.float32
    torch.testing.assert_close(divergence, jensen_shannon(logits.float()))


def test_the_order_of_the_views_does_not_matter() -> None:
    views = outputs(3, 20, 5, seed=3, scale=4.0)
    torch.testing.assert_close(jensen_shannon(views[[2, 0, 1]]), jensen_shannon(views))
