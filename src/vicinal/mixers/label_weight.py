"""Labels mixed by another weight than the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import RegressionTarget

if TYPE_CHECKING:
    from typing_extensions import Self

#: `same` is the mixer's own weight; a number; or a function of the weight kept, (B,) to (B,).
Weight = Literal["same"] | float | Callable[[Tensor], Tensor]


class LabelWeight(Mixer):
    """Mix samples as a mixer does, and their labels by a weight of its own.

    The weights of both labels sum to one whatever the weight is. Params are those of the mixer:
    what it keeps of a sample is found by mixing, so that boxes and masks have their area.

    Source: Zou, Cao, Li, Gu, The Benefits of Mixup for Feature Learning, ICML 2023, who find that
    mixup helps about as much where the labels are not mixed as the inputs are. No code of theirs
    is known.

    Args:
        mixer: mixes every sample with one partner.
        weight: of the labels. `same`: as the mixer has them. A number in [0, 1]: of the label of
            the sample that is kept the most, the other has the rest, as in the paper, where the own
            sample has one half at least; 1 makes partners noise under a hard label. A function: of
            the weight kept of the own sample, in [0, 1], to that of its label, element by element.

    Raises:
        TypeError: the mixer is none, or the weight is none of these.
        ValueError: the weight is out of range, or the function leaves the range; when it is
            applied: samples have more than one partner each.
    """

    def __init__(self, mixer: Mixer, weight: Weight = "same") -> None:
        if not isinstance(mixer, Mixer):
            raise TypeError(f"mixer must be a mixer, got {mixer!r}")
        _check(weight)
        self.mixer = mixer
        self.weight = weight
        self.probes = mixer.probes
        self.pooled = mixer.pooled
        self.unfitted = mixer.unfitted

    def fit(self, data: Batch) -> Self:
        return type(self)(self.mixer.fit(data), self.weight)

    def sample(self, batch: Batch, draws: Draws) -> Params:
        params: Params = self.mixer.sample(batch, draws)
        return params

    def apply(self, batch: Batch, params: Params) -> Batch:
        pool, at = batch.partners(self.mixer.partners(params))
        if len(at) != len(batch):
            raise ValueError(
                f"labels have two weights where a sample has one partner: {self.mixer!r} gives "
                f"{len(batch)} samples {len(at)}"
            )
        if self.weight == "same" or batch.target is None or pool.target is None:
            return self.mixer.apply(batch, params)
        # The mixer tells what it keeps by mixing ones with zeros.
        own, others = (
            RegressionTarget(torch.full((len(part),), value, device=at.device))
            for part, value in ((batch, 1.0), (pool, 0.0))
        )
        mixed = self.mixer.apply(
            batch.replace(target=own, pool=pool.replace(target=others, pool=None)), params
        )
        assert isinstance(mixed.target, RegressionTarget)
        target = batch.target.mix(pool.target[at], self.label_weight(mixed.target.values))
        return mixed.replace(target=target, pool=batch.pool)

    def label_weight(self, kept: Tensor) -> Tensor:
        """The weight of the own label. kept: (B,) float, of the own sample. Returns (B,)."""
        if self.weight == "same":
            return kept
        if callable(self.weight):
            return self.weight(kept)
        leading = torch.full_like(kept, self.weight)
        return torch.where(kept >= 0.5, leading, 1 - leading)

    def partners(self, params: Any) -> Tensor:
        return self.mixer.partners(params)

    def readdressed(self, params: Any, rows: Tensor) -> Any:
        return self.mixer.readdressed(params, rows)


def _check(weight: Weight) -> None:
    """Refuse a weight before anything is mixed."""
    if callable(weight):
        kept = torch.linspace(0, 1, 101)
        given = weight(kept)
        if not isinstance(given, Tensor) or given.shape != kept.shape:
            raise ValueError("weight must give a weight for every one of (B,) weights kept")
        if not bool(((given >= 0) & (given <= 1)).all()):  # NaN is neither
            raise ValueError("weight must give weights in [0, 1] for weights kept in [0, 1]")
    elif isinstance(weight, bool) or not isinstance(weight, int | float | str):
        raise TypeError(f"weight must be 'same', a number or a function, got {weight!r}")
    elif isinstance(weight, str):
        if weight != "same":
            raise ValueError(f"weight must be 'same', a number or a function, got {weight!r}")
    elif not 0 <= weight <= 1:
        raise ValueError(f"weight must be in [0, 1], got {weight}")
