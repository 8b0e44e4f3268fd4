from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.data.sampling import endless_batches, epoch_batches, known_labels, set_apart

seeds = st.integers(0, 2**31 - 1)
sizes = st.integers(1, 20)


@st.composite
def some_rows(draw: st.DrawFn) -> Tensor:
    """Rows of a dataset, in any order, each once."""
    return torch.tensor(
        draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True))
    )


@given(rows=some_rows(), size=sizes, seed=seeds, epoch=st.integers(0, 50))
def test_an_epoch_is_full_batches_of_rows_that_come_once(
    rows: Tensor, size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(rows, size, seed=seed, epoch=epoch)
    came = torch.cat(batches).tolist()
    assert len(set(came)) == len(came)
    assert set(came) <= set(rows.tolist())
    if len(rows) < size:
        assert [len(batch) for batch in batches] == [len(rows)]
    else:
        assert [len(batch) for batch in batches] == [size] * (len(rows) // size)


def test_no_row_is_left_out_for_good() -> None:
    rows = torch.arange(10)
    came = {
        int(row) for e in range(50) for row in torch.cat(epoch_batches(rows, 7, seed=0, epoch=e))
    }
    assert came == set(range(10))


@given(rows=some_rows(), size=sizes, seed=seeds, epoch=st.integers(0, 50))
def test_the_order_is_one_for_every_batch_size(
    rows: Tensor, size: int, seed: int, epoch: int
) -> None:
    (whole,) = epoch_batches(rows, len(rows), seed=seed, epoch=epoch)
    came = torch.cat(epoch_batches(rows, size, seed=seed, epoch=epoch))
    assert torch.equal(came, whole[: len(came)])


def test_seeds_and_epochs_give_different_orders() -> None:
    rows = torch.arange(30)
    orders = {
        tuple(torch.cat(epoch_batches(rows, 30, seed=seed, epoch=epoch)).tolist())
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(orders) == 25


def test_every_place_in_the_order_is_equally_likely_for_every_row() -> None:
    rows = torch.arange(4)
    places = torch.zeros(4, 4)
    for epoch in range(2000):
        (order,) = epoch_batches(rows, 4, seed=0, epoch=epoch)
        places[order, torch.arange(4)] += 1
    # Four standard deviations of a count of 2,000 at 1/4.
    assert ((places - 500).abs() < 4 * (2000 * 3 / 16) ** 0.5).all()


@given(rows=some_rows(), size=sizes, seed=seeds)
def test_batches_without_end_are_the_epochs_one_after_the_other(
    rows: Tensor, size: int, seed: int
) -> None:
    expected = [
        (epoch, batch.tolist())
        for epoch in range(3)
        for batch in epoch_batches(rows, size, seed=seed, epoch=epoch)
    ]
    came = islice(endless_batches(rows, size, seed=seed), len(expected))
    assert [(epoch, batch.tolist()) for epoch, batch in came] == expected


def test_the_order_does_not_touch_the_global_state() -> None:
    before = torch.get_rng_state()
    first = epoch_batches(torch.arange(30), 7, seed=0, epoch=0)
    torch.manual_seed(123)
    second = epoch_batches(torch.arange(30), 7, seed=0, epoch=0)
    torch.set_rng_state(before)
    epoch_batches(torch.arange(30), 7, seed=0, epoch=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.cat(first), torch.cat(second))


@given(rows=some_rows(), share=st.floats(0, 0.99), seed=seeds, kinds=st.integers(1, 5))
def test_every_class_gives_its_share(rows: Tensor, share: float, seed: int, kinds: int) -> None:
    labels = rows % kinds
    stays, taken = set_apart(rows, share, seed=seed, labels=labels)
    assert torch.cat([stays, taken]).sort().values.tolist() == sorted(rows.tolist())
    assert stays.tolist() == sorted(stays.tolist())
    assert taken.tolist() == sorted(taken.tolist())
    for label in range(kinds):
        count = int((labels == label).sum())
        assert int((taken % kinds == label).sum()) == min(round(count * share), count - 1) or (
            # Halves are rounded from float32; a class that is not there has none to keep.
            abs(count * share % 1 - 0.5) < 1e-5 or not count
        )
        assert not count or int((stays % kinds == label).sum()) >= 1


@given(rows=some_rows(), share=st.floats(0, 0.99), seed=seeds)
def test_without_classes_the_share_is_of_all_rows(rows: Tensor, share: float, seed: int) -> None:
    _, taken = set_apart(rows, share, seed=seed)
    assert abs(len(taken) - len(rows) * share) <= 0.5 + 1e-5 or len(taken) == len(rows) - 1


@given(seed=seeds, less=st.floats(0, 0.5), more=st.floats(0, 0.49))
def test_a_larger_share_takes_the_rows_of_a_smaller_one_and_more(
    seed: int, less: float, more: float
) -> None:
    rows = torch.arange(50)
    _, few = set_apart(rows, less, seed=seed, labels=rows % 3)
    _, many = set_apart(rows, less + more, seed=seed, labels=rows % 3)
    assert set(few.tolist()) <= set(many.tolist())


def test_another_seed_takes_other_rows() -> None:
    rows = torch.arange(40)
    taken = {tuple(set_apart(rows, 0.3, seed=seed)[1].tolist()) for seed in range(10)}
    assert len(taken) == 10


@pytest.mark.parametrize("labels", [None, torch.zeros(0, dtype=torch.int64)])
def test_no_rows_are_no_error(labels: Tensor | None) -> None:
    rows = torch.zeros(0, dtype=torch.int64)
    stays, taken = set_apart(rows, 0.5, seed=0, labels=labels)
    assert len(stays) == len(taken) == 0


@given(rows=some_rows(), kinds=st.integers(1, 5), per_class=st.integers(1, 20), seed=seeds)
def test_as_many_labels_of_each_class_are_known(
    rows: Tensor, kinds: int, per_class: int, seed: int
) -> None:
    known, hidden = known_labels(rows, per_class, seed=seed, labels=rows % kinds)
    assert torch.cat([known, hidden]).sort().values.tolist() == sorted(rows.tolist())
    assert known.tolist() == sorted(known.tolist())
    there = (rows % kinds).bincount(minlength=kinds)
    assert torch.equal((known % kinds).bincount(minlength=kinds), there.clamp(max=per_class))


def test_other_seeds_know_other_labels_and_more_labels_hold_the_fewer() -> None:
    rows = torch.arange(60)
    chosen = [known_labels(rows, 3, seed=seed, labels=rows % 4)[0] for seed in range(10)]
    assert len({tuple(known.tolist()) for known in chosen}) == 10
    more = known_labels(rows, 5, seed=0, labels=rows % 4)[0]
    assert set(chosen[0].tolist()) < set(more.tolist())
    assert torch.equal(known_labels(rows.flip(0), 3, seed=0, labels=rows.flip(0) % 4)[0], chosen[0])
