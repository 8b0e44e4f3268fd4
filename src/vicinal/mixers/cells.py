"""Mixing by the cells of a regular grid: each shows the own sample or its partner, whole."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Options, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.masks import MaskMixer, mix_by_mask
from vicinal.mixers.pairing import Pairing
from vicinal.mixers.paste import spatial_sizes

Scope = Literal["sample", "batch"]

#: Parameters that mixers by cells have in common.
CELLS = Range(
    2, 14, default=4, valid="[1, inf)", integer=True, meaning="cells of the grid along each axis"
)
SCOPE = Options(("sample", "batch"), "sample", meaning="what shares one number of cells")


@dataclass(frozen=True)
class CellsParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    cells: (B, ...) bool, an axis of the grid for each axis of space or time: true where the own
        sample is shown.
    extent: (B, R) int64, what the grid covers along each of the R axes, in pixels or steps: the
        sample, or more where the last cells hang over its end.
    """

    partner: Tensor
    cells: Tensor
    extent: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """1 in the partner's cells and 0 in the own, as `vicinal.core.partner_share` has it."""
        return (~cells_at(self.cells, self.extent, places)).float()


class CellMixer(MaskMixer):
    """A mixer whose params say which cells of a grid show the own sample."""

    def extents(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """What the grid covers along each axis of a sample."""
        return tuple(sizes)

    def own_share(self, batch: Batch, params: Any) -> Tensor:
        sizes = spatial_sizes(batch.tensor)
        return shown(params.cells, sizes, self.extents(sizes))

    def apply(self, batch: Batch, params: Any) -> Batch:
        sizes = spatial_sizes(batch.tensor)
        kept = cells_area(params.cells, sizes, self.extents(sizes))
        return mix_by_mask(batch, params.partner, self.own_share(batch, params), kept=kept)


class GridMask(CellMixer):
    """A mixer that shows its own sample in a random subset of the cells of a grid.

    A subclass says how many cells that are.

    Args:
        cells: along each axis; they differ by a pixel where they do not divide it.
        cell: side of a cell in pixels or steps instead; the last cells of an axis are cropped where
            it does not divide it.
        scope: `sample` draws the number of own cells for every sample, `batch` one for all of them.
            Which cells they are is drawn for every sample.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: the side is not a positive whole number.
    """

    def __init__(self, cells: int, cell: int | None, *, scope: Scope, pairing: Pairing) -> None:
        if cell is not None and (not isinstance(cell, int) or cell < 1):
            raise ValueError(f"cell must be a positive whole number of pixels, got {cell!r}")
        super().__init__(pairing)
        self.cells = int(cells)
        self.cell = cell
        self.scope = scope

    @abstractmethod
    def own_count(self, draws: Draws, total: int) -> Tensor:
        """How many of all cells show the own sample. Returns (B,) int64 in 0 .. total."""

    def counts(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The number of cells along each axis of a sample."""
        if self.cell is None:
            return (self.cells,) * len(sizes)
        return tuple(-(-size // self.cell) for size in sizes)

    def extents(self, sizes: Sequence[int]) -> tuple[int, ...]:
        if self.cell is None:
            return tuple(sizes)
        return tuple(count * self.cell for count in self.counts(sizes))

    def sample(self, batch: Batch, draws: Draws) -> CellsParams:
        sizes = spatial_sizes(batch.tensor)
        counts, extents = self.counts(sizes), self.extents(sizes)
        source = draws.shared() if self.scope == "batch" else draws
        own = self.own_count(source, math.prod(counts))
        return CellsParams(
            partner=self.pairing.partner(batch, draws),
            cells=random_cells(draws, own, counts),
            extent=torch.tensor(extents, device=own.device).expand(len(batch), -1),
        )


def cells_at(cells: Tensor, extent: Tensor, places: Sequence[Tensor]) -> Tensor:
    """The cells that single places of the samples lie in.

    Args:
        cells: (B, ...), of R axes.
        extent: (B, R) int64, what the grid covers along each axis.
        places: for each axis, (N,) int64 positions along it.

    Returns:
        (B, N1, N2, ...), of the cells' type, for each combination of the positions.
    """
    for axis, along in enumerate(places, start=1):
        cell = along * cells.shape[axis] // extent[:, axis - 1, None]  # (B, N)
        cell = cell.view(len(cells), *(-1 if a == axis else 1 for a in range(1, cells.dim())))
        shape = list(cells.shape)
        shape[axis] = len(along)
        cells = cells.gather(axis, cell.expand(shape))
    return cells


def random_cells(draws: Draws, count: Tensor, grid: Sequence[int]) -> Tensor:
    """As many cells of a grid as are asked for, each subset as likely.

    Args:
        draws: of B rows.
        count: (B,) int64, from none to all cells.
        grid: cells along each axis.

    Returns:
        (B, *grid) bool.
    """
    keys = draws.keys("cells", shape=(math.prod(grid),))
    return smallest(keys, count).view(len(count), *grid)


def smallest(keys: Tensor, count: Tensor) -> Tensor:
    """Which numbers of each row are its smallest.

    Args:
        keys: (B, T) int64, no two of a row alike.
        count: (B,) int64 in 0 .. T, how many.

    Returns:
        (B, T) bool.
    """
    # The last of them is looked up among the sorted ones, and all compared with it. NumPy sorts in
    # a tenth of torch's time.
    if keys.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(keys.numpy(), axis=1))
    else:
        ordered = keys.sort(dim=1).values
    last = ordered.gather(1, (count - 1).clamp(min=0)[:, None])
    return (keys <= last) & (count > 0)[:, None]


def largest(maps: Tensor, count: Tensor) -> Tensor:
    """Which numbers of each map are its largest; of equal ones, the first.

    Args:
        maps: (B, ...) float32, without NaN.
        count: (B,) int64, how many, from none to all.

    Returns:
        (B, ...) bool.
    """
    flat = maps.flatten(1) + 0.0  # there is a zero below zero, too
    bits = flat.view(torch.int32).long()
    # Bits of floats lie in their order, but for those below zero, which lie in reverse.
    order = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    place = torch.arange(flat.shape[1], device=maps.device)
    return smallest(-order * 2**31 + place, count).view(maps.shape)


def shown(cells: Tensor, sizes: Sequence[int], extents: Sequence[int]) -> Tensor:
    """A grid of cells made as large as the samples.

    Args:
        cells: (B, ...), with as many axes after the batch as there are sizes.
        sizes: of the samples' axes.
        extents: what the grid covers along each; what lies beyond the sample is cropped.

    Returns:
        (B, *sizes), of the cells' type.
    """
    # The last axis first: later ones copy whole rows.
    for axis in range(len(sizes), 0, -1):
        place = torch.arange(sizes[axis - 1], device=cells.device)
        cells = cells.index_select(axis, place * cells.shape[axis] // extents[axis - 1])
    return cells


def cells_area(cells: Tensor, sizes: Sequence[int], extents: Sequence[int]) -> Tensor:
    """The share of each sample that the true cells of its grid cover.

    Args:
        cells: (B, ...) bool, with as many axes after the batch as there are sizes.
        sizes: of the samples' axes.
        extents: what the grid covers along each; what lies beyond the sample does not count.

    Returns:
        (B,) float32, exact to its rounding.
    """
    area = cells.double()
    for axis in range(len(sizes), 0, -1):
        count, size, extent = cells.shape[axis], sizes[axis - 1], extents[axis - 1]
        # A place p lies in cell p * count // extent.
        first = -(-torch.arange(count + 1, device=cells.device) * extent // count)
        area = area @ first.clamp(max=size).diff().double()
    return (area / math.prod(sizes)).float()
