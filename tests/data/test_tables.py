from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch

from vicinal.core.errors import InputError
from vicinal.data.read import read_task

NAN = float("nan")


@pytest.fixture
def table(tmp_path):
    """Writes a table in the format of the ending and gives its path."""

    def write(rows, name="data.csv"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        frame = pd.DataFrame(rows)
        if file.suffix == ".parquet":
            frame.to_parquet(file)
        elif file.suffix == ".jsonl":
            frame.to_json(file, orient="records", lines=True)
        else:
            frame.to_csv(file, index=False)
        return file

    return write


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_numeric_columns_and_a_target(table, ending):
    rows = {"a": [1, 2, 3, 4], "b": [0.5, None, 2.5, 1e-3], "on": [True, False, True, True]}
    task = read_task(table(rows | {"label": list("uvuv")}, f"flowers.{ending}"))
    assert (task.name, task.modality, task.kind) == ("flowers", "tabular", "classification")
    assert task.columns == ("a", "b", "on")
    expected = torch.tensor([[1, 0.5, 1], [2, NAN, 0], [3, 2.5, 1], [4, 1e-3, 1]])
    torch.testing.assert_close(task.x, expected, equal_nan=True, rtol=0, atol=0)
    assert task.x.dtype == torch.float32
    assert (task.classes, task.y.tolist()) == (("u", "v"), [0, 1, 0, 1])
    assert task.test_rows is None
    assert "missing values, filled with the training mean: 1 in b" in task.notes
    assert "classification of column label: it holds text" in task.notes


def test_the_format_of_the_file_does_not_change_the_fingerprint(table):
    rows = {"a": [1, 2, 3], "b": [0.5, None, 2.5], "y": ["u", "v", "u"]}
    names = ("one.csv", "two.parquet", "three.jsonl")
    assert len({read_task(table(rows, name)).fingerprint for name in names}) == 1


def test_regression_is_read_as_floats(table):
    task = read_task(table({"a": [1, 2, 3], "price": [1.5, 2.5, 9.0]}), target="price")
    assert (task.kind, task.classes, task.outputs) == ("regression", (), 1)
    assert (task.y.dtype, task.y.tolist()) == (torch.float32, [1.5, 2.5, 9.0])
    few = table({"a": [1, 2, 3, 4], "y": [3, 5, 3, 5]})
    assert read_task(few).kind == "classification"
    assert read_task(few, kind="regression").y.tolist() == [3, 5, 3, 5]


def test_train_and_test_files(table):
    table({"a": [1, 2, 3], "b": [4, 5, 6], "y": list("uvu")}, "set/train.csv")
    # Columns are joined by name, and a type may differ between files.
    test = table({"y": list("vw"), "b": [7.5, 8.5], "a": [9, 10], "id": [0, 1]}, "set/test.csv")
    task = read_task(test.parent)
    assert task.name == "set"
    assert task.x.tolist() == [[1, 4], [2, 5], [3, 6], [9, 7.5]]
    assert task.test_rows.tolist() == [3]
    assert "dropped 1 test row of 1 class that only the test part has: w" in task.notes
    assert "ignored 1 column only in test.csv: id" in task.notes


def test_columns_are_chosen_and_dropped(table):
    file = table({"a": [1, 2], "b": [3, 4], "c": ["x", "z"], "y": [0, 1]})
    assert read_task(file, columns=["b"]).columns == ("b",)
    assert read_task(file, columns=["b", "a"]).x.tolist() == [[3, 1], [4, 2]]
    assert read_task(file, drop=["c", "a"]).columns == ("b",)
    assert read_task(file, columns=["a", "b"], drop=["a"]).columns == ("b",)


def test_row_numbers_that_pandas_wrote_are_no_feature(tmp_path):
    frame = pd.DataFrame({"a": [5, 6, 9], "y": [0, 1, 1]})
    frame.to_csv(tmp_path / "index.csv")
    frame.set_index(pd.Index([4, 7, 9])).to_parquet(tmp_path / "index.parquet")
    for name in ("index.csv", "index.parquet"):
        task = read_task(tmp_path / name)
        assert task.columns == ("a",)
        assert any(note.startswith("ignored the row numbers in column") for note in task.notes)


@pytest.mark.parametrize("values", [[5.1, 4.9, 6.2], [2, 0, 1], [3, 4, 5], [0, 1, 1]])
def test_a_column_without_a_name_that_is_no_count_is_a_feature(tmp_path, values):
    rows = zip(values, [7, 8, 8], "uvu", strict=True)
    lines = [",a,y", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    task = read_task(tmp_path / "a.csv")
    assert task.columns == ("Unnamed: 0", "a")
    assert task.x[:, 0].tolist() == pytest.approx(values)
    assert "column 'Unnamed: 0' has no name in the file, and is used as it is no count" in (
        task.notes
    )
    assert read_task(tmp_path / "a.csv", drop=["Unnamed: 0"]).columns == ("a",)


@pytest.mark.parametrize("test_numbers", [[0, 1], [1, 2], [3, 4]])
def test_row_numbers_begin_anew_in_the_test_file_or_go_on(table, test_numbers):
    # The second file may count from 1 only if the first does.
    first = [1, 2, 3] if test_numbers == [1, 2] else [0, 1, 2]
    table({"": first, "a": [4, 5, 6], "y": list("uvu")}, "set/train.csv")
    test = table({"": test_numbers, "a": [7, 8], "y": list("uv")}, "set/test.csv")
    assert read_task(test.parent).columns == ("a",)


def test_a_column_that_counts_the_rows_is_pointed_out(table):
    task = read_task(table({"id": [7, 8, 9, 10], "a": [3, 1, 2, 5], "y": [0, 1, 0, 1]}))
    assert "column id counts the rows; if it says no more, use --drop id" in task.notes
    assert not any("column a" in note for note in task.notes)


def test_columns_without_a_value_are_left_out(table):
    task = read_task(table({"a": [1, 2], "b": [None, None], "y": [0, 1]}))
    assert task.columns == ("a",)
    assert "ignored 1 column without values: b" in task.notes


def test_numbers_written_as_text_are_read_with_a_note(table):
    task = read_task(table({"a": ["1", "2.5"], "y": [0, 1]}, "a.parquet"))
    assert task.x.tolist() == [[1], [2.5]]
    assert "column a holds numbers as text, which are read as numbers" in task.notes


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"a": [1, 2], "b": [3, 4]}, {}, "which column is to be predicted.*columns: a, b"),
        ({"a": [1, 2], "y": [3, 4]}, {"target": "why"}, "no column 'why' to predict; "),
        ({"a": [1, 2], "y": [3, 4]}, {"drop": ["aa"]}, "no column 'aa' for --drop; did you mean a"),
        ({"a": [1, 2], "y": [3, 4]}, {"columns": ["z"]}, "no column 'z' for --columns"),
        (
            {"a": [1, 2], "y": [0, 1]},
            {"columns": ["y"]},
            "y is to be predicted and cannot be an inp",
        ),
        ({"a": [1, 2], "y": [0, 1]}, {"drop": ["a"]}, "no column is left to predict from"),
        ({"a": [1, 2], "y": [0, 1]}, {"kind": "cluster"}, "unknown kind 'cluster'"),
        ({"a": [1, 2, 3], "y": [0.5, NAN, 1]}, {}, r"y is missing or NaN in 1 row \(row 2\)"),
        ({"a": [1, 2, 3], "y": [0.5, 2, np.inf]}, {}, r"y is infinite in 1 row \(row 3\)"),
        ({"a": [1, np.inf], "y": [0, 1]}, {}, r"column a is infinite in 1 row \(row 2\).*--drop a"),
        ({"a": [1e39, 1], "y": [0, 1]}, {}, r"infinite or beyond 3.4e38 in 1 row \(row 1\)"),
        ({"a": [1, 2], "y": ["u", "u"]}, {}, r"one class \(u\)"),
        (
            {"cut": ["1", "fine"], "b": [1, 2], "clear": ["x", "z"], "y": [0, 1]},
            {},
            r"column cut holds text \('fine' in row 2\) where numbers are due \(so do clear\); "
            r"encode as numbers, or leave out with --drop cut,clear",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(table, rows, options, message):
    file = table(rows)
    with pytest.raises(InputError, match=message) as error:
        read_task(file, **options)
    assert "\n" not in str(error.value)
    if "kind" not in options:
        assert str(file) in str(error.value)


def test_lists_are_refused_by_their_type(table):
    with pytest.raises(InputError, match=r"column a is of type List.* where numbers are due"):
        read_task(table({"a": [[1, 2], [3, 4]], "y": [0, 1]}, "a.parquet"))


def test_a_line_of_numbers_is_no_header(tmp_path):
    (tmp_path / "a.csv").write_text("5.1,3.5,0\n4.9,3.0,1\n")
    with pytest.raises(
        InputError, match=r"first line holds numbers \(5.1, 3.5, 0\), not the names"
    ):
        read_task(tmp_path / "a.csv", target="0")
    (tmp_path / "a.csv").write_text("0,1,2\n4.9,3.0,1\n5.9,3.5,0\n")
    assert read_task(tmp_path / "a.csv", target="2").columns == ("0", "1")


def test_a_test_file_without_the_target_is_refused(table):
    table({"a": [1, 2, 3], "y": list("uvu")}, "set/train.csv")
    file = table({"a": [9, 10]}, "set/test.csv")
    with pytest.raises(
        InputError, match=r"test.csv: lacks 1 column that train.csv has \(y\); give"
    ):
        read_task(file.parent)


def as_stored(kind, contents, folder):
    """The same images in each of the ways in which tables hold them."""
    if kind == "struct":
        return [{"bytes": content, "path": "somewhere.png"} for content in contents]
    if kind == "bytes":
        return contents
    (folder / "pixels").mkdir(exist_ok=True)
    for number, content in enumerate(contents):
        (folder / "pixels" / f"{number}.png").write_bytes(content)
    return [f"pixels/{number}.png" for number in range(len(contents))]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("struct", "a.parquet"),
        ("bytes", "a.parquet"),
        ("path", "a.parquet"),
        ("path", "a.csv"),
        ("path", "a.jsonl"),
    ],
)
def test_a_column_of_images(table, tmp_path, kind, name, picture, encoded):
    pictures = [picture(seed) for seed in range(4)]
    images = as_stored(kind, [encoded(image) for image in pictures], tmp_path)
    file = table({"photo": images, "label": [5, 7, 5, 7], "taken": list("abcd")}, name)
    task = read_task(file)
    assert (task.modality, task.columns, task.classes) == ("image", (), ("5", "7"))
    expected = torch.from_numpy(np.stack([np.asarray(image) for image in pictures]))
    assert torch.equal(task.x, expected.permute(0, 3, 1, 2))
    assert "ignored 1 column beside the images: taken" in task.notes


