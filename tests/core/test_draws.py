"""Randomness that belongs to the sample."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vicinal import Batch, Draws
from vicinal.core import counter
from vicinal.testing.workers import augmented_in_workers
from vicinal.transforms.image.flip import HorizontalFlip

SEEDS = st.integers(-(2**63), 2**63 - 1)
INDICES = st.lists(st.integers(0, 2**40), min_size=1, max_size=30, unique=True).map(torch.tensor)

#: Every kind of draw that belongs to a row alone.
EVERY: dict[str, Callable[[Draws], Tensor]] = {
    "uniform": lambda draws: draws.uniform("a", -1, 3, shape=(2,)),
    "normal": lambda draws: draws.normal("a", shape=(2, 2)),
    "below": lambda draws: draws.below("a", 1000),
    "below each": lambda draws: draws.below("a", torch.tensor([5, 7000]), shape=(2,)),
    "below listed": lambda draws: draws.below("a", [5, 7000], shape=(2,)),
    "bernoulli": lambda draws: draws.bernoulli("a", 0.3, shape=(5,)),
    "beta": lambda draws: draws.beta("a", 0.4, 2.0, shape=(3,)),
    "dirichlet": lambda draws: draws.dirichlet("a", [0.5, 1.0, 2.0]),
    "choice": lambda draws: draws.choice("a", [1.0, 0.0, 2.5], shape=(4,)),
    "keys": lambda draws: draws.keys("a", shape=(2,)),
    "within": lambda draws: draws.within("part").uniform("a"),
    "grouped": lambda draws: draws.grouped(torch.arange(len(draws)) * 0 + 4).uniform("a"),
}


def on_accelerator(draws: Draws) -> Draws:
    """The same draws by the code that runs where rows are tensors: everywhere but on the CPU."""
    rows = torch.from_numpy(np.array(draws._rows).view(np.int64))
    other = draws._derive(rows, draws._space)
    other._own = torch.from_numpy(np.array(draws._own).view(np.int64))
    return other


@pytest.mark.parametrize("kind", EVERY)
@given(seed=SEEDS, index=INDICES, epoch=st.integers(0, 2**31), data=st.data())
def test_a_draw_depends_on_seed_epoch_row_and_name_alone(
    kind: str, seed: int, index: Tensor, epoch: int, data: st.DataObject
) -> None:
    whole = EVERY[kind](Draws(seed, index, epoch))
    rows = torch.tensor(data.draw(st.permutations(range(len(index)))))[: len(index) // 2 + 1]
    assert torch.equal(EVERY[kind](Draws(seed, index[rows], epoch)), whole[rows])
    assert torch.equal(EVERY[kind](Draws(seed, index, epoch)), whole)


@given(seed=SEEDS, index=INDICES)
def test_drawing_once_more_changes_nothing(seed: int, index: Tensor) -> None:
    draws = Draws(seed, index)
    first = draws.uniform("a")
    draws.normal("b", shape=(3,))
    assert torch.equal(draws.uniform("a"), first)


@pytest.mark.parametrize(
    "other",
    [
        lambda index: Draws(4, index).uniform("a"),
        lambda index: Draws(3, index, epoch=1).uniform("a"),
        lambda index: Draws(3, index + 1).uniform("a"),
        lambda index: Draws(3, index).uniform("b"),
        lambda index: Draws(3, index).within("part").uniform("a"),
        lambda index: Draws(3, index).within("part").within("part").uniform("a"),
        lambda index: Draws(3, index).uniform("a", shape=(2,))[:, 1],
        lambda index: Draws(3, index).grouped(index).within("x").uniform("a"),
        lambda index: Draws(3, index.flip(0)).uniform("a"),
    ],
)
def test_another_seed_epoch_row_or_name_is_independent(other: Callable[[Tensor], Tensor]) -> None:
    index = torch.arange(50_000)
    pair = torch.stack([Draws(3, index).uniform("a"), other(index)])
    assert abs(torch.corrcoef(pair)[0, 1]) < 0.02  # 4.5 deviations
    cells = (pair * 8).long()
    counts = torch.bincount(cells[0] * 8 + cells[1], minlength=64).double()
    chi_square = ((counts - 50_000 / 64) ** 2 / (50_000 / 64)).sum()
    assert chi_square < 120  # 63 degrees of freedom: one in 60,000


def test_neighbouring_rows_and_seeds_are_independent() -> None:
    draws = Draws(0, torch.arange(100_000)).normal("a")
    of_seeds = torch.cat([Draws(seed, torch.tensor([5])).normal("a") for seed in range(5000)])
    for numbers in (draws, of_seeds):
        for lag in (1, 2, 7):
            pair = torch.stack([numbers[lag:], numbers[:-lag]])
            assert abs(torch.corrcoef(pair)[0, 1]) < 5 / len(numbers) ** 0.5


def test_repeated_rows_get_the_same_numbers() -> None:
    draws = Draws(1, torch.tensor([7, 3, 7]))
    uniform = draws.uniform("a")
    assert uniform[0] == uniform[2] != uniform[1]


@given(seed=SEEDS, index=INDICES)
def test_a_space_changes_every_name_in_it(seed: int, index: Tensor) -> None:
    draws = Draws(seed, index)
    assert not torch.equal(draws.within("a").keys("b"), draws.keys("b"))
    assert not torch.equal(draws.within("a").keys("b"), draws.within("b").keys("a"))
    assert torch.equal(draws.within("a").within("b").keys("c"), draws.keys("a/b/c"))


@given(seed=SEEDS, index=INDICES, data=st.data())
def test_shared_draws_are_one_for_the_batch_in_any_order(
    seed: int, index: Tensor, data: st.DataObject
) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(index)))))
    shared = Draws(seed, index).shared().uniform("a", shape=(2,))
    assert (shared == shared[0]).all()
    assert torch.equal(Draws(seed, index[order]).shared().uniform("a", shape=(2,)), shared)
    more = torch.cat([index, torch.tensor([2**41])])
    assert not torch.equal(Draws(seed, more).shared().uniform("a", shape=(2,))[:1], shared[:1])


def test_shared_draws_are_independent_between_batches_and_leave_the_pairing_alone() -> None:
    batches = torch.arange(60_000).view(-1, 3)
    numbers = torch.cat([Draws(2, index).shared().uniform("a")[:1] for index in batches[:20_000]])
    counts = torch.histc(numbers, 20, 0, 1)
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # 19 degrees of freedom: one in 7,000
    partner = Draws(2, torch.arange(50)).shared().permutation("p")
    assert sorted(partner.tolist()) == list(range(50))
    assert partner.tolist() != list(range(50))


def test_a_group_draws_as_one_wherever_it_is() -> None:
    group = torch.tensor([9, 9, 2, 9, 2])
    numbers = Draws(0, torch.arange(5)).grouped(group).uniform("a")
    assert numbers[0] == numbers[1] == numbers[3] != numbers[2] == numbers[4]
    elsewhere = Draws(0, torch.tensor([80, 81])).grouped(torch.tensor([2, 9])).uniform("a")
    assert elsewhere.tolist() == [numbers[2], numbers[0]]


@pytest.mark.parametrize("kind", [*EVERY, "permutation", "shared"])
@given(seed=SEEDS, index=INDICES)
def test_the_accelerators_path_gives_the_numbers_of_the_host(
    kind: str, seed: int, index: Tensor
) -> None:
    every = EVERY | {
        "permutation": lambda draws: draws.permutation("a"),
        "shared": lambda draws: draws.shared().keys("a", shape=(2,)),
    }
    draws = Draws(seed, index)
    found, wanted = every[kind](on_accelerator(draws)), every[kind](draws)
    assert found.dtype == wanted.dtype
    if kind in ("normal", "beta", "dirichlet"):  # by other special functions
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    else:
        assert torch.equal(found, wanted)


def test_rows_are_keyed_alike_on_both_paths() -> None:
    index = torch.tensor([0, 5, 2**40, -3])
    draws = Draws(11, index, epoch=2)
    assert torch.equal(counter.row_tensor(index, draws._key), on_accelerator(draws)._rows)


@given(seed=SEEDS, index=INDICES, data=st.data())
def test_a_permutation_pairs_rows_whatever_order_they_came_in(
    seed: int, index: Tensor, data: st.DataObject
) -> None:
    partner = Draws(seed, index).permutation("partner")
    assert sorted(partner.tolist()) == list(range(len(index)))
    order = torch.tensor(data.draw(st.permutations(range(len(index)))))
    shuffled = Draws(seed, index[order]).permutation("partner")
    assert torch.equal(index[order][shuffled], index[partner][order])


def test_every_permutation_is_equally_likely() -> None:
    tries = 24_000
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(tries):
        found = tuple(Draws(seed, torch.tensor([10, 20, 30, 40])).permutation("p").tolist())
        seen[found] = seen.get(found, 0) + 1
    assert len(seen) == 24
    chi_square = sum((count - tries / 24) ** 2 / (tries / 24) for count in seen.values())
    assert chi_square < 57  # 23 degrees of freedom: one in 10,000


def test_every_row_meets_every_row_equally_often() -> None:
    size, tries = 12, 4000
    counts = torch.zeros(size, size)
    for epoch in range(tries):
        partner = Draws(1, torch.arange(size) * 3, epoch).permutation("p")
        counts[torch.arange(size), partner] += 1
    expected = tries / size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # Rows and columns sum to a constant: 121 degrees of freedom; one in 10,000.
    assert chi_square < 184
    assert counts.diagonal().mean() == pytest.approx(expected, rel=0.1)


def test_global_states_are_neither_read_nor_touched() -> None:
    def everything() -> list[Any]:
        draws = Draws(5, torch.arange(9))
        return [draw(draws).tolist() for draw in EVERY.values()] + [draws.permutation("p").tolist()]

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = everything()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]
    torch.manual_seed(2), np.random.seed(2), random.seed(2)
    assert everything() == first


def test_a_generator_gives_the_seed_and_moves_on() -> None:
    index = torch.arange(20)
    generator = torch.Generator().manual_seed(3)
    first = Draws.from_generator(generator, index).uniform("a")
    second = Draws.from_generator(generator, index).uniform("a")
    assert not torch.equal(first, second)
    again = Draws.from_generator(torch.Generator().manual_seed(3), index).uniform("a")
    assert torch.equal(again, first)


def test_without_a_generator_torchs_global_one_gives_the_seed() -> None:
    index = torch.arange(20)
    state = torch.get_rng_state()
    try:
        torch.manual_seed(8)
        first = Draws.from_generator(None, index).uniform("a")
        torch.manual_seed(8)
        assert torch.equal(Draws.from_generator(None, index).uniform("a"), first)
        assert not torch.equal(Draws.from_generator(None, index).uniform("a"), first)
    finally:
        torch.set_rng_state(state)


class Numbers(Dataset[Tensor]):
    """Row i gives its own number, drawn where it is asked for."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, row: int) -> Tensor:
        drawn = Draws(7, torch.tensor([row]), epoch=2)
        return torch.cat([torch.tensor([float(row)]), drawn.uniform("a"), drawn.beta("b", 0.2, 1)])


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_numbers_are_the_same_in_any_worker_and_any_order(workers: int, shuffle: bool) -> None:
    loader = DataLoader(
        Numbers(),
        batch_size=3,
        num_workers=workers,
        shuffle=shuffle,
        multiprocessing_context="fork",
        generator=torch.Generator().manual_seed(1),
    )
    rows = torch.cat(list(loader))
    expected = torch.stack([Numbers()[row] for row in range(40)])
    assert torch.equal(rows[rows[:, 0].argsort()], expected)
    assert torch.equal(rows, expected) != shuffle


