"""Records whose fields are tensors with the batch as first dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vicinal.core.ragged import Ragged

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Rows:
    """A frozen dataclass of tensors of B rows each.

    A field may also be a `Rows`, a tuple of `Rows`, None where it is optional, or a string that
    holds for all rows.

    Raises:
        ValueError: two fields differ in their number of rows.
    """

    def __post_init__(self) -> None:
        # Records of plain tensors are made several times a batch: no generator for them, and no
        # `len`, for which torch goes a long way round.
        lengths = set()
        for value in vars(self).values():
            if isinstance(value, Tensor) and value.dim():
                lengths.add(value.shape[0])
            elif value is not None and not isinstance(value, str):
                lengths = {len(leaf) for _, leaf in self.leaves()}
                break
        if len(lengths) > 1:
            sizes = {name: len(leaf) for name, leaf in self.leaves()}
            raise ValueError(f"all fields of {type(self).__name__} need equal lengths, got {sizes}")

    def fields(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the fields that have rows."""
        for name, value in vars(self).items():
            if not isinstance(value, str):
                yield name, value

    def leaves(self) -> Iterator[tuple[str, Tensor | Rows]]:
        """The tensors and records in the fields; those of a tuple are `field.0`, `field.1`."""
        for name, value in self.fields():
            if isinstance(value, tuple):
                yield from ((f"{name}.{place}", part) for place, part in enumerate(value))
            elif value is not None:
                yield name, value

    def __len__(self) -> int:
        for _, leaf in self.leaves():
            return leaf.shape[0] if isinstance(leaf, Tensor) else len(leaf)
        return 0

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same record with a function applied to every tensor in it."""
        return type(self)(**vars(self) | {k: _map(v, function) for k, v in self.fields()})

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Some of the rows. rows: a slice, (M,) int64, or (B,) bool."""
        if not isinstance(rows, slice | Tensor):
            raise TypeError(f"rows must be a slice or a tensor, got {type(rows).__name__}")
        if isinstance(rows, Tensor) and rows.dtype == torch.int64:
            return self.map(lambda tensor: tensor.index_select(0, rows))
        return self.map(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> Self:
        """The same record on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> Self:
        """The same record without gradients."""
        return self.map(Tensor.detach)

    def equal(self, other: object) -> bool:
        """Whether the other is of the same class with the same tensors, element by element."""
        if not isinstance(other, Rows) or type(self) is not type(other):
            return False
        return all(
            _equal(mine, theirs)
            for (_, mine), (_, theirs) in zip(self.fields(), other.fields(), strict=True)
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in order.

        Raises:
            ValueError: there is no part, or an optional field is there in some parts only.
        """
        if not parts:
            raise ValueError(f"nothing to concatenate: no {cls.__name__} given")
        columns = zip(*(list(part.fields()) for part in parts), strict=True)
        fields = {column[0][0]: _concatenate([value for _, value in column]) for column in columns}
        return type(parts[0])(**vars(parts[0]) | fields)


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(part.map(function) for part in value)
    return value.map(function) if isinstance(value, Rows) else function(value)


def _equal(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, Rows):
        return mine.equal(theirs)
    if isinstance(mine, tuple):
        return len(mine) == len(theirs) and all(map(_equal, mine, theirs))
    if mine is None or theirs is None:
        return mine is theirs
    if isinstance(mine, Ragged):
        return isinstance(theirs, Ragged) and mine.equal(theirs)
    return mine.dtype == theirs.dtype and torch.equal(mine, theirs)


def _concatenate(values: list[Any]) -> Any:
    missing = [value is None for value in values]
    if all(missing):
        return None
    if any(missing):
        raise ValueError("an optional field is there in some parts only")
    if isinstance(values[0], tuple):
        return tuple(_concatenate(list(parts)) for parts in zip(*values, strict=True))
    if isinstance(values[0], Rows):
        return type(values[0]).concatenate(values)
    return torch.cat(values)