def test_a_broken_image_in_a_table_is_named_by_its_row(table, picture, encoded):
    contents = [encoded(picture(seed)) for seed in range(4)]
    contents[2] = contents[2][:100]
    task = read_task(table({"image": contents, "label": list("uvuv")}, "a.parquet"))
    assert len(task) == 3
    assert any(note.startswith("skipped 1 unreadable image: row 3 (") for note in task.notes)


def test_two_image_columns_need_a_word(table, encoded, picture):
    contents = [encoded(picture(seed)) for seed in range(2)]
    file = table({"left": contents, "right": contents, "label": ["u", "v"]}, "a.parquet")
    with pytest.raises(InputError, match=r"several columns hold images \(left, right\); name one"):
        read_task(file)
    assert read_task(file, columns=["right"]).modality == "image"


def test_addresses_are_not_looked_up(table, encoded, picture):
    rows = {"image": ["http://127.0.0.1/a.png", "http://127.0.0.1/b.png"], "label": ["u", "v"]}
    with pytest.raises(InputError, match="none of 2 images can be decoded"):
        read_task(table(rows))


@pytest.mark.slow
def test_the_whole_of_cifar10(shared_data):
    task = read_task(shared_data / "cifar10")
    assert task.x.shape == (60_000, 3, 32, 32)
    assert task.y.bincount().tolist() == [6000] * 10
    assert len(task.test_rows) == 10_000
    from PIL import Image

    content = pd.read_parquet(shared_data / "cifar10" / "test.parquet")["image"][123]["bytes"]
    expected = np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1)
    np.testing.assert_array_equal(task.x[task.test_rows[123]], expected)


def test_questions_are_refused_as_text(shared_data):
    with pytest.raises(InputError, match=r"column text holds text \('How did serfdom"):
        read_task(shared_data / "text" / "trec")
