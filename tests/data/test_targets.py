from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vicinal.core.errors import InputError
from vicinal.data.columns import Column, Source
from vicinal.data.targets import check_kind, class_labels, find_target, read_target

SOURCE = Source("data.csv", (Path("data.csv"),), (10**6,))


def column(values, form=None):
    if isinstance(values[0], str):
        return Column("y", "text", texts=np.array(values, dtype=object))
    values = np.asarray(values)
    form = form or {"b": "bool", "i": "integer", "f": "float"}[values.dtype.kind]
    return Column("y", form, numbers=values.astype(float))


def read(values, kind=None, modality="tabular"):
    return read_target(column(values), kind, modality=modality, source=SOURCE)


@pytest.mark.parametrize(
    ("values", "kind", "modality"),
    [
        (["a", "b"], "classification", "tabular"),
        ([True, False], "classification", "tabular"),
        (range(20), "classification", "tabular"),
        (range(21), "regression", "tabular"),
        (range(1000), "classification", "image"),
        (range(1001), "regression", "image"),
        ([0.0, 1.0, 2.0], "classification", "tabular"),
        ([0.0, 0.5, 1.0], "regression", "tabular"),
    ],
)
def test_the_rule_of_kinds(values, kind, modality):
    values = list(values)
    labels = read(values, modality=modality)
    assert labels.kind == kind
    assert labels.note.startswith(f"{kind} of column y: it holds ")
    other = "regression" if kind == "classification" else "classification"
    if not isinstance(values[0], str):
        assert read(values, other, modality).kind == other
        assert read(values, other, modality).note == f"{other} of column y: as asked for"


def test_classes_are_sorted_and_numbered():
    labels = read(["b", "a", "b", "c"])
    assert labels.classes == ("a", "b", "c")
    assert labels.values.tolist() == [1, 0, 1, 2]
    assert labels.values.dtype == np.int64
    assert read([3, -1, 3]).classes == ("-1", "3")
    assert read([True, False, True]).classes == ("False", "True")
    assert read([0.5, 2.0, 0.5], "classification").classes == ("0.5", "2.0")


def test_numbered_names_sort_as_numbers():
    assert class_labels(["10", "9", "other", "1"]).classes == ("1", "9", "10", "other")


def test_a_declared_order_is_kept_and_unused_names_are_left_out():
    labels = class_labels(["x", "z"], order=("z", "y", "x"))
    assert labels.classes == ("z", "x")
    assert labels.values.tolist() == [1, 0]


def test_text_of_numbers_can_be_regressed():
    assert read(["1.5", "2"], "regression").values.tolist() == [1.5, 2]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (
            [1.0, np.nan, 2.5, np.nan],
            None,
            r"y is missing or NaN in 2 rows \(row 2, row 4\); fill in",
        ),
        ([1.0, np.inf, -np.inf], None, r"y is infinite in 2 rows \(row 2, row 3\); correct these"),
        (["a", None], None, r"y is missing or NaN in 1 row \(row 2\)"),
        (["1", "two"], "regression", "y holds 'two' in row 2, and regression needs numbers"),
        ([1.5, 1e300], None, r"y is too large for single precision in 1 row \(row 2\); rescale"),
    ],
)
def test_targets_that_cannot_be_used_are_refused(values, kind, message):
    with pytest.raises(InputError, match=message) as error:
        read(values, kind)
    assert str(error.value).startswith("data.csv: ")


def test_a_target_of_lists_is_refused():
    with pytest.raises(InputError, match="y is of type List; give a column of text or numbers"):
        read_target(Column("y", "other", type_name="List"), None, modality="tabular", source=SOURCE)


def test_the_target_is_found_by_its_usual_names():
    def find(columns, name=None, declared=()):
        return find_target(name, columns, declared=declared, where="data.csv")

    assert find(["a", "Label"]) == "Label"
    assert find(["a", "b"], declared=["b"]) == "b"
    assert find(["label", "y"], name="y") == "y"
    with pytest.raises(InputError, match="name it with --target; columns: label, y"):
        find(["label", "y"])
    with pytest.raises(InputError, match="no column 'prise' to predict; did you mean price"):
        find(["price", "size"], name="prise")
    with pytest.raises(InputError, match=r"columns: c0, .*, c29 and 70 more$"):
        find([f"c{number}" for number in range(100)])


def test_kinds_are_spelled_out():
    assert check_kind(None) is None
    assert check_kind("regression") == "regression"
    with pytest.raises(InputError, match="unknown kind 'classify' of task; did you mean classific"):
        check_kind("classify")
