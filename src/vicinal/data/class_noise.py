"""Wrong labels, made: every class is taken for one other class, again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.draws import Draws


@dataclass(frozen=True)
class ClassNoise:
    """Give a share of the labels of each class to one other class.

    The labels of two classes then overlap on the samples of one: a label cannot be told for
    certain any more, and a model that is certain is wrong. Which labels are changed depends on the
    seed and on their rows alone, so that it is done once, whoever asks.

    Source: Chidambaram and Ge, On the Limitations of Temperature Scaling for Distributions with
    Overlaps, ICLR 2024, and the authors' data_utils.py.

    share: probability of a label to be changed, in [0, 1].
    wrong: of each class, what its labels are changed into. `drawn` makes one at random.

    Raises:
        ValueError: the share is out of range, or a class is taken for itself or for none.
    """

    share: float
    wrong: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], got {self.share}")
        classes = range(len(self.wrong))
        if not all(other in classes and other != one for one, other in enumerate(self.wrong)):
            raise ValueError(f"wrong must give another class for every class, got {self.wrong}")

    @classmethod
    def drawn(cls, share: float, *, classes: int, seed: int = 0) -> ClassNoise:
        """Noise that takes each class for another one at random.

        Args:
            share: probability of a label to be changed, in [0, 1].
            classes: how many there are, >= 2.
            seed: of the classes taken for each other.

        Raises:
            ValueError: there are fewer than two classes, or the share is out of range.
        """
        if classes < 2:
            raise ValueError(f"noise needs at least two classes, got {classes}")
        every = torch.arange(classes)
        step = 1 + Draws(seed, every).within("class noise").below("wrong", classes - 1)
        return cls(share, tuple(((every + step) % classes).tolist()))

    def __call__(self, labels: Tensor, *, seed: int = 0, rows: Tensor | None = None) -> Tensor:
        """The labels, some of them changed.

        Args:
            labels: (N,) int64.
            seed: of which are changed.
            rows: (N,) int64, the rows of the dataset that they are of; 0, 1, ... by default.

        Returns:
            (N,) int64, new memory.

        Raises:
            ValueError: a label is none of the classes.
        """
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.wrong):
            raise ValueError(f"labels must be in [0, {len(self.wrong)})")
        index = torch.arange(len(labels), device=labels.device) if rows is None else rows
        changed = Draws(seed, index).within("class noise").bernoulli("changed", self.share)
        return torch.where(changed, torch.tensor(self.wrong, device=labels.device)[labels], labels)
