"""Augmenting some samples and leaving the others as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.augmentation import Augmentation, Mixer, Transform
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.partner_share import PartnerShare

if TYPE_CHECKING:
    from typing_extensions import Self

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class UnchangedParams(Params):
    """Nothing was decided. row: (B,) int64, the rows of the dataset."""

    row: Tensor


class Unchanged(Transform):
    """Leave every sample as it is."""

    def sample(self, batch: Batch, draws: Draws) -> UnchangedParams:
        return UnchangedParams(batch.index)

    def apply(self, batch: Batch, params: UnchangedParams) -> Batch:
        return batch


@dataclass(frozen=True)
class SometimesParams(Params):
    """One row per output sample.

    applied: (B,) bool, whether the sample is augmented.
    inner: how, whether it is or not.
    """

    applied: Tensor
    inner: Params

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """That of the mixer, and none where it is not applied: `vicinal.core.partner_share`.

        Raises:
            TypeError: the mixer's params do not say where the partner is.
        """
        if not isinstance(self.inner, PartnerShare):
            raise TypeError(f"a {type(self.inner).__name__} does not say where the partner is")
        share = self.inner.partner_share(places)
        return share * self.applied.view(-1, *(1 for _ in places))


class Sometimes(Augmentation):
    """Augment every sample with a probability, and leave it as it is otherwise.

    What mixes is wrapped by `SometimesMixer`; `sometimes` knows which of the two it takes.

    Args:
        augmentation: gives a row for every row, of the type that it was given.
        probability: of a sample to be augmented, in [0, 1].
        scope: `sample` decides for every sample, `batch` once for all of them.

    Raises:
        ValueError: the probability is out of range, or the scope is unknown; when it samples: the
            augmentation changes the number of rows.
        TypeError: when it is applied: the augmentation changes the type of x.
    """

    def __init__(
        self, augmentation: Augmentation, probability: float, *, scope: Scope = "sample"
    ) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in [0, 1], got {probability}")
        if scope not in ("sample", "batch"):
            raise ValueError(f"scope must be sample or batch, got {scope!r}")
        self.augmentation = augmentation
        self.probability = probability
        self.scope = scope
        self.probes = augmentation.probes
        self.pooled = augmentation.pooled
        self.unfitted = augmentation.unfitted

    def fit(self, data: Batch) -> Self:
        return type(self)(**self.settings() | {"augmentation": self.augmentation.fit(data)})

    def sample(self, batch: Batch, draws: Draws) -> SometimesParams:
        source = draws.shared() if self.scope == "batch" else draws
        inner = self.augmentation.sample(batch, draws.within("augmentation"))
        if len(inner) != len(batch):
            raise ValueError(
                f"{self.augmentation!r} makes {len(inner)} rows of {len(batch)}: it cannot be left "
                "out for some of them"
            )
        return SometimesParams(source.bernoulli("applied", self.probability), inner)

    def apply(self, batch: Batch, params: SometimesParams) -> Batch:
        applied = params.applied
        changed = self.augmentation.apply(batch, params.inner)
        x = pytree.tree_map(lambda own, new: _picked(applied, own, new), batch.x, changed.x)
        target = changed.target
        if target is not None and batch.target is not None:
            both = type(target).concatenate([batch.target, target])
            rows = torch.arange(len(batch), device=applied.device)
            target = both[rows + applied * len(batch)]
        return changed.replace(x=x, target=target)


class SometimesMixer(Sometimes, Mixer):
    """The same of a mixer: see `Sometimes`."""

    augmentation: Mixer

    def partners(self, params: SometimesParams) -> Tensor:
        return self.augmentation.partners(params.inner)

    def readdressed(self, params: SometimesParams, rows: Tensor) -> SometimesParams:
        inner = self.augmentation.readdressed(params.inner, rows)
        return SometimesParams(params.applied, inner)


def sometimes(
    augmentation: Augmentation, probability: float, *, scope: Scope = "sample"
) -> Augmentation:
    """The augmentation with a probability: itself at 1, nothing at 0. See `Sometimes`."""
    if probability == 1:
        return augmentation
    if probability == 0:
        return Unchanged()
    kind = SometimesMixer if isinstance(augmentation, Mixer) else Sometimes
    return kind(augmentation, probability, scope=scope)


def _picked(applied: Tensor, own: Any, new: Any) -> Tensor:
    """Each row of `new` where it is applied. applied: (B,) bool. own, new: (B, ...)."""
    if own.dtype != new.dtype:
        raise TypeError(
            f"some samples would be {own.dtype} and others {new.dtype}: give samples of the type "
            "that the augmentation returns"
        )
    picked: Tensor = torch.where(applied.view(-1, *(1,) * (own.dim() - 1)), new, own)
    return picked
