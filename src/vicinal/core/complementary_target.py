"""Complementary labels: classes that a sample does not belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.target import Target

if TYPE_CHECKING:
    from typing_extensions import Self

#: Probabilities stay as far from 0 and 1 where their logarithm is taken, as in the authors' code.
EDGE = 1e-6


@dataclass(frozen=True)
class ComplementaryTarget(Target):
    """A weighted mixture of classes that each sample is *not* of.

    It is a type of its own, so that nothing that trains towards a class takes it for one.

    Source: Ishida et al., Learning from Complementary Labels, NeurIPS 2017; the loss is that of
    Chou et al., Unbiased Risk Estimators Can Mislead, ICML 2020 (SCL-NL).

    excluded: (B, K) int64, classes.
    weights: (B, K) float, or None where each row excludes one class with weight 1.
    """

    excluded: Tensor
    weights: Tensor | None = None
    kind: ClassVar[str] = "complementary"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.excluded.dim() != 2 or self.excluded.dtype != torch.int64:
            raise TypeError(
                f"excluded must be (B, K) int64, got {self.excluded.dtype} "
                f"{tuple(self.excluded.shape)}"
            )
        if self.weights is None and self.excluded.shape[1] != 1:
            raise ValueError(f"{self.excluded.shape[1]} excluded classes a row need weights")
        if self.weights is not None and self.weights.shape != self.excluded.shape:
            raise ValueError(
                f"weights {tuple(self.weights.shape)} must have the shape of excluded "
                f"{tuple(self.excluded.shape)}"
            )

    def _weights(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return torch.ones(self.excluded.shape, device=self.excluded.device)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        """Neither what the one nor what the other excludes: right where both are of one class.

        Mixtures of two classes are another matter: what the one excludes may be the other's class.
        """
        given = 1 - kept if given is None else given
        weights = [self._weights() * kept[:, None], other._weights() * given[:, None]]
        excluded = torch.cat([self.excluded, other.excluded], dim=1)
        return type(self)(excluded, torch.cat(weights, dim=1))

    def total(self) -> Tensor:
        """The weight of each row. Returns (B,)."""
        return self._weights().sum(dim=1)

    def weigh(self, costs: Tensor) -> Tensor:
        """What each row costs. costs: (B, C), of excluding each class. Returns (B,)."""
        return (self._weights() * costs.gather(1, self.excluded)).sum(dim=1)

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """The weighted sum of -log(1 - p) over the excluded classes. output: (B, C) logits."""
        loss = self.weigh(negative_log_exclusion(output))
        return loss.mean() if reduction == "mean" else loss

    def dense(self, num_classes: int) -> Tensor:
        """One row of weights over all classes, equal ones added up. Returns (B, num_classes)."""
        weights = self._weights()
        empty = weights.new_zeros(len(self), num_classes)
        return empty.scatter_add_(1, self.excluded, weights)

    def score(self, output: Tensor) -> Tensor:
        """The share of the weight that the class predicted stays clear of. output: (B, C).

        A prediction that is right has a score of 1; of wrong ones most have it too.
        """
        hit = self.excluded == output.argmax(dim=1, keepdim=True)
        total = self.total().clamp(min=torch.finfo(torch.float32).tiny)
        return 1 - (hit * self._weights()).sum(dim=1) / total

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        if not parts:
            raise ValueError(f"nothing to concatenate: no {cls.__name__} given")
        width = max(part.excluded.shape[1] for part in parts)

        def padded(tensor: Tensor) -> Tensor:
            return F.pad(tensor, (0, width - tensor.shape[1]))

        plain = all(part.weights is None for part in parts)
        return cls(
            excluded=torch.cat([padded(part.excluded) for part in parts]),
            weights=None if plain else torch.cat([padded(part._weights()) for part in parts]),
        )


def negative_log_exclusion(output: Tensor) -> Tensor:
    """What it costs to exclude each class: -log(1 - p). output: (B, C) logits. Returns (B, C)."""
    free = 1 - output.float().softmax(dim=1)
    return -free.clamp(EDGE, 1 - EDGE).log()


def uniform_transition(num_classes: int) -> Tensor:
    """Every wrong class as likely. num_classes: at least 2. Returns (C, C) float64, rows sum to 1.

    Raises:
        ValueError: there are fewer than two classes, so that none is wrong.
    """
    if num_classes < 2:
        raise ValueError(f"complementary labels need at least 2 classes, got {num_classes}")
    wrong = 1 - torch.eye(num_classes, dtype=torch.float64)
    return wrong / (num_classes - 1)
