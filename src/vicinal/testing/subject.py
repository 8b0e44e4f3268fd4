"""The augmentation under test, with the batches to test it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.augmentation import Augmentation, Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import ask
from vicinal.core.ragged import Ragged
from vicinal.testing import samples
from vicinal.testing.network import Network

#: Gives a batch with that many samples: the same ones in every call.
Batches = Callable[[int], Batch]


@dataclass(frozen=True)
class Subject:
    """An augmentation and where its batches come from.

    modality: of the samples that the library makes.
    batches: makes the batches instead.
    """

    augmentation: Augmentation
    modality: str = ""
    batches: Batches | None = None

    @property
    def card(self) -> Card:
        """The card of the augmentation."""
        return self.augmentation.card

    @property
    def dtype(self) -> torch.dtype:
        """What the card names first."""
        dtype: torch.dtype = getattr(torch, self.card.dtypes[0])
        return dtype

    @property
    def on_tensors(self) -> bool:
        """Whether x is one tensor, as in all samples that the library makes."""
        if self.batches is None:
            return self.modality != "points"
        return isinstance(self.batches(7).x, Tensor)

    @property
    def one_at_a_time(self) -> bool:
        """Whether a sample's result depends on that sample alone."""
        together = getattr(self.augmentation, "scope", "sample") != "sample"
        return isinstance(self.augmentation, Transform) and not together

    def batch(
        self,
        size: int = 7,
        *,
        dtype: torch.dtype | None = None,
        kind: str = "",
        shape: Sequence[int] = (),
    ) -> Batch:
        """A batch of the given size, and evidence with it if the augmentation asks a model.

        Args:
            size: number of samples.
            dtype: of x; the first on the card by default.
            kind: of target; the first on the card by default.
            shape: of one sample, where it is not the usual one, or the one on the card.
        """
        kind = kind or (self.card.targets[0] if self.card.targets else "classes")
        if self.batches is not None:
            batch = self.batches(size)
            return batch if dtype is None else batch.replace(x=_cast(batch.x, dtype))
        batch = samples.make_batch(
            self.modality,
            size,
            kind=kind,
            dtype=self.dtype if dtype is None else dtype,
            stage=self.card.stage,
            shape=shape or self.card.shapes.get(self.modality, ()),
        )
        if not self.augmentation.probes:
            return batch
        return ask(self.augmentation.probes, {"model": Network.of(batch)}, batch)

    def draws(self, batch: Batch, seed: int = 0) -> Draws:
        """Random numbers for the rows of a batch."""
        return Draws(seed, batch.index)

    def ready(self, batch: Batch) -> Augmentation:
        """The augmentation, fitted to a batch and its pool if it has to be fitted."""
        if not self.augmentation.unfitted:
            return self.augmentation
        return self.augmentation.fit(batch if batch.pool is None else batch.pool)

    def fitted(self, batch: Batch) -> Subject:
        """The subject with its augmentation fitted to a batch, whatever it is tried on then."""
        return replace(self, augmentation=self.ready(batch))

    def params(self, batch: Batch, seed: int = 0) -> Params:
        """What the augmentation samples for a batch."""
        params: Params = self.ready(batch).sample(batch, self.draws(batch, seed))
        return params

    def apply(self, batch: Batch, params: Params) -> Batch:
        """What the augmentation makes of a batch."""
        return self.ready(batch).apply(batch, params)

    def result(self, batch: Batch, seed: int = 0) -> Batch:
        """The augmented batch."""
        return self.apply(batch, self.params(batch, seed))

    def __str__(self) -> str:
        return "-".join(filter(None, [type(self.augmentation).__name__, self.modality]))


#: A check with its name. It raises `failure.Broken`, or whatever the augmentation raises.
Named = tuple[str, Callable[[Subject], None]]


def leaves(batch: Batch) -> list[Tensor]:
    """The tensors in x; of rows of unequal lengths, all their elements."""
    found = pytree.tree_leaves(batch.x)
    return [leaf.values if isinstance(leaf, Ragged) else leaf for leaf in found]


def origin(result: Batch, batch: Batch) -> Tensor:
    """The sample of a batch that each row of its result belongs to, by its row in the dataset.

    Returns:
        (R,) int64, positions in the batch.
    """
    _, place = batch.replace(pool=None).partners(result.index)
    return place


def type_name(dtype: torch.dtype) -> str:
    """As cards write it: float32."""
    return str(dtype).removeprefix("torch.")


def described(batch: Batch) -> str:
    """The types and shapes of a batch's inputs, for a message."""
    parts = (f"{type_name(leaf.dtype)} {tuple(leaf.shape)}" for leaf in leaves(batch))
    return f"x of {', '.join(parts)}"


def _cast(x: Any, dtype: torch.dtype) -> Any:
    return pytree.tree_map(lambda leaf: leaf.to(dtype) if leaf.dtype.is_floating_point else leaf, x)
