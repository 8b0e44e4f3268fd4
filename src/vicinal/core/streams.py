"""What a recipe asks the trainer for: phases, and the rows that arrive with every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from torch import Tensor

Part = Literal["train", "held_out", "unlabelled"]


class Sampler(Protocol):
    """Decides which rows come together in a batch."""

    def __call__(
        self, rows: Tensor, size: int, *, seed: int, epoch: int, labels: Tensor | None
    ) -> Sequence[Tensor]:
        """The batches of an epoch: a function of the arguments alone, so that trials resume.

        Args:
            rows: (N,) int64, rows of the dataset.
            size: of a batch.
            seed: of the trial.
            epoch: of this stream.
            labels: (N,) int64 classes or float32 values of the rows; None where they are hidden.

        Returns:
            At least one batch, each (B,) int64 of the rows; a row may come more than once.
        """
        ...


@dataclass(frozen=True)
class Stream:
    """Rows that arrive with every step. Which they are depends on the step's number alone.

    part: of the trial's training rows. `held_out` and `unlabelled` are taken away from `train`, by
        the shares that the method states; the targets of `unlabelled` rows are not handed out.
    relative_size: of its batches, to the trial's batch size.
    ahead: how many batches later than this step's; 1 is the next batch.
    sampler: which rows come together; by default every row comes once an epoch, in random order.
    pooled: whether batches carry the whole part as their pool, raw, for partners from anywhere.
    """

    part: Part = "train"
    relative_size: float = 1.0
    ahead: int = 0
    sampler: Sampler | None = None
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.part not in get_args(Part):
            raise ValueError(f"part must be one of {', '.join(get_args(Part))}, got {self.part!r}")
        if not self.relative_size > 0:
            raise ValueError(f"relative_size must be positive, got {self.relative_size}")
        if self.ahead < 0:
            raise ValueError(f"ahead must not be negative, got {self.ahead}")


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    share: of the trial's optimiser steps; the shares of a method's phases sum to one. A phase of
        share 0 is entered and takes no step.
    streams: what arrives with each step, by name.
    """

    name: str = "train"
    share: float = 1.0
    streams: Mapping[str, Stream] = field(default_factory=lambda: {"train": Stream()})

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], got {self.share}")
