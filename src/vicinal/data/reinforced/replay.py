"""Replaying a store as an augmentation: what is drawn is which record."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget, Target
from vicinal.data.reinforced.reader import ReinforcedStore
from vicinal.data.reinforced.top_k import Densify


@dataclass(frozen=True)
class ReplayParams(Params):
    """One row per sample.

    place: (B,) int64, the record's place among the store's rows; -1 where none is replayed.
    ordinary: of the ordinary augmentation, for all samples; None if there is none, or every sample
        is replayed.
    """

    place: Tensor
    ordinary: Params | None


class Replay(Mixer):
    """Give each raw sample one of its stored augmentations, and what the teacher said of it.

    Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, section 3, and the authors'
    dr/data.py. A record is drawn uniformly among those of the sample.

    Partners of mixed records are taken raw from the batch's pool.

    Args:
        store: of the dataset that the samples are of.
        prob: how often a sample is replayed, in [0, 1]; otherwise it gets the ordinary augmentation
            and keeps its label.
        densify: what becomes of the classes that the store left out, as `TopK.target` says.
        ordinary: the ordinary augmentation; None leaves a sample as it is.

    Raises:
        ValueError: prob is out of range.
    """

    def __init__(
        self,
        store: ReinforcedStore,
        *,
        prob: float = 0.99,
        densify: Densify = "smooth",
        ordinary: Augmentation | None = None,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {prob}")
        self.store = store
        self.prob = prob
        self.densify = densify
        self.ordinary = ordinary

    def sample(self, batch: Batch, draws: Draws) -> ReplayParams:
        record = draws.below("record", self.store.manifest.records)
        place = self.store.locate(batch.index, record)
        if self.prob == 1:
            return ReplayParams(place, None)
        replayed = draws.bernoulli("replayed", self.prob).cpu()
        params: Params | None = None
        if self.ordinary is not None and not replayed.all():
            params = self.ordinary.sample(batch, draws.within("ordinary"))
        return ReplayParams(place.masked_fill(~replayed, -1), params)

    def apply(self, batch: Batch, params: ReplayParams) -> Batch:
        place = params.place.cpu()
        replayed = place >= 0
        if replayed.all():
            return self._replayed(batch, place)
        there, others = (mask.nonzero()[:, 0] for mask in (replayed, ~replayed))
        whole = batch.replace(pool=batch if batch.pool is None else batch.pool)
        ordinary = self._ordinary(whole[others], params, others)
        if not len(there):
            return ordinary.replace(pool=batch.pool)
        first = self._replayed(whole[there], place[there])
        order = torch.cat([there, others]).argsort().to(batch.index.device)
        x = torch.cat([first.tensor, ordinary.tensor.to(first.tensor.dtype)])
        return batch.replace(x=x[order], target=_joined(first.target, ordinary.target, order))

    def partners(self, params: ReplayParams) -> Tensor:
        inner = self.store.augmentation
        if not isinstance(inner, Mixer):
            return torch.zeros(0, dtype=torch.int64)
        place = params.place.cpu()
        return inner.partners(self.store.rows.params[place[place >= 0]])

    def _replayed(self, batch: Batch, place: Tensor) -> Batch:
        device = batch.index.device
        params = self.store.rows.params[place].to(device)
        taught = self.store.rows.taught[place].to(device)
        target = taught.target(self.store.manifest.classes, densify=self.densify)
        seen = self.store.augmentation.apply(batch, params)
        return seen.replace(target=target, pool=batch.pool)

    def _ordinary(self, batch: Batch, params: ReplayParams, rows: Tensor) -> Batch:
        if self.ordinary is None or params.ordinary is None:
            return batch
        return self.ordinary.apply(batch, params.ordinary[rows.to(batch.index.device)])


def _joined(first: Target | None, second: Target | None, order: Tensor) -> Target | None:
    """The targets of replayed samples and of others, in the order of the batch."""
    if first is None or second is None:
        return None
    if not isinstance(first, ClassTarget) or not isinstance(second, ClassTarget):
        raise TypeError(f"a store teaches classes, and the batch has {second.kind} targets")
    return ClassTarget.concatenate([first, second])[order]
