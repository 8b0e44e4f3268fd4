"""Straight-through rules: gradients for operations that have none of use."""

from __future__ import annotations

from torch import Tensor


def straight_through(value: Tensor, magnitude: Tensor) -> Tensor:
    """The value of an operation, with a gradient of 1 from every element to its row's magnitude.

    Source: Bengio, Leonard and Courville, Estimating or Propagating Gradients Through Stochastic
    Neurons, 2013; for the magnitudes of image operations, Hataya et al., Faster AutoAugment, ECCV
    2020, section 3.3.

    Args:
        value: (B, ...) floating, what the operation gave; nothing flows back through it.
        magnitude: (B,) floating, how strongly it was applied.

    Returns:
        (B, ...), equal to `value` bit for bit.

    Raises:
        TypeError: value is not floating, and could carry no gradient.
    """
    if not value.is_floating_point():
        raise TypeError(f"value must be floating to carry a gradient, got {value.dtype}")
    # Added as a zero: taking the magnitude away and adding it again would round.
    nothing = (magnitude - magnitude.detach()).to(value.dtype)
    return value.detach() + nothing.view(-1, *[1] * (value.dim() - 1))
