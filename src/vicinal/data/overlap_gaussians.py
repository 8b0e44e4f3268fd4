"""Two clouds of points that overlap: a task on which nobody can be sure."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

#: Values of a point, and points of the authors' task.
DIMENSIONS, POINTS = 300, 5000


def make_overlap_gaussians(
    mu: float = 0.1, *, count: int = POINTS, dimensions: int = DIMENSIONS, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Points of N(0, I) and of N(mu * 1, I), either with probability one half.

    A network can learn by heart which is which among points so far from each other, and is certain
    of it then. Where the clouds overlap much, a temperature that is fitted afterwards ends at
    chance.

    Source: Chidambaram and Ge, On the Limitations of Temperature Scaling for Distributions with
    Overlaps, ICLR 2024, with mu of 0.25, 0.1, 0.05 and 0.01, and the authors' data_utils.py.

    Args:
        mu: of every value in the second class. The clouds' centres are mu * sqrt(dimensions) apart.
        count: points of both classes, >= 1.
        dimensions: values of a point, >= 1.
        seed: decides everything.

    Returns:
        (count, dimensions) float32, and their classes, (count,) int64, 0 and 1.

    Raises:
        ValueError: a number is too small, or mu is not finite.
    """
    for name, number in {"count": count, "dimensions": dimensions}.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if not math.isfinite(mu):
        raise ValueError(f"mu must be finite, got {mu}")
    generator = np.random.default_rng(seed)
    labels = torch.from_numpy(generator.integers(2, size=count))
    noise = torch.from_numpy(generator.standard_normal((count, dimensions), dtype=np.float32))
    return noise + mu * labels[:, None], labels


def log_odds(x: Tensor, mu: float) -> Tensor:
    """The logarithm of p(class 1) / p(class 0): the best logits that there can be.

    Args:
        x: (N, D), points of `make_overlap_gaussians`.
        mu: as they were made with.

    Returns:
        (N,) of x's type.
    """
    return mu * x.sum(dim=1) - x.shape[1] * mu**2 / 2
