"""One of several mixers, at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.partner_share import PartnerShare
from vicinal.core.probe import Probe

if TYPE_CHECKING:
    from typing_extensions import Self

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class UnmixedParams(Params):
    """One row per sample. partner: (B,) int64, the sample's own row of the dataset."""

    partner: Tensor


class Unmixed(Mixer):
    """Leave every sample as it is: a choice beside mixers."""

    def carries(self, kind: str) -> bool:
        """Whatever there is stays as it is."""
        return True

    def sample(self, batch: Batch, draws: Draws) -> UnmixedParams:
        return UnmixedParams(batch.index)

    def apply(self, batch: Batch, params: UnmixedParams) -> Batch:
        return batch.replace(x=pytree.tree_map(torch.clone, batch.x))


@dataclass(frozen=True)
class ChoiceParams(Params):
    """One row per output sample.

    chosen: (B,) int64, the position of the mixer among `parts`.
    parts: what each mixer sampled for the row, chosen or not.
    """

    chosen: Tensor
    parts: tuple[Params, ...]

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """That of the mixer chosen, as `vicinal.core.partner_share` has it.

        Raises:
            TypeError: a mixer's params do not say where the partner is.
        """
        shares = []
        for part in self.parts:
            if not isinstance(part, PartnerShare):
                raise TypeError(f"a {type(part).__name__} does not say where the partner is")
            shares.append(part.partner_share(places))
        return _picked(self.chosen, shares)


class RandomChoice(Mixer):
    """Mix every sample by one of several mixers, drawn by weight.

    All of them sample and, unless all rows have chosen the same one, are applied, so that the
    choice is a matter of indexing.

    Args:
        mixers: each makes one sample of every sample.
        weights: how often each is chosen, at least 0; equally often by default. They need not sum
            to one.
        scope: `sample` draws a mixer for every sample, `batch` one for all of them.

    Raises:
        ValueError: there is no mixer, weights do not fit, or the scope is unknown.
    """

    def __init__(
        self,
        mixers: Sequence[Mixer],
        weights: Sequence[float] | None = None,
        *,
        scope: Scope = "sample",
    ) -> None:
        weights = [1.0] * len(mixers) if weights is None else weights
        if len(weights) != len(mixers):
            raise ValueError(f"{len(mixers)} mixers need as many weights, got {len(weights)}")
        finite = all(weight >= 0 and math.isfinite(weight) for weight in weights)
        if not (finite and sum(weights) > 0):
            raise ValueError(f"weights must be at least 0 and not all 0, got {list(weights)}")
        if scope not in ("sample", "batch"):
            raise ValueError(f"scope must be sample or batch, got {scope!r}")
        self.mixers = tuple(mixers)
        self.weights = tuple(weights)
        self.scope = scope
        self.probes: tuple[Probe, ...] = tuple(
            dict.fromkeys(probe for mixer in mixers for probe in mixer.probes)
        )
        self.pooled = any(mixer.pooled for mixer in mixers)
        self.unfitted = any(mixer.unfitted for mixer in mixers)

    def carries(self, kind: str) -> bool:
        """Whether every mixer has a rule for targets of a kind."""
        return all(mixer.carries(kind) for mixer in self.mixers)

    def fit(self, data: Batch) -> Self:
        mixers = [mixer.fit(data) if mixer.unfitted else mixer for mixer in self.mixers]
        return type(self)(**self.settings() | {"mixers": mixers})

    def sample(self, batch: Batch, draws: Draws) -> ChoiceParams:
        source = draws.shared() if self.scope == "batch" else draws
        parts = tuple(
            mixer.sample(batch, draws.within(f"mixer {place}"))
            for place, mixer in enumerate(self.mixers)
        )
        return ChoiceParams(source.choice("chosen", self.weights), parts)

    def apply(self, batch: Batch, params: ChoiceParams) -> Batch:
        chosen = params.chosen
        if chosen.device.type == "cpu" and not torch.compiler.is_compiling() and len(chosen):
            first = int(chosen[0])
            if bool((chosen == first).all()):  # as `scope="batch"` has it
                return self.mixers[first].apply(batch, params.parts[first])
        results = [
            mixer.apply(batch, part) for mixer, part in zip(self.mixers, params.parts, strict=True)
        ]
        target = batch.target
        if target is not None:
            targets = [result.target for result in results if result.target is not None]
            every = type(targets[0]).concatenate(targets)  # (M * B) rows
            target = every[chosen * len(batch) + torch.arange(len(batch), device=chosen.device)]
        x = pytree.tree_map(lambda *leaves: _picked(chosen, leaves), *(one.x for one in results))
        return batch.replace(x=x, target=target)

    def partners(self, params: ChoiceParams) -> Tensor:
        return torch.cat(self._slots(params), dim=1).reshape(-1)

    def readdressed(self, params: ChoiceParams, rows: Tensor) -> ChoiceParams:
        slots = self._slots(params)
        columns = torch.split(rows.view(len(params), -1), [slot.shape[1] for slot in slots], dim=1)
        parts = tuple(
            mixer.readdressed(part, column.reshape(-1))
            for mixer, part, column in zip(self.mixers, params.parts, columns, strict=True)
        )
        return ChoiceParams(params.chosen, parts)

    def _slots(self, params: ChoiceParams) -> list[Tensor]:
        """The partners of each mixer, (B, P), chosen or not: `apply` may look them all up."""
        return [
            mixer.partners(part).view(len(params), -1)
            for mixer, part in zip(self.mixers, params.parts, strict=True)
        ]


def _picked(chosen: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Each row from the part that it has chosen. chosen: (B,) int64. parts: (B, ...) each."""
    return torch.stack(list(parts))[chosen, torch.arange(len(chosen), device=chosen.device)]
