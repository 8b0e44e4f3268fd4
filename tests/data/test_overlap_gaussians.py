"""Two clouds that overlap."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import ndtr

from vicinal.data.overlap_gaussians import log_odds, make_overlap_gaussians
from vicinal.evaluate.temperature import TemperatureScaling


def test_points_have_the_mean_of_their_class_and_a_spread_of_one() -> None:
    x, labels = make_overlap_gaussians(0.25)
    assert x.shape == (5000, 300)
    assert x.dtype == torch.float32
    assert labels.double().mean().item() == pytest.approx(0.5, abs=0.03)
    for one, mean in enumerate((0.0, 0.25)):
        own = x[labels == one]
        assert own.mean().item() == pytest.approx(mean, abs=0.005)
        assert own.std().item() == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("mu", [0.25, 0.1, 0.05, 0.01])
def test_the_best_logits_are_right_as_often_as_the_overlap_lets_them_and_calibrated(
    mu: float,
) -> None:
    x, labels = make_overlap_gaussians(mu, count=20_000)
    odds = log_odds(x.double(), mu)
    right = ((odds > 0) == labels.bool()).double().mean().item()
    assert right == pytest.approx(ndtr(mu * math.sqrt(300) / 2), abs=0.01)
    logits = torch.stack([torch.zeros_like(odds), odds], dim=1)
    # One over the temperature is found up to its standard error.
    information = (odds.square() * odds.sigmoid() * (-odds).sigmoid()).sum().item()
    inverse = 1 / TemperatureScaling().fit(logits, labels).temperature
    assert inverse == pytest.approx(1.0, abs=3 / math.sqrt(information))


def test_a_seed_decides_everything() -> None:
    first, again, other = (make_overlap_gaussians(count=50, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_what_is_no_cloud_is_refused() -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        make_overlap_gaussians(count=0)
    with pytest.raises(ValueError, match="dimensions must be at least 1, got 0"):
        make_overlap_gaussians(dimensions=0)
    with pytest.raises(ValueError, match="mu must be finite, got inf"):
        make_overlap_gaussians(math.inf)
