"""A teacher's output with most classes left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from vicinal.core.rows import Rows
from vicinal.core.target import ClassTarget

if TYPE_CHECKING:
    from typing_extensions import Self

Densify = Literal["smooth", "renormalise"]


@dataclass(frozen=True)
class TopK(Rows):
    """The K most probable classes of each row, the first the most probable.

    label: (B, K) int64.
    probability: (B, K) float16, in [0, 1].
    rest: (B,) float32, the probability of all other classes together, so that a row sums to 1 in
        spite of rounding; 0 where the rounded numbers already do, or where no class is left.
    """

    label: Tensor
    probability: Tensor
    rest: Tensor

    @classmethod
    def of(cls, probabilities: Tensor, k: int) -> Self:
        """Keep the k largest probabilities of each row, or all of them if there are fewer.

        Args:
            probabilities: (B, C) float, rows sum to 1.
            k: at least 1.

        Raises:
            ValueError: k is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        classes = probabilities.shape[1]
        kept = probabilities.float().topk(min(k, classes), dim=1)
        rounded = kept.values.half()
        rest = (1 - rounded.double().sum(dim=1)).clamp(min=0).float()
        return cls(kept.indices, rounded, rest if k < classes else torch.zeros_like(rest))

    def target(self, classes: int, *, densify: Densify = "smooth") -> ClassTarget:
        """The soft label that the rows stand for: K labels, and what is spread over all classes.

        Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, and the authors'
        dr/utils.py, `densify`. Their other way, a softmax of the kept probabilities, flattens the
        label; renormalising takes its place here.

        Args:
            classes: of the task, C.
            densify: `smooth` leaves the kept probabilities as they are and spreads the rest evenly
                over the C - K other classes; `renormalise` gives these nothing. Rows that leave no
                rest, because rounding brought them above 1 or K = C, are renormalised in any case.

        Raises:
            ValueError: densify is neither.
        """
        if densify not in get_args(Densify):
            known = ", ".join(get_args(Densify))
            raise ValueError(f"densify must be one of {known}, got {densify!r}")
        kept = self.probability.float()
        others = classes - kept.shape[1]
        renormalised = kept / kept.sum(dim=1, keepdim=True)
        if densify == "renormalise" or others == 0:
            return ClassTarget(self.label, renormalised)
        # The target spreads over all classes: what a kept class gets of it is taken off its own
        # weight, by the very number that comes back when the target is made dense.
        uniform = self.rest * (classes / others)
        weights = kept - uniform[:, None] / classes
        full = (self.rest == 0)[:, None]
        return ClassTarget(self.label, torch.where(full, renormalised, weights), uniform)
