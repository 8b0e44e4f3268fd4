"""Classes that arrive one after the other, and a small memory of those that have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self


class ClassIncrementalStream:
    """The rows of a dataset, some classes at a time; what has passed does not come back.

    Classes come in the order of their numbers, the rows of a task in a random order that is always
    the same.

    Args:
        labels: (N,) int64, the class of each row.
        tasks: how many parts the classes are divided into, >= 1; with fewer classes than that,
            each is a task.
        rows: (N,) int64, which rows of the dataset these are; 0 to N - 1 by default.
        seed: of the order.

    Raises:
        TypeError: the labels are no classes.
        ValueError: there are no tasks or no rows, or not as many labels as rows.

    Attributes:
        classes: of each task, (K,) int64.
    """

    def __init__(
        self, labels: Tensor, tasks: int, *, rows: Tensor | None = None, seed: int = 0
    ) -> None:
        if labels.dim() != 1 or labels.dtype != torch.int64:
            raise TypeError(f"labels must be (N,) int64, got {labels.dtype} {tuple(labels.shape)}")
        if tasks < 1:
            raise ValueError(f"tasks must be at least 1, got {tasks}")
        rows = torch.arange(len(labels)) if rows is None else rows
        if len(rows) != len(labels) or not len(rows):
            raise ValueError(f"{len(labels)} labels, for {len(rows)} rows")
        present = torch.unique(labels)
        self.classes = torch.tensor_split(present, min(tasks, len(present)))
        order = Draws(seed, rows).within("stream").keys("order").argsort(stable=True)
        self._rows, self._labels = rows[order], labels[order]

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self.classes)

    def rows_of(self, task: int) -> Tensor:
        """The rows of a task, in the order they arrive. Returns (M,) int64."""
        return self._rows[torch.isin(self._labels, self.classes[task])]

    def batches(self, task: int, size: int) -> Sequence[Tensor]:
        """The rows of a task in batches, the last of which may be smaller. size: > 0."""
        return torch.split(self.rows_of(task), size)


@dataclass(frozen=True)
class OneTask:
    """A sampler that gives the rows of one task of a stream, epoch by epoch in the same order.

    So a pass that starts in the middle of an epoch and ends in the middle of the next has seen
    every batch once.

    place: of the task, from 0.
    tasks: of the stream. Where there are fewer classes than that, some follow each other in one.
    """

    place: int
    tasks: int

    def __call__(
        self, rows: Tensor, size: int, *, seed: int, epoch: int, labels: Tensor | None
    ) -> Sequence[Tensor]:
        if labels is None:
            raise ValueError("a class-incremental stream needs the classes of its rows")
        stream = ClassIncrementalStream(labels, self.tasks, rows=rows, seed=seed)
        return stream.batches(self.of(stream), size)

    def of(self, stream: ClassIncrementalStream) -> int:
        """Which task of a stream it is."""
        return self.place * len(stream) // self.tasks


@dataclass(frozen=True, eq=False)
class ReplayMemory:
    """A random sample of all that has arrived, each row with the same chance to be in it.

    Source: reservoir sampling, Vitter, Random Sampling with a Reservoir, 1985, algorithm R; which
    slot a row gets depends on the seed and its number among the arrivals alone.

    slots: (M,) int64, rows of the dataset; the first ones are filled first.
    seen: () int64, how many rows have arrived.
    seed: of all its draws.
    """

    slots: Tensor
    seen: Tensor
    seed: int = 0

    @classmethod
    def empty(cls, capacity: int, *, seed: int = 0) -> Self:
        """A memory that has seen nothing. capacity: >= 1.

        Raises:
            ValueError: there is no room for a row.
        """
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        return cls(torch.full((capacity,), -1), torch.tensor(0), seed)

    def __len__(self) -> int:
        return min(int(self.seen), len(self.slots))

    @property
    def rows(self) -> Tensor:
        """What is in it. Returns (len,) int64, rows of the dataset."""
        return self.slots[: len(self)]

    def after(self, arrived: Tensor) -> Self:
        """The memory once some more rows have arrived. arrived: (B,) int64, on the host."""
        number = self.seen + torch.arange(len(arrived))
        drawn = Draws(self.seed, number).within("reservoir").below("slot", number + 1)
        slot = torch.where(number < len(self.slots), number, drawn)
        enters = slot < len(self.slots)
        # Of several that get one slot, the last stays.
        last = torch.full_like(self.slots, -1).scatter_reduce_(
            0, slot[enters], enters.nonzero()[:, 0], "amax"
        )
        slots = torch.where(last >= 0, arrived[last.clamp(min=0)], self.slots)
        return type(self)(slots, self.seen + len(arrived), self.seed)

    def sample(self, count: int, *, step: int) -> Tensor:
        """Some of its rows at random: none twice, unless it has fewer than are asked for.

        Args:
            count: of rows, >= 0.
            step: of training; another one draws others.

        Returns:
            (count,) int64, rows of the dataset; none at all from an empty memory.
        """
        kept = self.rows
        if not len(kept):
            return kept
        if len(kept) < count:
            draws = Draws(self.seed, torch.arange(count), step).within("replay")
            return kept[draws.below("place", len(kept))]
        keys = Draws(self.seed, torch.arange(len(kept)), step).within("replay").keys("order")
        return kept[keys.argsort()[:count]]
