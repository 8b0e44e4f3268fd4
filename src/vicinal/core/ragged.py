"""Rows of unequal lengths, scenes of points say, that a batch carries as it carries a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class Ragged:
    """B rows, each of elements of its own number, one after another in memory.

    values: (N, ...), the elements of all rows in order.
    offsets: (B + 1,) int64, where the rows begin, and where the last one ends.

    Raises:
        ValueError: the offsets do not divide the values.
    """

    values: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        if self.offsets.dim() != 1 or self.offsets.dtype != torch.int64 or not len(self.offsets):
            raise ValueError(
                f"offsets must be (B + 1,) int64, got {self.offsets.dtype} "
                f"{tuple(self.offsets.shape)}"
            )

    @classmethod
    def of(cls, rows: Sequence[Tensor]) -> Self:
        """The rows one by one. rows: at least one, each (n, ...)."""
        sizes = torch.tensor([0, *(len(row) for row in rows)], device=rows[0].device)
        return cls(torch.cat(list(rows)), sizes.cumsum(0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """How many elements each row has. Returns (B,) int64."""
        return self.offsets.diff()

    @property
    def row(self) -> Tensor:
        """The row that each element belongs to. Returns (N,) int64."""
        rows = torch.arange(len(self), device=self.offsets.device)
        return rows.repeat_interleave(self.lengths, output_size=len(self.values))

    @property
    def device(self) -> torch.device:
        """Where the elements lie."""
        return self.values.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the elements."""
        return self.values.dtype

    def rows(self) -> list[Tensor]:
        """The rows one by one, as views."""
        return list(torch.split(self.values, self.lengths.tolist()))

    def with_values(self, values: Tensor) -> Self:
        """Other elements in rows of the same lengths. values: (N, ...)."""
        return type(self)(values, self.offsets)

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Some of the rows. rows: a slice, (M,) int64, or (B,) bool."""
        lengths = self.lengths[rows]
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        # How far each picked row lies from where it goes.
        moved = self.offsets[:-1][rows] - offsets[:-1]
        size = int(offsets[-1])
        places = torch.arange(size, device=self.device)
        places += moved.repeat_interleave(lengths, output_size=size)
        return type(self)(self.values.index_select(0, places), offsets)

    def index_select(self, dim: int, rows: Tensor) -> Self:
        """As a tensor has it, so that records of both can be indexed alike. dim: 0."""
        if dim != 0:
            raise ValueError(f"rows lie along dimension 0, got {dim}")
        return self[rows]

    def equal(self, other: Ragged) -> bool:
        """Whether the other has the same elements of the same type in the same rows."""
        return (
            self.dtype == other.dtype
            and torch.equal(self.offsets, other.offsets)
            and torch.equal(self.values, other.values)
        )

    def select(self, kept: Tensor) -> Self:
        """Some of the elements, in as many rows. kept: (N,) bool."""
        before = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
        return type(self)(self.values[kept], before[self.offsets])

    def joined(self, counts: Tensor) -> Self:
        """Consecutive rows made one. counts: (M,) int64, how many rows each new one takes."""
        ends = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return type(self)(self.values, self.offsets[ends])

    def clone(self) -> Self:
        """The same rows in memory of their own."""
        return type(self)(self.values.clone(), self.offsets.clone())

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """The same rows on another device, or with elements of another type."""
        if isinstance(target, torch.dtype):
            return self.with_values(self.values.to(target))
        return type(self)(self.values.to(target), self.offsets.to(target))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in order."""
        lengths = torch.cat([part.lengths for part in parts])
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        return cls(torch.cat([part.values for part in parts]), offsets)
