"""Mixing by a lattice of holes: within a box, the partner shows through at regular intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.boxes import need_boxes_inside
from vicinal.core.card import Card, Options, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.masks import MaskMixer, made_once, mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.paste import image_sizes

Scope = Literal["sample", "batch"]

#: Ends of the box's share of the image's area, and of its height in widths.
AREA = (0.5, 1.0)
ASPECT = (0.5, 2.0)


@dataclass(frozen=True)
class GridMixParams(Params):
    """One row per output sample; each pair is of rows and columns, in pixels.

    partner: (B,) int64, the row of the dataset that is mixed in.
    start, stop: (B, 2) int64, the box of the lattice; stop is exclusive.
    cell: (B, 2) int64, from one hole to the next.
    hole: (B, 2) int64, the size of a hole, which is at its cell's start.
    """

    partner: Tensor
    start: Tensor
    stop: Tensor
    cell: Tensor
    hole: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """1 in the holes and 0 elsewhere, as `vicinal.core.partner_share` has it."""
        rows, columns = (self.open(axis, along) for axis, along in enumerate(places))
        return (rows[:, :, None] & columns[:, None, :]).float()

    def open(self, axis: int, places: Tensor) -> Tensor:
        """Where the holes are along an axis. places: (N,) int64. Returns (B, N) bool."""
        start, stop, cell, hole = (
            pair[:, axis, None] for pair in (self.start, self.stop, self.cell, self.hole)
        )
        within = (places >= start) & (places < stop)
        return within & ((places - start) % cell < hole)


class GridMix(MaskMixer):
    """Show a partner through the holes of a lattice in a random box, and mix the labels by area.

    Works on images (B, C, H, W).

    Source: OpenMixup's gridmix.py, which is the GridMixup of a public snippet and not the GridMix
    of Baek et al. (Pattern Recognition 2021), whose cells show either sample, as those of `MaskMix`
    do. Given the same draws, masks agree with OpenMixup's exactly and weights to 1e-6; a box larger
    than the image, which wraps around there, is cut to its size here, and images may be so small
    that not all holes fit. Lattice and partner are drawn per sample; OpenMixup draws them once for
    the batch.

    Args:
        alpha: both shapes of the Beta distribution of the share that a cell keeps; > 0.
        fewest: the smallest number of holes across, at least 1.
        most: the largest number; at least the smallest. Numbers in between are equally likely.
        scope: `sample` draws a lattice for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="gridmix",
        kind="mixer",
        family="grid",
        modality=("image",),
        summary="Shows another image through a lattice of holes and mixes the labels by area.",
        systems=("openmixup", "openmixup-mixers"),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the share that a cell keeps",
            ),
            "fewest": Range(
                1, 6, default=2, valid="[1, inf)", integer=True, meaning="fewest holes across"
            ),
            "most": Range(
                2, 20, default=6, valid="[1, inf)", integer=True, meaning="most holes across"
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one lattice"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with OpenMixup's code, exactly on masks, to 1e-6 on weights",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one lattice per sample, where OpenMixup has one per batch",
            "a box larger than the image is cut to its size, where OpenMixup's wraps around",
            "images need not be square",
        ),
        controls=("cutmix",),
        example="x, target = vicinal.GridMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fewest: int = 2,
        most: int = 6,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, fewest=fewest, most=most, scope=scope)
        if fewest > most:
            raise ValueError(f"fewest must be at most most, got {fewest} and {most}")
        super().__init__(pairing)
        self.alpha = alpha
        self.fewest = fewest
        self.most = most
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> GridMixParams:
        size = torch.tensor(image_sizes(batch.tensor), device=batch.index.device)
        source = draws.shared() if self.scope == "batch" else draws
        kept = source.beta("share kept", self.alpha, self.alpha).double()
        across = self.fewest + source.below("holes", self.most - self.fewest + 1)
        area = (source.uniform("area", *AREA).double() * size.prod()).floor()
        aspect = source.uniform("aspect", *ASPECT).double()
        width = (area / aspect).sqrt().floor()
        wanted = torch.stack([(width * aspect).floor(), width], dim=1).long()
        box = wanted.clamp(min=1).minimum(size)
        room = size - box
        start = (source.uniform("place", shape=(2,)).double() * (room + 1)).long().minimum(room)
        # A cell of one pixel would have no room for a hole and what is around it.
        cell = (box[:, 1] / across).ceil().long().clamp(min=2)
        hole = (cell * (1 - kept).sqrt()).long().clamp(min=1).minimum(cell - 1)
        return GridMixParams(
            partner=self.pairing.partner(batch, draws),
            start=start,
            stop=start + box,
            cell=torch.stack([cell, cell], dim=1),
            hole=torch.stack([hole, hole], dim=1),
        )

    def own_share(self, batch: Batch, params: GridMixParams) -> Tensor:
        return self._shown(batch, params)[0]

    def apply(self, batch: Batch, params: GridMixParams) -> Batch:
        own, kept = self._shown(batch, params)
        return mix_by_mask(batch, params.partner, own, kept=kept)

    def _shown(self, batch: Batch, params: GridMixParams) -> tuple[Tensor, Tensor]:
        """The mask, (B, H, W), and its mean, (B,)."""
        height, width = image_sizes(batch.tensor)
        need_boxes_inside(params.start, params.stop, (height, width))
        rows = params.open(0, torch.arange(height, device=params.start.device))
        columns = params.open(1, torch.arange(width, device=params.start.device))
        given = rows.sum(dim=1) * columns.sum(dim=1)
        own = made_once(_neither, rows, columns)
        return own, (1 - given.double() / (height * width)).float()


def _neither(rows: Tensor, columns: Tensor) -> Tensor:
    """True where not both are. rows: (B, H) bool. columns: (B, W) bool. Returns (B, H, W)."""
    return rows.logical_not()[:, :, None] | columns.logical_not()[:, None, :]
