"""Transforms before mixing, for a sample and its partners alike, as one augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params


@dataclass(frozen=True)
class WithPartnersParams(Params):
    """One row per output sample; P partners of each.

    own: what was done to the sample before it was mixed; None where nothing was.
    mixing: the mixer's params, which name the partners by their rows in the dataset.
    others: what was done to the first, second, ... partner of each sample; empty where nothing was.
    """

    own: Params | None
    mixing: Params
    others: tuple[Params, ...]


class WithPartners(Mixer):
    """Transform every sample and each of its partners, and mix them.

    The params hold all that was done to a partner, so that a mixture can be made again from raw
    samples anywhere, without the batch that it was first made in. A partner is transformed for the
    sample that it is mixed into: it looks different in every mixture.

    Samples are raw, as the dataset has them. A mixer that is meant for prepared inputs sees them as
    floats on the same scale; standardising a mixture and mixing what is standardised are the same.

    Args:
        mixer: mixes.
        raw: transforms a sample and its partners, each with random numbers of its own; None leaves
            them as they are.

    Raises:
        TypeError: one of the two is something else.
        ValueError: the mixer asks a model about samples that would be transformed after it was
            asked.
    """

    def __init__(self, mixer: Mixer, raw: Augmentation | None = None) -> None:
        if not isinstance(mixer, Mixer):
            raise TypeError(f"mixer must be a mixer, got {mixer!r}")
        if raw is not None and (isinstance(raw, Mixer) or not isinstance(raw, Augmentation)):
            raise TypeError(f"raw must be an augmentation that mixes nothing, got {raw!r}")
        if raw is not None and mixer.probes:
            raise ValueError(
                f"{type(mixer).__name__} asks a model about the samples that it mixes, and raw "
                "changes them afterwards: leave raw out"
            )
        self.mixer = mixer
        self.raw = raw
        self.probes = mixer.probes
        self.pooled = mixer.pooled or (raw is not None and raw.pooled)
        self.unfitted = mixer.unfitted or (raw is not None and raw.unfitted)

    def fit(self, data: Batch) -> WithPartners:
        raw = None if self.raw is None else self.raw.fit(data)
        return type(self)(self.mixer.fit(data), raw)

    def sample(self, batch: Batch, draws: Draws) -> WithPartnersParams:
        own: Params | None = None
        seen = batch
        if self.raw is not None:
            seen, own = self.raw.augment(batch, draws.within("own"))
        mixing = self.mixer.sample(self._mixable(seen), draws.within("mixing"))
        if len(mixing) != len(batch):
            raise ValueError(
                f"{type(self.mixer).__name__} makes {len(mixing)} samples of {len(batch)}: "
                "partners are transformed for one sample each"
            )
        others: tuple[Params, ...] = ()
        if self.raw is not None:
            others = tuple(
                self.raw.sample(batch.take(rows), draws.within(f"partner {place}"))
                for place, rows in enumerate(self._slots(mixing, len(batch)).unbind(1))
            )
        return WithPartnersParams(own, mixing, others)

    def apply(self, batch: Batch, params: WithPartnersParams) -> Batch:
        slots = self._slots(params.mixing, len(batch))  # (B, P)
        count = slots.shape[1]
        partners = batch.take(slots.T.reshape(-1))  # all first partners, all second, ...
        own = batch
        if self.raw is not None and params.own is not None:
            own = self.raw.apply(batch, params.own)
            partners = self.raw.apply(partners, type(params.others[0]).concatenate(params.others))
        # Each view of a partner gets an address of its own: a row may be there in several.
        address = torch.arange(len(partners), device=slots.device)
        pool = self._mixable(partners).replace(index=address)
        mixing = self.mixer.readdressed(params.mixing, address.view(count, -1).T.reshape(-1))
        mixed = self.mixer.apply(self._mixable(own).replace(pool=pool), mixing)
        return mixed.replace(pool=batch.pool)

    def partners(self, params: WithPartnersParams) -> Tensor:
        return self.mixer.partners(params.mixing)

    def readdressed(self, params: WithPartnersParams, rows: Tensor) -> WithPartnersParams:
        mixing = self.mixer.readdressed(params.mixing, rows)
        return WithPartnersParams(params.own, mixing, params.others)

    def _slots(self, mixing: Params, size: int) -> Tensor:
        """The partners' rows, a column for each place that a partner can have. Returns (B, P)."""
        return self.mixer.partners(mixing).view(size, -1)

    def _mixable(self, batch: Batch) -> Batch:
        """The samples in a type that the mixer takes."""
        card = getattr(self.mixer, "card", None)
        if batch.tensor.is_floating_point() or (card is not None and card.stage == "raw"):
            return batch
        return batch.replace(x=batch.tensor.float())
