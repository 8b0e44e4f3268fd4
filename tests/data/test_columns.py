from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from vicinal.data.columns import Source, read_column


def table(values, feature=None):
    features = None if feature is None else datasets.Features({"c": feature})
    return datasets.Dataset.from_dict({"c": values}, features=features)


@pytest.mark.parametrize(
    ("values", "form", "numbers"),
    [
        ([True, None, False], "bool", [1, np.nan, 0]),
        ([3, None, -1], "integer", [3, np.nan, -1]),
        ([0.5, None, np.nan], "float", [0.5, np.nan, np.nan]),
        ([None, None], "integer", [np.nan, np.nan]),
    ],
)
def test_numbers_of_every_form_have_nan_where_missing(values, form, numbers):
    column = read_column([table(values)], "c")
    assert column.form == form
    np.testing.assert_array_equal(column.numbers, numbers)
    assert column.missing().tolist() == np.isnan(numbers).tolist()


def test_files_are_joined_under_the_form_that_holds_both():
    assert read_column([table([1]), table([0.5])], "c").numbers.tolist() == [1, 0.5]
    assert read_column([table([True]), table([2])], "c").form == "integer"
    assert read_column([table([None]), table([True])], "c").form == "bool"
    mixed = read_column([table([1, None]), table(["one"])], "c")
    assert mixed.texts.tolist() == ["1", None, "one"]


def test_class_indices_become_their_names_and_unknown_ones_missing():
    labels = datasets.ClassLabel(names=["zebra", "ape"])
    column = read_column([table([1, 0, None, -1], labels)], "c")
    assert column.texts.tolist() == ["ape", "zebra", None, None]
    assert column.order == ("zebra", "ape")
    assert column.missing().tolist() == [False, False, True, True]


def test_text_is_parsed_as_far_as_it_goes():
    values, wrong = read_column(
        [table(["1", " 2.5", "", None, "nan", "1e3", "?", "x"])], "c"
    ).parsed()
    assert wrong == 6
    np.testing.assert_array_equal(values[:6], [1, 2.5, np.nan, np.nan, np.nan, 1000])
    assert read_column([table(["1", "2"])], "c").parsed()[1] is None


def test_lists_are_of_no_use_and_keep_their_type_name():
    column = read_column([table([[1, 2]])], "c")
    assert (column.form, column.type_name) == ("other", "List(Value('int64'))")


def test_rows_are_counted_from_one_in_their_own_file():
    source = Source("data", (Path("train.csv"), Path("test.csv")), (3, 2))
    assert [source.row(row) for row in (0, 2, 3, 4)] == [
        "row 1 of train.csv",
        "row 3 of train.csv",
        "row 1 of test.csv",
        "row 2 of test.csv",
    ]
    alone = Source("data", (Path("data.csv"),), (20,))
    assert alone.rows(np.array([4])) == "1 row (row 5)"
    assert alone.rows(np.arange(7)) == "7 rows (row 1, row 2, row 3, row 4, row 5, ...)"
