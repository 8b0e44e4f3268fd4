from __future__ import annotations

import pytest

from vicinal.data.read import read_task


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_labels_with_leading_zeros_are_classes_of_their_own(tmp_path, mark):
    rows = ["a,y,b", "1,007,5", "2,07,6", "3, 7 ,8", "4,007,9"]
    (tmp_path / "a.csv").write_text("\n".join(rows).replace(",", mark))
    task = read_task(tmp_path / "a.csv")
    assert set(task.classes) == {"007", "07", "7"}
    assert [task.classes[label] for label in task.y] == ["007", "07", "7", "007"]
    assert task.columns == ("a", "b")


def test_all_files_are_read_alike(tmp_path):
    (tmp_path / "train.csv").write_text("a,y\n1,1\n2,2\n3,1\n4,01\n")
    (tmp_path / "test.tsv").write_text("y\ta\n2\t7\n01\t8\n")
    task = read_task(tmp_path)
    assert set(task.classes) == {"1", "01", "2"}
    assert [task.classes[label] for label in task.y] == ["1", "2", "1", "01", "2", "01"]


def test_codes_can_be_regressed_and_plain_numbers_stay_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n1,08\n2,10\n3,09\n")
    assert read_task(tmp_path / "a.csv", kind="regression").y.tolist() == [8, 10, 9]
    (tmp_path / "b.csv").write_text("a,y\n1,0\n2,10\n3,-1\n")
    task = read_task(tmp_path / "b.csv")
    assert task.classes == ("-1", "0", "10")
    assert any("it holds whole numbers" in note for note in task.notes)
