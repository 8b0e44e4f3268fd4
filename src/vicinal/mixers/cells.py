"""Mixing by the cells of a regular grid: each shows the own sample or its partner, whole."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Options, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.masks import MaskMixer
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


class GridMask(MaskMixer):
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

    def grid(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The number of cells along each axis of a sample, and what they cover of it."""
        if self.cell is None:
            return (self.cells,) * len(sizes), tuple(sizes)
        counts = tuple(-(-size // self.cell) for size in sizes)
        return counts, tuple(count * self.cell for count in counts)

    def sample(self, batch: Batch, draws: Draws) -> CellsParams:
        counts, extents = self.grid(spatial_sizes(batch.tensor))
        source = draws.shared() if self.scope == "batch" else draws
        own = self.own_count(source, math.prod(counts))
        return CellsParams(
            partner=self.pairing.partner(batch, draws),
            cells=random_cells(draws, own, counts),
            extent=torch.tensor(extents, device=own.device).expand(len(batch), -1),
        )

    def own_share(self, batch: Batch, params: Any) -> Tensor:
        sizes = spatial_sizes(batch.tensor)
        return shown(params.cells, sizes, self.grid(sizes)[1])


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
        keys: (B, T); of equal ones, the first come first.
        count: (B,) int64 in 0 .. T, how many.

    Returns:
        (B, T) bool.
    """
    order = keys.argsort(dim=1, stable=True)
    rank = torch.arange(keys.shape[1], device=keys.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, rank) < count[:, None]


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
