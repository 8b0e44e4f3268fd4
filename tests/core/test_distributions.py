"""The distributions of `Draws`, held against scipy's; all numbers are fixed by their seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from vicinal import Draws

COUNT = 200_000
#: Kolmogorov and Smirnov's distance that one in a million of samples of this size exceeds.
FAR = 2.7 / COUNT**0.5


def draws(seed: int = 0, count: int = COUNT) -> Draws:
    return Draws(seed, torch.arange(count))


def distance(numbers: Tensor, distribution: stats.rv_continuous) -> float:
    """Between the sample's distribution function and the true one."""
    return float(stats.kstest(numbers.double().numpy(), distribution.cdf).statistic)


@pytest.mark.parametrize("seed", range(3))
def test_uniform(seed: int) -> None:
    numbers = draws(seed).uniform("a")
    assert distance(numbers, stats.uniform()) < FAR
    assert 0 <= numbers.min() < numbers.max() < 1
    scaled = draws(seed).uniform("a", -2, 6)
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, numbers * 8 - 2)


def test_uniform_numbers_of_one_row_fill_the_interval_too() -> None:
    numbers = Draws(0, torch.tensor([12345])).uniform("a", shape=(400, 500))
    assert distance(numbers.flatten(), stats.uniform()) < FAR


@pytest.mark.parametrize("seed", range(3))
def test_normal(seed: int) -> None:
    numbers = draws(seed).normal("a")
    assert numbers.dtype == torch.float32
    assert numbers.isfinite().all()
    assert distance(numbers, stats.norm()) < FAR
    assert numbers.abs().max() > 4  # one in 16,000


@pytest.mark.parametrize("a, b", [(0.5, 0.5), (1.0, 1.0), (2.0, 5.0), (0.8, 3.0), (50.0, 70.0)])
def test_beta(a: float, b: float) -> None:
    assert distance(draws().beta("a", a, b), stats.beta(a, b)) < FAR + 1e-4


def test_beta_is_right_at_the_extremes() -> None:
    # By a ratio of two float32 Gammas 18 % would land in the middle.
    numbers = draws(count=2_000_000).beta("a", 0.01, 0.01)
    share = ((numbers > 0.45) & (numbers < 0.55)).double().mean().item()
    exact = float(np.diff(stats.beta(0.01, 0.01).cdf([0.45, 0.55]))[0])
    assert exact == pytest.approx(0.00198, abs=5e-6)
    assert share == pytest.approx(exact, rel=0.06)  # four deviations
    assert (numbers < 0.5).double().mean().item() == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize("shape", [0.01, 0.1, 0.2])
def test_small_shapes_of_beta_have_the_right_share_in_every_decade(shape: float) -> None:
    numbers = draws(count=500_000).beta("a", shape, shape).double().numpy()
    edges = [1e-30, 1e-10, 1e-5, 1e-3, 0.1, 0.5, 0.9, 0.999]
    found = [(numbers <= edge).mean() for edge in edges]
    np.testing.assert_allclose(found, stats.beta(shape, shape).cdf(edges), atol=0.004)


@pytest.mark.parametrize("bound", [1, 2, 7, 224])
def test_below_is_uniform_on_whole_numbers(bound: int) -> None:
    numbers = draws().below("a", bound)
    assert numbers.dtype == torch.int64
    assert numbers.min() == 0
    assert numbers.max() == bound - 1
    expected = COUNT / bound
    chi_square = ((torch.bincount(numbers) - expected) ** 2 / expected).sum().item()
    assert chi_square <= stats.chi2(max(1, bound - 1)).ppf(1 - 1e-5)


def test_below_reaches_its_end_for_large_bounds_and_not_beyond() -> None:
    numbers = draws().below("a", 2**31)
    assert 0 <= numbers.min() < 2**31 * 1e-4
    assert 2**31 * (1 - 1e-4) < numbers.max() < 2**31


def test_bounds_may_differ_by_row_and_by_place() -> None:
    bounds = torch.tensor([3, 50])
    numbers = draws().below("a", bounds, shape=(2,))
    assert numbers.amax(0).tolist() == [2, 49]
    per_row = draws().below("a", torch.arange(COUNT) + 1)
    assert (per_row <= torch.arange(COUNT)).all()
    assert (per_row.double() / torch.arange(1, COUNT + 1)).mean() == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_bernoulli(probability: float) -> None:
    found = draws().bernoulli("a", probability)
    assert found.dtype == torch.bool
    deviation = (probability * (1 - probability) / COUNT) ** 0.5
    assert found.double().mean().item() == pytest.approx(probability, abs=5 * deviation)


def test_choice_goes_by_weight_and_never_takes_what_has_none() -> None:
    weights = [0.0, 1.0, 0.0, 3.0, 6.0, 0.0]
    counts = torch.bincount(draws().choice("a", weights), minlength=6)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    shares = counts[[1, 3, 4]].double() / COUNT
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.3, 0.6]).double(), atol=0.005, rtol=0)


def test_dirichlet_has_the_moments_of_its_concentrations() -> None:
    parts = draws().dirichlet("a", [1.0, 1.0, 1.0]).double()
    torch.testing.assert_close(parts.sum(1), torch.ones(COUNT).double(), atol=1e-6, rtol=0)
    assert parts.mean(0).tolist() == pytest.approx([1 / 3] * 3, rel=0.01)
    assert parts.var(0).tolist() == pytest.approx([1 / 18] * 3, rel=0.03)
    covariance = torch.cov(parts.T)
    assert covariance[0, 1].item() == pytest.approx(-1 / 36, rel=0.03)
    uneven = draws().dirichlet("b", [0.2, 1.0, 4.0]).double()
    exact = stats.dirichlet([0.2, 1.0, 4.0])
    assert uneven.mean(0).tolist() == pytest.approx(exact.mean().tolist(), abs=0.003)
    assert uneven.var(0).tolist() == pytest.approx(exact.var().tolist(), rel=0.05)


def test_dirichlet_of_one_part_is_the_whole() -> None:
    assert (draws(count=5).dirichlet("a", [0.3]) == 1).all()


def test_every_bit_of_a_key_is_fair() -> None:
    keys = draws().keys("a").numpy().view(np.uint8).reshape(COUNT, 8)
    shares = np.unpackbits(keys, axis=1).mean(0)
    assert np.abs(shares - 0.5).max() < 0.006  # of 64 bits, five deviations
    assert len(np.unique(keys, axis=0)) == COUNT
