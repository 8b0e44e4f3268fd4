"""Replaying a store as an augmentation: what is drawn is which record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.rows import Rows
from vicinal.core.target import ClassTarget, Target
from vicinal.data.reinforced.reader import ReinforcedStore
from vicinal.data.reinforced.top_k import Densify

AnyRows = TypeVar("AnyRows", bound=Rows)


@dataclass(frozen=True)
class ReplayParams(Params):
    """One row per sample.

    place: (B,) int64, a record's place among the store's rows.
    replayed: (B,) bool, whether it is replayed; otherwise the sample is augmented as usual.
    ordinary: of the ordinary augmentation, for all samples; None if there is none, or every sample
        is replayed.
    """

    place: Tensor
    replayed: Tensor
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
            return ReplayParams(place, torch.ones_like(place, dtype=torch.bool), None)
        replayed = draws.bernoulli("replayed", self.prob)
        others = (~replayed).nonzero()[:, 0]
        if self.ordinary is None or not len(others):
            return ReplayParams(place, replayed, None)
        # For the few alone: a sequence has to apply its parts to know what to draw.
        few = self.ordinary.sample(batch[others], draws.within("ordinary")[others])
        slot = torch.zeros_like(place).index_copy_(0, others, torch.arange(len(others)))
        return ReplayParams(place, replayed, few[slot])

    def apply(self, batch: Batch, params: ReplayParams) -> Batch:
        device, place = batch.index.device, params.place.cpu()
        # All samples, though a few are made anew below: two parts of a batch cost more than that.
        seen = self.store.augmentation.apply(batch, _on(device, self.store.rows.params[place]))
        target: Target = _on(device, self.store.targets(self.densify)[place])
        others = (~params.replayed).nonzero()[:, 0]
        if not len(others):
            return seen.replace(target=target)
        usual = batch[others]
        if self.ordinary is not None and params.ordinary is not None:
            usual = self.ordinary.apply(usual, params.ordinary[others])
        x = seen.tensor.index_copy(0, others, usual.tensor.to(seen.tensor.dtype))
        return seen.replace(x=x, target=_relabelled(target, usual.target, others))

    def partners(self, params: ReplayParams) -> Tensor:
        inner = self.store.augmentation
        if not isinstance(inner, Mixer):
            return torch.zeros(0, dtype=torch.int64)
        return inner.partners(self.store.rows.params[params.place.cpu()])


def _on(device: torch.device, rows: AnyRows) -> AnyRows:
    """The same rows on another device; a store lies in the host's memory."""
    return rows if device.type == "cpu" else rows.to(device)


def _relabelled(target: Target, own: Target | None, rows: Tensor) -> Target | None:
    """The target with the rows' own labels in their places."""
    if own is None:
        return None
    if not isinstance(target, ClassTarget) or not isinstance(own, ClassTarget):
        raise TypeError(f"a store teaches classes, and the batch has {own.kind} targets")
    order = torch.arange(len(target), device=rows.device)
    order[rows] = len(target) + torch.arange(len(rows), device=rows.device)
    return ClassTarget.concatenate([target, own])[order]
