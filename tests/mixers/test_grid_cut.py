from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

from vicinal.mixers.grid_cut import GridEnergy, cut, line_by_line, relax

GOLDEN = Path(__file__).parent / "golden"
#: Of the authors' default eta, 0.2.
ETA = 0.2


def random_energy(
    height: int, width: int, pairs: int, *, seed: int, coupling: float = 0.5
) -> GridEnergy:
    """Slopes of both signs, and couplings that bind neighbours more or less."""
    draw = torch.Generator().manual_seed(seed)
    return GridEnergy(
        slope=torch.randn(height, width, pairs, generator=draw),
        bend=torch.rand(height, width, pairs, generator=draw),
        down=coupling * torch.rand(height - 1, width, pairs, generator=draw),
        across=coupling * torch.rand(height, width - 1, pairs, generator=draw),
    )


def one(energy: GridEnergy, pair: int) -> GridEnergy:
    parts = (energy.slope, energy.bend, energy.down, energy.across)
    return GridEnergy(*(part[..., pair : pair + 1] for part in parts))


def lowest_by_enumeration(energy: GridEnergy) -> Tensor:
    height, width, pairs = energy.slope.shape
    shares = torch.tensor(list(itertools.product((0, 0.5, 1), repeat=height * width)))
    every = shares.T.reshape(height, width, -1)
    return torch.stack([one(energy, pair).at(every).amin() for pair in range(pairs)])


def lowest_by_minimum_cut(energy: GridEnergy) -> float:
    """The exact minimum for one pair: Ishikawa's graph, with two nodes a cell for three labels."""
    height, width, _ = energy.slope.shape
    cells = height * width
    source, sink = 2 * cells, 2 * cells + 1
    scale, forbidden = 10**6, 10.0
    capacity: dict[tuple[int, int], float] = {}

    def add(start: int, end: int, value: float) -> None:
        capacity[start, end] = capacity.get((start, end), 0.0) + value

    slope = energy.slope.double().flatten().numpy()
    bend = energy.bend.double().flatten().numpy()
    # What a node costs if it is on the source's side: the first says z >= 1/2, the second z = 1.
    cost = np.concatenate([slope / 2 - bend / 4, slope / 2 + bend / 4])
    for cell in range(cells):
        add(cells + cell, cell, forbidden)
    neighbours = []
    for row, column in itertools.product(range(height), range(width)):
        cell = row * width + column
        if row + 1 < height:
            neighbours.append((cell, cell + width, float(energy.down[row, column, 0])))
        if column + 1 < width:
            neighbours.append((cell, cell + 1, float(energy.across[row, column, 0])))
    for first, second, weight in neighbours:
        # (z - z')^2 = z^2 + z'^2 - 2 z z': squares cost their nodes, products their edges.
        for cell in (first, second):
            cost[cell] += weight / 4
            cost[cells + cell] += 3 * weight / 4
        for start, end in itertools.product((first, cells + first), (second, cells + second)):
            cost[start] -= weight / 2
            add(start, end, weight / 2)
    for node, value in enumerate(cost):
        add(*((node, sink) if value > 0 else (source, node)), abs(value))
    edges = [(start, end, round(value * scale)) for (start, end), value in capacity.items()]
    rows, columns, values = zip(*edges, strict=True)
    graph = coo_matrix(
        (np.array(values, dtype=np.int32), (rows, columns)), shape=(2 * cells + 2,) * 2
    ).tocsr()
    flow = maximum_flow(graph, source, sink).flow
    residual = graph - flow
    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    reached = np.zeros(2 * cells + 2)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = 0.5
    z = torch.from_numpy(reached[:cells] + reached[cells : 2 * cells]).view(height, width, 1)
    return float(energy.at(z.float()))


def golden_cuts(side: int) -> tuple[GridEnergy, Tensor, Tensor]:
    """Energies of 32 pairs, the authors' shares, and what their energies leave out."""
    stored = {
        name.removeprefix(f"{side}."): value.movedim(0, -1)
        for name, value in load_file(GOLDEN / "puzzle_mix_cuts.safetensors").items()
        if name.startswith(f"{side}.")
    }
    slope = stored["slope"]
    bend = torch.full_like(slope, 4 * math.log(2) * ETA / side**2)
    energy = GridEnergy(slope, bend, stored["down"], stored["across"])
    return energy, stored["share"].float(), stored["offset"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 3)])
def test_small_grids_are_within_one_percent_of_enumeration(
    size: tuple[int, int], seed: int
) -> None:
    energy = random_energy(*size, pairs=12, seed=seed)
    lowest = lowest_by_enumeration(energy)
    found = energy.at(cut(energy))
    assert (found >= lowest - 1e-5).all()
    assert ((found - lowest) <= 0.01 * lowest.abs()).float().mean() > 0.95
    assert (found - lowest).sum() <= 0.001 * lowest.abs().sum()


