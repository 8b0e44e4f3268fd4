"""All versions of every image under a group of transformations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper
from vicinal.core.draws import Draws
from vicinal.core.params import Params

Transformations = Literal[
    "identity",
    "rotation",
    "half_turn",
    "colour",
    "colour_cycle",
    "half_turn+colour_cycle",
    "rotation+colour_cycle",
    "rotation+colour",
]

#: Quarter turns, against the clock.
TURNS = {"rotation": (0, 1, 2, 3), "half_turn": (0, 2)}
_SAME = (0, 1, 2)
#: Which channel comes to the place of each.
COLOURS = {
    "colour": tuple(itertools.permutations(_SAME)),
    "colour_cycle": (_SAME, (1, 2, 0), (2, 0, 1)),
}


@dataclass(frozen=True)
class OrbitParams(Params):
    """One row per output sample.

    member: (B * M,) int64, the transformation that made it; 0 is the identity.
    source: (B * M,) int64, the row of the dataset that it is a version of.
    """

    member: Tensor
    source: Tensor


class Orbit(Augmentation):
    """Give every version of every image: M times as many rows, all of the first image first.

    The target of a version is its image's: training on it as it is asks for predictions that do
    not depend on the transformation. A method may number the pairs of class and transformation
    instead (`ClassTarget.expand`).

    Source: Lee et al., Self-supervised Label Augmentation via Input Transformations, ICML 2020,
    section 3, and the authors' augmentations.py, in whose order the members are. They form a group:
    `table` says what two of them make, `inverse` which one undoes another.

    Args:
        transformations: `rotation` by quarter turns (4, square images), `half_turn` (2), `colour`
            permutations (6, three channels), `colour_cycle`, those that are cyclic (3), products of
            the two kinds (6, 12 and 24), and `identity` (1), which changes nothing.

    Raises:
        ValueError: the transformations are unknown.
    """

    card = Card(
        name="orbit",
        kind="transform",
        family="orbit",
        modality=("image",),
        summary="Trains on all quarter turns, or colour permutations, of every image at once.",
        systems=("sla",),
        paper=Paper(
            "Self-supervised Label Augmentation via Input Transformations",
            authors="Lee, Hwang, Shin",
            venue="ICML",
            year=2020,
            arxiv="1910.05872",
        ),
        parameters={
            "transformations": Options(
                get_args(Transformations), "rotation", meaning="the group of transformations"
            )
        },
        needs=("as many forward and backward passes as there are transformations",),
        keeps_meaning=False,
        example="x, target = vicinal.Orbit()(x, y); loss = target.loss(model(x))",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        shapes={"image": (3, 12, 12)},
    )

    def __init__(self, transformations: Transformations = "rotation") -> None:
        self.card.check(transformations=transformations)
        self.transformations = transformations
        names = transformations.split("+")
        turns = next((TURNS[name] for name in names if name in TURNS), (0,))
        colours = next((COLOURS[name] for name in names if name in COLOURS), (_SAME,))
        #: Quarter turns and order of channels of each.
        self.members = tuple(itertools.product(turns, colours))

    def __len__(self) -> int:
        return len(self.members)

    @property
    def table(self) -> Tensor:
        """The member that two make one after the other. Returns (M, M) int64, the first by row."""
        place = {member: at for at, member in enumerate(self.members)}
        return torch.tensor(
            [
                [
                    place[(turn + more) % 4, tuple(order[channel] for channel in later)]
                    for more, later in self.members
                ]
                for turn, order in self.members
            ]
        )

    @property
    def inverse(self) -> Tensor:
        """The member that undoes each. Returns (M,) int64."""
        return (self.table == 0).long().argmax(dim=1)

    def sample(self, batch: Batch, draws: Draws) -> OrbitParams:
        """Nothing is random: every member, of every sample."""
        member = torch.arange(len(self), device=batch.index.device)
        return OrbitParams(
            member=member.repeat(len(batch)), source=batch.index.repeat_interleave(len(self))
        )

    def apply(self, batch: Batch, params: OrbitParams) -> Batch:
        place = torch.arange(len(batch), device=batch.index.device)
        # The own rows, whatever else partners could be taken from; their places instead of pixels.
        result = batch.replace(x=place, pool=None).take(params.source)
        x = batch.tensor
        versions = torch.cat([self.version(x, member) for member in range(len(self))])
        picked = versions.index_select(0, params.member * len(batch) + result.tensor)
        if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
            return result.replace(x=picked.contiguous(memory_format=torch.channels_last))
        return result.replace(x=picked.contiguous())

    def version(self, x: Tensor, member: int) -> Tensor:
        """All images as one member makes them.

        Args:
            x: (B, C, H, W).
            member: in [0, M).

        Returns:
            (B, C, H, W), a view where channels stay.

        Raises:
            ValueError: quarter turns of images that are not square, or colours of images that do
                not have three channels.
        """
        if x.dim() != 4:
            raise ValueError(f"an orbit needs images (B, C, H, W), got {tuple(x.shape)}")
        turns, channels = self.members[member]
        if turns % 2 and x.shape[2] != x.shape[3]:
            raise ValueError(
                f"quarter turns need square images, got {x.shape[2]} x {x.shape[3]}: use half_turn"
            )
        if channels != _SAME:
            if x.shape[1] != 3:
                raise ValueError(f"colour permutations need three channels, got {x.shape[1]}")
            x = torch.stack([x[:, channel] for channel in channels], dim=1)
        return x.rot90(turns, (2, 3))

    def invert(self, x: Tensor) -> Tensor:
        """Images of an orbit, each turned back.

        Args:
            x: (B * M, C, H, W), all versions of the first sample first.

        Returns:
            (B * M, C, H, W); after `apply`, M copies of every sample.
        """
        versions = x.view(-1, len(self), *x.shape[1:])
        back = [
            self.version(versions[:, at], undo) for at, undo in enumerate(self.inverse.tolist())
        ]
        return torch.stack(back, dim=1).flatten(0, 1)
