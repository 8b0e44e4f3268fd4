"""What augmentations take and give: some rows of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.target import Target

if TYPE_CHECKING:
    from typing_extensions import Self

    from vicinal.core.probe import Probe


@dataclass(frozen=True)
class Batch:
    """B samples.

    x: a tensor (B, ...), or a dict, list or tuple of such.
    target: what the samples should give, or None.
    index: (B,) int64, their rows in the dataset.
    epoch: the pass over the dataset that they came in.
    pool: where partners are looked up by their row in the dataset; the batch itself by default. A
        slice of a batch keeps the whole as its pool; a store or a memory hands its own.
    evidence: what probes found for these samples, each (B, ...).
    extras: other things that the dataset delivers with its samples, by name, each of B rows:
        stored params, a teacher's outputs.
    out: memory that the next result's x may be written to, like x; it may be x's own, which is lost
        then. Used where it helps: on a CPU, where the first touch of new memory costs more than
        mixing.
    """

    x: Any
    target: Target | None
    index: Tensor
    epoch: int = 0
    pool: Batch | None = None
    evidence: Mapping[Probe, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
    out: Tensor | None = None

    @classmethod
    def of(cls, x: Any, target: Tensor | Target | None = None) -> Self:
        """A batch of its own, whose rows are numbered from 0."""
        leaf = x if isinstance(x, Tensor) else pytree.tree_leaves(x)[0]
        index = torch.arange(len(leaf), device=leaf.device)
        return cls(x=x, target=None if target is None else Target.of(target), index=index)

    def __post_init__(self) -> None:
        size = self.index.shape[0]  # a tensor's `len` takes five times as long
        for leaf in (self.x,) if isinstance(self.x, Tensor) else pytree.tree_leaves(self.x):
            rows = leaf.shape[0] if isinstance(leaf, Tensor) else len(leaf)
            if rows != size:
                raise ValueError(f"x has {rows} rows, and index {size}")
        if self.out is not None and not _alike(self.out, self.x):
            raise ValueError("out must have x's shape, type, device and layout")
        if self.target is not None and len(self.target) != size:
            raise ValueError(f"target has {len(self.target)} rows, and x {size}")

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def tensor(self) -> Tensor:
        """x, for an augmentation that needs it to be one tensor.

        Raises:
            TypeError: x is something else.
        """
        if not isinstance(self.x, Tensor):
            raise TypeError(f"x must be one tensor, got {type(self.x).__name__}")
        return self.x

    def replace(self, **fields: Any) -> Self:
        """The same batch with other fields. Another x has no `out` unless it is given."""
        if "x" in fields:
            fields.setdefault("out", None)
        return type(self)(**vars(self) | fields)

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Some of the samples, by position; their partners are still found in the whole."""
        picked = self.map(lambda tensor: tensor[rows])
        return picked.replace(pool=self if self.pool is None else self.pool)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same batch with a function applied to every tensor in it, the pool left out."""
        return self.replace(
            x=pytree.tree_map(function, self.x),
            target=None if self.target is None else self.target.map(function),
            index=function(self.index),
            pool=None,
            evidence={probe: function(found) for probe, found in self.evidence.items()},
            extras={
                name: value.map(function) if hasattr(value, "map") else function(value)
                for name, value in self.extras.items()
            },
        )

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device, its pool too."""
        moved = self.map(lambda tensor: tensor.to(device))
        return moved if self.pool is None else moved.replace(pool=self.pool.to(device))

    def partners(self, rows: Tensor) -> tuple[Batch, Tensor]:
        """Where the partners are: the pool, and their positions in it.

        Args:
            rows: (M,) int64, rows of the dataset.

        Returns:
            The batch that holds them, and (M,) int64 positions. A row that is there more than once
            is found at its first position.

        Raises:
            LookupError: a row is not in the pool. On an accelerator the device asserts it instead,
                so that the host need not wait.
        """
        pool = self if self.pool is None else self.pool
        if torch.compiler.is_compiling() or rows.device.type != "cpu":
            ordered, order = pool.index.sort(stable=True)
            at = order[torch.searchsorted(ordered, rows).clamp_(max=len(pool) - 1)]
            found = (pool.index[at] == rows).all()
            torch._assert_async(found, "a partner is not in the batch or its pool")
            return pool, at
        # The same in NumPy, whose calls cost less than half of torch's for so few numbers.
        index, wanted = pool.index.numpy(), rows.numpy()
        sorter = index.argsort(kind="stable")
        places = sorter.take(index.searchsorted(wanted, sorter=sorter), mode="clip")
        lost = wanted[index[places] != wanted]
        if len(lost):
            raise LookupError(f"partners {lost[:5].tolist()} are not in the batch or its pool")
        return pool, torch.from_numpy(places)

    def take(self, rows: Tensor) -> Batch:
        """The partners themselves. rows: (M,) int64, rows of the dataset. See `partners`."""
        pool, at = self.partners(rows)
        return pool.map(lambda tensor: tensor[at])


def _alike(out: Tensor, x: Any) -> bool:
    return isinstance(x, Tensor) and (out.shape, out.dtype, out.device, out.stride()) == (
        x.shape,
        x.dtype,
        x.device,
        x.stride(),
    )