def test_the_minimum_cut_of_the_tests_is_exact() -> None:
    energy = random_energy(3, 3, pairs=4, seed=5)
    for pair, lowest in enumerate(lowest_by_enumeration(energy)):
        exact = lowest_by_minimum_cut(one(energy, pair))
        assert exact == pytest.approx(float(lowest), abs=1e-4)


def test_four_by_four_is_within_one_percent_of_the_minimum_cut() -> None:
    energy, _, offset = golden_cuts(4)
    found = energy.at(cut(energy)) + offset
    for pair in range(len(offset)):
        exact = lowest_by_minimum_cut(one(energy, pair)) + float(offset[pair])
        assert exact - 1e-4 <= float(found[pair]) <= 1.01 * exact


@pytest.mark.parametrize("side", [4, 8, 16])
def test_cuts_are_no_worse_than_the_authors(side: int) -> None:
    # snu-mllab/PuzzleMix at e2dbf3a: graphcut_multi with gco-wrapper 3.0.9, its energies by ours.
    energy, theirs, offset = golden_cuts(side)
    found = energy.at(cut(energy)) + offset
    reference = energy.at(theirs) + offset
    assert found.mean() <= reference.mean() * (1 + 1e-6)
    assert (found <= 1.01 * reference).all()


def test_shares_are_nothing_half_or_all() -> None:
    energy = random_energy(8, 8, pairs=5, seed=0)
    assert set(cut(energy).unique().tolist()) == {0.0, 0.5, 1.0}


def test_without_coupling_every_cell_is_at_its_own_minimum() -> None:
    energy = random_energy(5, 7, pairs=6, seed=1, coupling=0)
    cost = torch.stack([(energy.slope + energy.bend * (z - 1)) * z for z in (0.0, 0.5, 1.0)])
    torch.testing.assert_close(cut(energy), cost.argmin(dim=0) / 2)


def test_a_strong_coupling_gives_one_share_to_all() -> None:
    energy = random_energy(8, 8, pairs=20, seed=2, coupling=1e4)
    z = cut(energy)
    assert (z.amax((0, 1)) == z.amin((0, 1))).all()
    total, bend = energy.slope.sum((0, 1)), energy.bend.sum((0, 1))
    cost = torch.stack([torch.zeros_like(total), total / 2 - bend / 4, total])
    torch.testing.assert_close(z[0, 0], cost.argmin(dim=0) / 2)


@given(seed=st.integers(0, 2**31), height=st.integers(2, 5), width=st.integers(2, 5))
def test_setting_lines_to_their_minimum_never_raises_the_energy(
    seed: int, height: int, width: int
) -> None:
    energy = random_energy(height, width, pairs=4, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    z = torch.randint(0, 3, (height, width, 4), generator=draw) / 2
    better = line_by_line(energy, z)
    assert (energy.at(better) <= energy.at(z) + 1e-5).all()


def test_a_single_line_is_exact() -> None:
    energy = random_energy(1, 7, pairs=10, seed=3)
    found = energy.at(line_by_line(energy, torch.zeros(1, 7, 10)))
    torch.testing.assert_close(found, lowest_by_enumeration(energy))


def test_the_relaxed_solution_is_below_every_rounded_one() -> None:
    energy = random_energy(6, 6, pairs=10, seed=4)
    relaxed = relax(energy)
    assert ((relaxed >= 0) & (relaxed <= 1)).all()
    assert (energy.at(relaxed) <= energy.at(cut(energy)) + 1e-3).all()


def test_pairs_do_not_depend_on_each_other() -> None:
    energy = random_energy(8, 8, pairs=6, seed=6)
    torch.testing.assert_close(cut(one(energy, 2))[..., 0], cut(energy)[..., 2])


def test_rows_and_columns_are_alike() -> None:
    energy = random_energy(4, 4, pairs=30, seed=8)
    other = energy.transposed()
    torch.testing.assert_close(energy.at(cut(energy)), other.at(cut(other)), rtol=0.02, atol=0.02)


def test_a_coarse_energy_is_that_of_the_same_shares_in_squares() -> None:
    energy = random_energy(4, 6, pairs=3, seed=9)
    z = torch.randint(0, 3, (2, 3, 3), generator=torch.Generator().manual_seed(0)) / 2
    fine = z.repeat_interleave(2, 0).repeat_interleave(2, 1)
    torch.testing.assert_close(energy.coarse().at(z), energy.at(fine))
