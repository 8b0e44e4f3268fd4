from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vicinal.data.class_incremental import ClassIncrementalStream, OneTask, ReplayMemory

LABELS = torch.arange(57) % 10
ROWS = torch.arange(57) * 3 + 1


@given(classes=st.integers(1, 12), tasks=st.integers(1, 8), size=st.integers(1, 9))
def test_every_row_arrives_once_and_no_class_comes_back(
    classes: int, tasks: int, size: int
) -> None:
    labels = torch.arange(40) % classes
    stream = ClassIncrementalStream(labels, tasks)
    assert len(stream) == min(tasks, classes)
    arrived = [torch.cat(list(stream.batches(task, size))) for task in range(len(stream))]
    assert torch.cat(arrived).sort().values.tolist() == list(range(40))
    assert all(
        len(batch) == size
        for task in range(len(stream))
        for batch in stream.batches(task, size)[:-1]
    )
    met: set[int] = set()
    for rows in arrived:
        new = set(labels[rows].tolist())
        assert not met & new
        met |= new


def test_ten_classes_in_five_tasks_come_in_pairs() -> None:
    stream = ClassIncrementalStream(LABELS, 5, rows=ROWS)
    assert [classes.tolist() for classes in stream.classes] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
    ]
    second = stream.rows_of(1)
    assert set(LABELS[(second - 1) // 3].tolist()) == {2, 3}


def test_the_order_is_that_of_the_seed_whatever_order_the_rows_are_given_in() -> None:
    shuffled = torch.randperm(57, generator=torch.Generator().manual_seed(0))
    first, again, other = (
        ClassIncrementalStream(labels, 5, rows=rows, seed=seed).rows_of(2)
        for labels, rows, seed in [
            (LABELS, ROWS, 0),
            (LABELS[shuffled], ROWS[shuffled], 0),
            (LABELS, ROWS, 1),
        ]
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, other.sort().values)
    assert not torch.equal(first, first.sort().values)


def test_a_sampler_of_one_task_gives_its_batches_in_every_epoch() -> None:
    stream = ClassIncrementalStream(LABELS, 5, rows=ROWS, seed=4)
    for epoch in range(2):
        found = OneTask(3, 5)(ROWS, 4, seed=4, epoch=epoch, labels=LABELS)
        wanted = stream.batches(3, 4)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_fewer_classes_than_tasks_follow_each_other() -> None:
    labels = LABELS % 3
    met = [
        labels[(OneTask(place, 5)(ROWS, 100, seed=0, epoch=0, labels=labels)[0] - 1) // 3].unique()
        for place in range(5)
    ]
    assert [classes.tolist() for classes in met] == [[0], [0], [1], [1], [2]]


def test_every_arrival_stays_with_the_same_chance() -> None:
    arrivals, capacity, runs = 60, 15, 800
    kept = torch.zeros(arrivals)
    for seed in range(runs):
        memory = ReplayMemory.empty(capacity, seed=seed)
        for batch in torch.arange(arrivals).split(7):
            memory = memory.after(batch)
        assert len(memory) == capacity
        assert len(memory.rows.unique()) == capacity
        kept[memory.rows] += 1
    expected = runs * capacity / arrivals
    # Each count is binomial, of variance below the expectation's by the share that is kept.
    share = capacity / arrivals
    statistic = float(((kept - expected) ** 2).sum() / (expected * (1 - share)))
    assert stats.chi2.sf(statistic, arrivals - 1) > 1e-3
    assert kept.sum() == runs * capacity


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), capacity=st.integers(1, 12))
def test_the_memory_does_not_depend_on_how_arrivals_are_batched(
    sizes: list[int], capacity: int
) -> None:
    rows = torch.arange(sum(sizes)) * 2 + 5
    one_by_one = batched = ReplayMemory.empty(capacity, seed=3)
    for row in rows.split(1):
        one_by_one = one_by_one.after(row)
    for batch in rows.split(sizes):
        batched = batched.after(batch)
    assert torch.equal(one_by_one.rows, batched.rows)
    assert int(batched.seen) == len(rows)
    assert len(batched) == min(capacity, len(rows))


def test_nothing_is_drawn_twice_unless_too_much_is_asked_for() -> None:
    memory = ReplayMemory.empty(20).after(torch.arange(100, 112))
    drawn = memory.sample(5, step=0)
    assert len(drawn.unique()) == 5
    assert torch.isin(drawn, memory.rows).all()
    assert torch.equal(drawn, memory.sample(5, step=0))
    assert not torch.equal(drawn, memory.sample(5, step=1))
    many = memory.sample(30, step=0)
    assert len(many) == 30
    assert torch.isin(many, memory.rows).all()
    assert len(ReplayMemory.empty(4).sample(3, step=0)) == 0


def test_what_cannot_be_a_stream_or_a_memory_is_refused() -> None:
    with pytest.raises(TypeError, match="labels must be"):
        ClassIncrementalStream(torch.zeros(4), 2)
    with pytest.raises(ValueError, match="tasks must be at least 1, got 0"):
        ClassIncrementalStream(LABELS, 0)
    with pytest.raises(ValueError, match="57 labels, for 3 rows"):
        ClassIncrementalStream(LABELS, 2, rows=ROWS[:3])
    with pytest.raises(ValueError, match="needs the classes"):
        OneTask(0, 2)(ROWS, 4, seed=0, epoch=0, labels=None)
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        ReplayMemory.empty(0)
