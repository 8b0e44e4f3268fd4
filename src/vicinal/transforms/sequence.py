"""Augmentations one after the other."""

from __future__ import annotations

from collections.abc import Sequence as Sequenced
from dataclasses import dataclass

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import Probe


@dataclass(frozen=True)
class SequenceParams(Params):
    """One row per output sample. parts: the params of each part, in order."""

    parts: tuple[Params, ...]


class Sequence(Augmentation):
    """Apply augmentations one after the other, each with random numbers of its own.

    Two parts of the same class draw different numbers. A part sees the batch as the parts before it
    left it.

    Args:
        parts: at least one augmentation.

    Raises:
        ValueError: there is no part.
        TypeError: a part is no augmentation.
    """

    def __init__(self, parts: Sequenced[Augmentation]) -> None:
        parts = tuple(parts)
        if not parts:
            raise ValueError("a sequence needs at least one augmentation, got none")
        for part in parts:
            if not isinstance(part, Augmentation):
                raise TypeError(f"parts must be augmentations, got {part!r}")
        self.parts = parts

    @property
    def probes(self) -> tuple[Probe, ...]:  # type: ignore[override]
        """What any part asks of the model, each question once."""
        return tuple(dict.fromkeys(probe for part in self.parts for probe in part.probes))

    def carries(self, kind: str) -> bool:
        """Whether every part has a rule for targets of a kind."""
        return all(part.carries(kind) for part in self.parts)

    def sample(self, batch: Batch, draws: Draws) -> SequenceParams:
        """Make every random decision.

        A part's decisions may depend on what the parts before it made of the batch, so that all
        but the last are applied here too. `augment` does both in one go.
        """
        sampled = []
        for place, part in enumerate(self.parts):
            sampled.append(part.sample(batch, draws.within(str(place))))
            if place + 1 < len(self.parts):
                batch = part.apply(batch, sampled[-1])
        return SequenceParams(tuple(sampled))

    def apply(self, batch: Batch, params: SequenceParams) -> Batch:
        for part, own in zip(self.parts, params.parts, strict=True):
            batch = part.apply(batch, own)
        return batch

    def augment(self, batch: Batch, draws: Draws) -> tuple[Batch, Params]:
        sampled = []
        for place, part in enumerate(self.parts):
            batch, own = part.augment(batch, draws.within(str(place)))
            sampled.append(own)
        return batch, SequenceParams(tuple(sampled))


#: The name that torchvision and albumentations give it.
Compose = Sequence
