"""Masks of boxes are what a look at every place says."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.boxes import box_mask, inside_boxes, nearest_places, need_boxes_inside

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


@pytest.mark.parametrize(
    ("start", "stop"), [([0, -1], [2, 3]), ([0, 0], [5, 3]), ([3, 0], [2, 3])], ids=str
)
def test_boxes_that_hang_over_the_border_or_end_before_they_begin_are_refused(
    start: list[int], stop: list[int]
) -> None:
    whole = torch.tensor([[0, 0], [4, 3]])
    need_boxes_inside(whole[:1], whole[1:], (4, 3))
    need_boxes_inside(whole[1:], whole[1:], (4, 3))  # an empty one
    first, end = torch.tensor([[1, 1], start]), torch.tensor([[2, 2], stop])
    message = rf"the box of row 1, from \[{start[0]}, {start[1]}\] to .* of size \[4, 3\]"
    with pytest.raises(ValueError, match=message):
        need_boxes_inside(first, end, (4, 3))


@given(size=st.integers(1, 40), source=st.integers(1, 40), begin=st.integers(-3, 3))
def test_nearest_places_are_those_of_interpolate(size: int, source: int, begin: int) -> None:
    step = torch.arange(size)[None] + begin
    place = nearest_places(step, torch.tensor([[size]]), torch.tensor([[source]]))[0]
    shown = torch.arange(float(source))[None, None]
    expected = torch.nn.functional.interpolate(shown, size, mode="nearest")[0, 0]
    inside = (step[0] >= 0) & (step[0] < size)
    assert torch.equal(place[inside].float(), expected[step[0][inside]])
    assert int(place.min()) >= 0
    assert int(place.max()) < source


def test_compiled_boxes_are_refused_by_the_device() -> None:
    refuse = torch.compile(need_boxes_inside, fullgraph=True, backend="eager")
    corner = torch.zeros(2, 2, dtype=torch.int64)
    refuse(corner, corner + 3, (4, 3))
    with pytest.raises(RuntimeError, match="a box is not in its sample"):
        refuse(corner, corner + 4, (4, 3))


def test_boxes_of_another_number_of_axes_are_refused() -> None:
    corner = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="boxes have 3 axes, and the sample 2"):
        need_boxes_inside(corner, corner, (4, 3))
