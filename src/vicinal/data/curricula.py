"""Curricula: how much augmentation a moment of training gets."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TanhRamp:
    """A share that rises fast at first, and reaches one.

    Source: Hou et al., When to Learn What, ICCV 2023: min(tanh(e / tau) + 0.01, 1).

    tau: where the share is tanh(1) + 0.01 = 0.77; > 0, in the unit of the moments asked for. The
        share is one from 2.65 tau on.

    Raises:
        ValueError: tau is not positive.
    """

    tau: float

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau must be positive, got {self.tau}")

    def __call__(self, moment: float) -> float:
        """The share, in [0.01, 1]. moment: >= 0."""
        return min(math.tanh(moment / self.tau) + 0.01, 1.0)
