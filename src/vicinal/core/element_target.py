"""Targets of the elements of a sample: a class for each point of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.ragged import Ragged
from vicinal.core.target import ClassTarget, RegressionTarget, Target

if TYPE_CHECKING:
    from typing_extensions import Self

#: The label of elements that are not asked for.
IGNORED = -1


@dataclass(frozen=True)
class ElementTarget(Target):
    """A class for every element, or `IGNORED`.

    labels: B rows of elements, (N,) int64.
    """

    labels: Ragged
    kind: ClassVar[str] = "elements"

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.values.dim() != 1:
            raise TypeError(
                f"labels must be rows of int64, got {self.labels.dtype} "
                f"{tuple(self.labels.values.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        """Elements have no weights: two samples are joined, not mixed. Raises TypeError."""
        raise TypeError("labels of elements cannot be mixed by weights: join the samples instead")

    def select(self, kept: Tensor) -> Self:
        """The labels of some elements. kept: (N,) bool."""
        return type(self)(self.labels.select(kept))

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Cross-entropy over all elements that are not ignored; 0 if all are.

        Args:
            output: (N, C) logits of the elements.
            reduction: `mean` over the elements; `none` gives each row's own mean, (B,).
        """
        labels = self.labels.values
        each = F.cross_entropy(output.float(), labels, ignore_index=IGNORED, reduction="none")
        asked = (labels != IGNORED).to(each.dtype)
        if reduction == "mean":
            return each.sum() / asked.sum().clamp(min=1)
        return self._sums(each) / self._sums(asked).clamp(min=1)

    def score(self, output: Tensor) -> Tensor:
        """The share of a row's elements whose class is right, of those asked for. Returns (B,)."""
        labels = self.labels.values
        right = (output.argmax(dim=1) == labels).to(output.dtype)
        asked = (labels != IGNORED).to(output.dtype)
        return self._sums(right) / self._sums(asked).clamp(min=1)

    def _sums(self, values: Tensor) -> Tensor:
        """Of each row. values: (N,). Returns (B,)."""
        return values.new_zeros(len(self)).index_add_(0, self.labels.row, values)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        return cls(Ragged.concatenate([part.labels for part in parts]))


def target_of(y: Tensor | Ragged) -> Target:
    """The target of a task's labels: (B,) classes or float values, or B rows of classes."""
    if isinstance(y, Ragged):
        return ElementTarget(y)
    return RegressionTarget(y) if y.is_floating_point() else ClassTarget(y[:, None])


def row_labels(y: Tensor | Ragged) -> Tensor | None:
    """The labels of rows, on the host; None where the elements of rows have them."""
    return None if isinstance(y, Ragged) else y.cpu()
