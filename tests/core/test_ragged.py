"""Rows of unequal lengths behave as the list of rows that they are."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.ragged import Ragged

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=8)


def made(lengths: list[int]) -> Ragged:
    return Ragged.of(
        [
            torch.full((n, 2), float(i)) + torch.arange(n)[:, None] / 10
            for i, n in enumerate(lengths)
        ]
    )


@given(lengths=LENGTHS, data=st.data())
def test_picking_rows_is_picking_from_the_list(lengths: list[int], data: st.DataObject) -> None:
    ragged, rows = made(lengths), made(lengths).rows()
    picked = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=9))
    found = ragged[torch.tensor(picked)]
    assert len(found) == len(picked)
    assert all(map(torch.equal, found.rows(), [rows[at] for at in picked]))
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    kept = [row for row, wanted in zip(rows, mask.tolist(), strict=True) if wanted]
    assert all(map(torch.equal, ragged[mask].rows(), kept))
    assert len(ragged[mask]) == len(kept)
    assert all(map(torch.equal, ragged[1:3].rows(), rows[1:3]))


@given(lengths=LENGTHS)
def test_every_element_knows_its_row(lengths: list[int]) -> None:
    ragged = made(lengths)
    assert ragged.lengths.tolist() == lengths
    assert torch.equal(ragged.row, ragged.values[:, 0].floor().long())


@given(lengths=LENGTHS, data=st.data())
def test_selecting_elements_keeps_them_in_their_rows(
    lengths: list[int], data: st.DataObject
) -> None:
    ragged = made(lengths)
    total = sum(lengths)
    kept = torch.tensor(data.draw(st.lists(st.booleans(), min_size=total, max_size=total))).bool()
    found = ragged.select(kept)
    parts = torch.split(kept, lengths)
    wanted = [row[part] for row, part in zip(ragged.rows(), parts, strict=True)]
    assert all(map(torch.equal, found.rows(), wanted))
    assert len(found) == len(lengths)


def test_consecutive_rows_are_joined() -> None:
    ragged = made([2, 0, 3, 1])
    joined = ragged.joined(torch.tensor([3, 1]))
    assert joined.lengths.tolist() == [5, 1]
    assert torch.equal(joined.values, ragged.values)


def test_parts_are_concatenated_and_pickled() -> None:
    ragged = made([2, 0, 3, 1])
    again = Ragged.concatenate([ragged[:1], ragged[1:]])
    assert again.equal(ragged)
    assert pickle.loads(pickle.dumps(ragged)).equal(ragged)
    assert not ragged[:2].equal(ragged[:1])
    assert not ragged.to(torch.float64).equal(ragged)


def test_offsets_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"offsets must be \(B \+ 1,\) int64"):
        Ragged(torch.zeros(3), torch.tensor([0.0, 3.0]))
