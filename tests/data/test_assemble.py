from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vicinal.core.errors import InputError
from vicinal.data.assemble import Found, assemble
from vicinal.data.targets import Labels, class_labels


def found(names, in_test=None, read=None, **options):
    rows = len(names)
    x = np.arange(rows * 4, dtype=np.uint8).reshape(rows, 1, 2, 2).repeat(3, axis=1)
    return Found(
        name="pets",
        where="pets/",
        modality="image",
        x=x,
        labels=class_labels(names),
        in_test=np.array(in_test or [False] * rows),
        read=np.array(read or [True] * rows),
        **options,
    )


def test_classes_only_in_the_test_part_are_dropped_and_told():
    task = assemble(found("aabbccd", [False, True, False, True, True, True, False]))
    assert task.classes == ("a", "b", "d")
    assert task.y.tolist() == [0, 0, 1, 1, 2]
    assert task.x[:, 0, 0, 0].tolist() == [0, 4, 8, 12, 24]
    assert task.test_rows.tolist() == [1, 3]
    assert "dropped 2 test rows of 1 class that only the test part has: c" in task.notes
    assert "no test rows of 1 class: d" in task.notes


def test_unread_rows_are_dropped_and_the_rest_moves_up():
    task = assemble(found("aabb", read=[True, False, True, True]))
    assert task.x[:, 0, 0, 0].tolist() == [0, 8, 12]
    assert task.y.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (
            "aaa",
            {},
            r"pets/: one class \(a\) in the training part; a classifier needs at least two",
        ),
        ("aab", {"in_test": [False, False, True]}, r"one class \(a\)"),
        ("aab", {"read": [True, True, False]}, r"one class \(a\)"),
        ("ab", {"in_test": [True, True]}, "no class in the training part"),
    ],
)
def test_one_class_is_refused(names, options, message):
    with pytest.raises(InputError, match=message):
        assemble(found(names, **options))


def test_a_target_of_one_value_is_refused():
    labels = Labels("regression", np.ones(3, np.float32))
    with pytest.raises(InputError, match="the target has one value throughout"):
        assemble(replace(found("aab"), labels=labels))


@pytest.mark.parametrize(
    ("classes", "grey", "mirrors", "why"),
    [
        (["cat", "dog"], False, True, None),
        (["0", "10"], False, False, "the classes look like characters"),
        (["A", "b"], False, False, "the classes look like characters"),
        (["turn_left", "turn_right"], False, False, "classes are named after a side"),
        (["bright", "leftover"], False, True, None),
        (["cat", "dog"], True, False, "they are grey, and may be scans or characters"),
    ],
)
def test_only_colour_photographs_are_mirrored(classes, grey, mirrors, why):
    data = found(classes)
    task = assemble(replace(data, x=data.x[:, :1].copy()) if grey else data)
    assert task.mirrors is mirrors
    assert [note for note in task.notes if "mirrored" in note] == (
        [f"images are not mirrored: {why}"] if why else []
    )


def test_the_fingerprint_changes_with_what_decides_results_and_with_nothing_else():
    data = found("aabb", [False, True, False, True])
    base = assemble(data).fingerprint
    assert len(base) == 64
    assert assemble(replace(data, name="else", where="elsewhere", notes=("a",))).fingerprint == base
    pixels = data.x.copy()
    pixels[1, 2, 1, 1] ^= 1
    changes = [
        {"x": pixels},
        {"labels": class_labels("abbb")},
        {"labels": class_labels("aacc")},
        {"in_test": np.array([True, False, False, True])},
        {"in_test": np.zeros(4, dtype=bool)},
        {"mirrors": True},
        {"mirrors": False},
        {"labels": Labels("regression", np.array([0, 0, 1, 1], np.float32))},
    ]
    prints = [assemble(replace(data, **change)).fingerprint for change in changes]
    assert prints.count(base) == 1  # photographs are mirrored anyway
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_does_not_see_the_bits_of_missing_values():
    table = np.array([[1, np.nan], [2, 3], [4, 5], [6, 7]], np.float32)
    other = table.copy()
    other.view(np.int32)[0, 1] |= 1
    data = replace(found("aabb"), modality="tabular", columns=("a", "b"))
    assert not np.array_equal(table.view(np.int32), other.view(np.int32))
    prints = {assemble(replace(data, x=x)).fingerprint for x in (table, other)}
    assert len(prints) == 1