def test_numbers_are_the_same_in_a_spawned_worker() -> None:
    images = torch.rand(64, 1, 2, 4, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(images)
    augmentation = HorizontalFlip()
    (found,) = augmented_in_workers([(augmentation, batch)], "spawn", seed=9)
    wanted, params = augmentation.augment(batch, Draws(9, batch.index))
    assert torch.equal(found.tensor, wanted.tensor)
    assert 0.2 < params.flat()["flipped"].float().mean() < 0.8


@pytest.mark.parametrize("index", [torch.zeros(2), torch.zeros(2, 2).long(), torch.tensor(3)])
def test_an_index_must_be_a_row_of_integers(index: Tensor) -> None:
    with pytest.raises(TypeError, match=r"index must be \(B,\) integers, got"):
        Draws(0, index)


def test_bad_arguments_are_refused_with_their_value() -> None:
    draws = Draws(0, torch.arange(3))
    with pytest.raises(ValueError, match="epoch must not be negative, got -1"):
        Draws(0, torch.arange(3), epoch=-1)
    with pytest.raises(ValueError, match="bound must be positive, got 0"):
        draws.below("a", 0)
    with pytest.raises(ValueError, match=r"got 0\.0 and 1\.0"):
        draws.beta("a", 0.0, 1.0)
    with pytest.raises(ValueError, match=r"got nan and 1\.0"):
        draws.beta("a", float("nan"), 1.0)
    for weights in ([], [0.0, 0.0], [1.0, -1.0]):
        with pytest.raises(ValueError, match="weights must be non-negative and not all zero"):
            draws.choice("a", weights)
    with pytest.raises(ValueError, match=r"group must be \(3,\), got \(2,\)"):
        draws.grouped(torch.arange(2))


def test_no_rows_are_no_numbers() -> None:
    draws = Draws(0, torch.arange(0))
    assert all(len(draw(draws)) == 0 for draw in EVERY.values())
    assert draws.permutation("a").shape == (0,)


def test_bounds_may_be_a_list_or_a_tensor() -> None:
    draws = Draws(0, torch.arange(50))
    listed = draws.below("a", (5, 7000), shape=(2,))
    assert torch.equal(listed, draws.below("a", torch.tensor([5, 7000]), shape=(2,)))
    assert listed[:, 0].max() == 4
    assert listed[:, 1].max() > 5000


@pytest.mark.parametrize("kind", EVERY)
def test_numbers_are_laid_out_row_by_row(kind: str) -> None:
    assert EVERY[kind](Draws(0, torch.arange(9))).is_contiguous()


def test_some_of_the_rows_have_the_numbers_they_have_among_all() -> None:
    draws = Draws(3, torch.arange(50, 90), epoch=2).within("part")
    some = torch.tensor([7, 0, 31])
    assert len(draws[some]) == 3
    assert torch.equal(draws[some].uniform("u", shape=(2,)), draws.uniform("u", shape=(2,))[some])
    assert torch.equal(
        draws[some].within("of it").normal("n"), draws.within("of it").normal("n")[some]
    )
    assert draws[some].permutation("p").sort().values.tolist() == [0, 1, 2]
