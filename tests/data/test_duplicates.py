from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vicinal.data.duplicates import duplicate_notes, row_groups


@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 2)), elements=st.integers(0, 2)
    )
)
def test_two_rows_share_a_group_exactly_if_they_are_equal(values):
    x = torch.from_numpy(values)
    groups = row_groups(x)
    equal = (x[:, None] == x[None]).all(dim=2)
    assert torch.equal(groups[:, None] == groups[None], equal)
    assert groups[0] == 0
    assert sorted(set(groups.tolist())) == list(range(int(groups.max()) + 1))


def test_missing_values_equal_each_other_and_zeros_have_no_sign():
    odd = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)  # another NaN
    x = torch.tensor([[torch.nan, 0.0], [odd.item(), -0.0], [1.0, 0.0]])
    x[1, 0] = odd[0]
    assert row_groups(x).tolist() == [0, 0, 1]


def test_pixels_in_another_place_are_another_image():
    x = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    x[0, 0, 0, 1] = x[1, 0, 1, 0] = 9
    assert row_groups(x).tolist() == [0, 1]


def test_copies_within_and_across_parts_are_told_apart():
    groups = torch.tensor([0, 0, 1, 2, 1, 3])
    test = torch.tensor([False, False, False, False, True, True])
    notes = list(duplicate_notes(groups, torch.zeros(6, dtype=torch.int64), test))
    assert notes[0].startswith("exact copies among the training rows: 1;")
    assert notes[1].startswith("warning: exact copies of training rows in the test part: 1 of 2;")
    assert len(notes) == 2


def test_copies_with_different_labels_are_counted():
    groups = torch.tensor([0, 0, 1, 1, 2])
    notes = list(duplicate_notes(groups, torch.tensor([0, 1, 1, 1, 0]), None))
    assert notes[1] == "rows that are equal but have different labels: 2"


def test_data_without_copies_need_no_note():
    assert list(duplicate_notes(torch.arange(4), torch.zeros(4), None)) == []
