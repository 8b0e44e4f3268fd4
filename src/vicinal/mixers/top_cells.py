"""Keeping the cells of a grid in which a map of the own sample is largest."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.mixers.cells import CellMixer, CellsParams, Scope, largest
from vicinal.mixers.pairing import Pairing
from vicinal.mixers.paste import image_sizes


class TopCells(CellMixer):
    """A mixer that shows its own sample where a map of it is largest, and the partner elsewhere.

    A subclass says how many cells are kept, and what the map is.

    Args:
        cells: of the grid along each axis.
        scope: `sample` draws the number of cells kept for every sample, `batch` one for all.
        pairing: who is mixed with whom.
    """

    def __init__(self, cells: int, *, scope: Scope, pairing: Pairing) -> None:
        super().__init__(pairing)
        self.cells = int(cells)
        self.scope = scope

    @abstractmethod
    def own_count(self, draws: Draws, total: int) -> Tensor:
        """How many cells show the own sample. Returns (B,) int64 in 0 .. total."""

    @abstractmethod
    def maps(self, batch: Batch) -> Tensor:
        """What decides which cells are kept, of every sample. Returns (B, cells, cells)."""

    def sample(self, batch: Batch, draws: Draws) -> CellsParams:
        sizes = image_sizes(batch.tensor)
        maps = self.maps(batch)
        source = draws.shared() if self.scope == "batch" else draws
        count = self.own_count(source, self.cells**2)
        return CellsParams(
            partner=self.pairing.partner(batch, draws),
            cells=largest(maps, count),
            extent=torch.tensor(sizes, device=count.device).expand(len(count), -1),
        )
