"""Puzzles of two images: which cells show which of them, and which of its blocks are seen where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.params import Params
from vicinal.mixers.cells import cells_at
from vicinal.mixers.evidence import on_grid, shares
from vicinal.mixers.grid_cut import cut
from vicinal.mixers.masks import upsampled
from vicinal.mixers.puzzle_energy import puzzle_energy
from vicinal.mixers.transport import transported

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class PuzzleMixParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    share: (B, m, m) float32, 0, 1/2 or 1: how much of the own image each cell shows.
    extent: (B, 2) int64, height and width of the image.
    block, partner_block: (B, m * m) int16, which of its blocks each image shows at every place,
        counted row by row; None where all stay where they are.
    """

    partner: Tensor
    share: Tensor
    extent: Tensor
    block: Tensor | None = None
    partner_block: Tensor | None = None

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """That of the cell, as `vicinal.core.partner_share` has it."""
        return 1 - cells_at(self.share, self.extent, places)


@dataclass(frozen=True)
class Layout:
    """The grids that an image may be cut by, and the blocks that are moved on each of them.

    cells: a side, of each grid.
    blocks: a side, of each grid; a multiple of its cells, and a divisor of the largest.
    """

    cells: tuple[int, ...]
    blocks: tuple[int, ...]

    @classmethod
    def of(cls, grids: Sequence[int], sizes: Sequence[int], *, block_size: int | None) -> Self:
        """Those of some grids that divide an image.

        Args:
            grids: cells a side.
            sizes: (H, W) of the image.
            block_size: pixels a side of a block, where this is less than a cell; None for the cells
                themselves.

        Raises:
            ValueError: no grid divides the image, or blocks do not divide it or a grid.
        """
        fitting = tuple(cells for cells in grids if all(size % cells == 0 for size in sizes))
        if not fitting:
            raise ValueError(f"none of the grids {tuple(grids)} divides an image of {tuple(sizes)}")
        found = cls(fitting, tuple(_blocks(cells, sizes, block_size) for cells in fitting))
        if any(found.finest % blocks for blocks in found.blocks):
            finest = found.finest
            raise ValueError(f"grids of {fitting} cells do not divide {finest} x {finest} blocks")
        return found

    @property
    def finest(self) -> int:
        """The most blocks a side, in which all that is found is told."""
        return max(self.blocks)


@dataclass(frozen=True)
class Puzzle:
    """What putting two images together costs, and how to do so for little.

    beta: price of a border between the images; >= 0.
    gamma: weight of how pixels fit together along a border, in units of x; >= 0.
    eta: weight of the prior share; >= 0.
    neighbourhood: pixels a side that are averaged before they are compared along a border.
    moving_cost: of a block along a whole side, in units of the image's saliency, > 0; None where
        all stay where they are.
    """

    beta: float
    gamma: float
    eta: float
    neighbourhood: int
    moving_cost: float | None

    def solve(
        self,
        x: Tensor,
        saliency: Tensor,
        partner: Tensor,
        *,
        prior: Tensor,
        grid: Tensor,
        layout: Layout,
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Cut every image and its partner, and move their blocks to where they are seen.

        Args:
            x: (B, C, H, W).
            saliency: (B, H, W).
            partner: (B,) int64, positions in x.
            prior: (B,) float32, of the own image's share, in [0, 1].
            grid: (B,) int64, which one of the layout each is cut by.
            layout: n is its finest number of blocks a side.

        Returns:
            (B, n, n) float32, 0, 1/2 or 1: how much of the own image is shown; and for the own
            image and its partner (B, n * n) int16, which block is shown at every place, or None
            where none is moved.
        """
        finest = layout.finest
        share = x.new_empty((len(x), finest, finest), dtype=torch.float32)
        places = torch.arange(finest**2, dtype=torch.int16, device=x.device)
        block, partner_block = places.repeat(2, len(x), 1)
        detail = shares(on_grid(saliency, (finest, finest)))
        for number, (cells, blocks) in enumerate(zip(layout.cells, layout.blocks, strict=True)):
            own = (grid == number).nonzero()[:, 0]
            if not len(own):
                continue
            other = partner[own]
            energy = puzzle_energy(
                x,
                shares(on_grid(detail, (cells, cells))),
                (own, other),
                prior[own],
                beta=self.beta,
                gamma=self.gamma,
                eta=self.eta,
                neighbourhood=self.neighbourhood,
            )
            found = cut(energy).permute(2, 0, 1)
            share[own] = upsampled(found, (finest, finest))
            if self.moving_cost is not None:
                found = upsampled(found, (blocks, blocks))
                worth = shares(on_grid(detail, (blocks, blocks)))
                moved = transported(
                    torch.cat([found > 0, found < 1]),
                    torch.cat([worth[own], worth[other]]),
                    cost=self.moving_cost,
                )
                finer = in_finer_blocks(moved, finest // blocks).to(torch.int16)
                block[own], partner_block[own] = finer.chunk(2)
        return share, None if self.moving_cost is None else (block, partner_block)


def in_finer_blocks(block: Tensor, times: int) -> Tensor:
    """The same moves, of blocks that are so many times smaller a side. block: (N, n * n)."""
    if times == 1:
        return block
    side = round(block.shape[1] ** 0.5)
    within = torch.arange(times, device=block.device)
    corner = (block // side * side * times + block % side) * times
    inside = within[:, None, None] * side * times + within  # (times, 1, times)
    finer: Tensor = corner.view(-1, side, 1, side, 1) + inside
    return finer.reshape(len(block), -1)


def _blocks(cells: int, sizes: Sequence[int], size: int | None) -> int:
    """How many blocks of some pixels a side there are where images are cut into some cells."""
    height, width = sizes
    if size is None or size * cells >= width:
        return cells
    blocks = width // size
    if width % size or height % blocks or blocks % cells:
        raise ValueError(
            f"blocks of {size} pixels do not divide {cells} x {cells} cells of an image of "
            f"{height} x {width}"
        )
    return blocks
