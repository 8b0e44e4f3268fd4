"""Masks of boxes are what a look at every place says."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.boxes import box_mask, inside_boxes

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@given(sizes=SIZES, data=st.data())
def test_every_place_is_inside_or_not(sizes: list[int], data: st.DataObject) -> None:
    corner = st.tuples(*(st.integers(0, size) for size in sizes)).map(list)
    start = torch.tensor(data.draw(st.lists(corner, min_size=1, max_size=4)))
    stop = torch.tensor(data.draw(st.lists(corner, min_size=len(start), max_size=len(start))))
    mask = box_mask(start, stop, sizes)
    assert mask.shape == (len(start), *sizes)
    for row, low, high in zip(mask, start.tolist(), stop.tolist(), strict=True):
        for place in itertools.product(*map(range, sizes)):
            inside = all(a <= at < b for a, at, b in zip(low, place, high, strict=True))
            assert bool(row[place]) == inside


def test_single_places_are_those_of_the_mask() -> None:
    start, stop = torch.tensor([[1, 0], [2, 3]]), torch.tensor([[4, 2], [6, 5]])
    rows, columns = torch.tensor([5, 2]), torch.tensor([4, 0, 1])
    found = inside_boxes(start, stop, [rows, columns])
    assert torch.equal(found, box_mask(start, stop, (6, 5))[:, rows][:, :, columns])


def test_boxes_may_be_empty_or_all() -> None:
    start, stop = torch.tensor([[1, 1], [0, 0]]), torch.tensor([[1, 4], [3, 4]])
    nothing, everything = box_mask(start, stop, (3, 4))
    assert not nothing.any()
    assert everything.all()


def test_a_box_without_an_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one axis"):
        box_mask(torch.zeros(2, 0), torch.zeros(2, 0), ())


def test_no_boxes_make_no_masks() -> None:
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert box_mask(none, none, (4, 5)).shape == (0, 4, 5)
