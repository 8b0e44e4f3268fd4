"""Who is mixed with whom: a value that a mixer takes, and that says nothing of how they are mixed.

`LabelKernel`, which pairs by the distance of labels, has a file of its own.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget, SoftTarget

if TYPE_CHECKING:
    from typing_extensions import Self


class Pairing(ABC):
    """Draws a partner for every sample of a batch.

    Which one a sample meets depends on the sample's own draws and on the rows to choose from, not
    on the order that these came in.
    """

    @property
    def pooled(self) -> bool:
        """Whether partners may be any of the training rows: the batch's pool has to hold them."""
        return False

    @property
    def unfitted(self) -> bool:
        """Whether `fit` has to see the training rows first."""
        return False

    def fit(self, data: Batch) -> Pairing:
        """The same pairing, knowing the training rows. data: all of them."""
        return self

    @abstractmethod
    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        """A partner for every sample. Returns (B,) int64, rows of the dataset."""


@dataclass(frozen=True)
class Permutation(Pairing):
    """A random permutation of the batch: every sample is the partner of one, perhaps of itself."""

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return batch.index.index_select(0, draws.permutation("partner"))


#: What mixers pair by where nothing else is said.
PERMUTATION = Permutation()


@dataclass(frozen=True)
class SameClass(Pairing):
    """Any sample of the batch with the same class, each as likely, the sample itself among them.

    The class of a mixed label is the one with the largest weight.

    Raises:
        TypeError: when it pairs: the targets are no classes.
        ValueError: when it pairs: the batch has no targets.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        rows, start, size = _by_class(batch, draws)
        return rows[start + draws.below("partner", size)]


@dataclass(frozen=True)
class AnotherClass(Pairing):
    """Any sample of the batch with another class, each as likely.

    In a batch of one class every sample meets itself. The class of a mixed label is the one with
    the largest weight.

    Raises:
        TypeError: when it pairs: the targets are no classes.
        ValueError: when it pairs: the batch has no targets.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        rows, start, size = _by_class(batch, draws)
        others = len(batch) - size
        place = draws.below("partner", others.clamp(min=1))
        place = torch.where(place < start, place, place + size)  # over the own class
        return torch.where(others > 0, rows[place.clamp(max=len(batch) - 1)], batch.index)


def _by_class(batch: Batch, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """The rows class by class, and where each sample's class is among them.

    Returns:
        rows, start and size, each (B,) int64: the rows of the dataset, ordered by class, and for
        every sample the place of the first of its class and their number.
    """
    classes = _classes(batch)
    # By keys of the rows' own first, so that the order they came in leaves no trace.
    order = draws.keys("partner/order").argsort(stable=True)
    order = order[classes[order].argsort(stable=True)]
    ordered = classes[order]
    start = torch.searchsorted(ordered, classes)
    size = torch.searchsorted(ordered, classes, right=True) - start
    return batch.index[order], start, size


def _classes(batch: Batch) -> Tensor:
    """The class of every sample, the heaviest of several. Returns (B,) int64."""
    target = batch.target
    if target is None:
        raise ValueError("pairing by class needs a batch with targets")
    if isinstance(target, SoftTarget):
        return target.probabilities.argmax(dim=1)
    if not isinstance(target, ClassTarget):
        raise TypeError(f"pairing by class needs classes as targets, got {target.kind}")
    if target.weights is None:
        return target.labels[:, 0].contiguous()
    merged = target.merged()
    assert merged.weights is not None
    return merged.labels.gather(1, merged.weights.argmax(dim=1, keepdim=True))[:, 0]


class PairMixer(Mixer):
    """A mixer of two samples, which leaves it to a pairing who they are.

    Args:
        pairing: draws the partners.

    Raises:
        TypeError: the pairing is none.
    """

    def __init__(self, pairing: Pairing) -> None:
        if not isinstance(pairing, Pairing):
            raise TypeError(f"pairing must be a Pairing, got {pairing!r}")
        self.pairing = pairing
        self.pooled = pairing.pooled
        self.unfitted = pairing.unfitted

    def fit(self, data: Batch) -> Self:
        fitted = copy.copy(self)
        PairMixer.__init__(fitted, self.pairing.fit(data))
        return fitted
