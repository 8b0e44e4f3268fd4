from __future__ import annotations

import os

import pytest

from vicinal.core.errors import InputError
from vicinal.data.layout import ImageFiles, TableFiles, find


def summary(files):
    """Class, part and relative path of every image."""
    assert isinstance(files, ImageFiles)
    return [
        (name, "test" if test else "train", file.relative_to(files.root).as_posix())
        for file, name, test in zip(files.files, files.classes, files.in_test, strict=True)
    ]


def test_a_folder_for_each_class(folder):
    root = folder({"dogs/b.png": "", "cats/a.JPEG": "", "cats/deep/c.png": ""})
    files = find(root)
    assert summary(files) == [
        ("cats", "train", "cats/a.JPEG"),
        ("cats", "train", "cats/deep/c.png"),
        ("dogs", "train", "dogs/b.png"),
    ]
    assert files.notes == ("the classes are the outer folders; some have folders inside: cats",)


def test_train_and_test_folders(folder):
    root = folder({"Train/cats/a.png": "", "train_notes.txt": "", "test/cats/b.png": ""})
    assert summary(find(root)) == [
        ("cats", "train", "Train/cats/a.png"),
        ("cats", "test", "test/cats/b.png"),
    ]
    assert find(root).notes == ("ignored 1 file that is no images (1 .txt)",)


def test_validation_is_the_test_part_if_there_is_no_other(folder):
    root = folder({"train/a/1.png": "", "val/a/2.png": ""})
    assert [part for _, part, _ in summary(find(root))] == ["train", "test"]
    assert find(root).notes == ("val serves as the test part",)


def test_validation_joins_the_training_part_beside_a_test_part(folder):
    root = folder({"train/a/1.png": "", "validation/a/2.png": "", "test/a/3.png": ""})
    assert [part for _, part, _ in summary(find(root))] == ["train", "train", "test"]
    assert find(root).notes == ("validation joins the training part, since there is a test part",)


def test_train_may_be_a_class_among_vehicles(folder):
    root = folder({"train/1.png": "", "car/2.png": "", "bus/3.png": ""})
    assert {name for name, _, _ in summary(find(root))} == {"train", "car", "bus"}


def test_what_is_passed_over_is_counted(folder):
    root = folder(
        {
            "cats/a.png": "",
            "cats/.hidden.png": "",
            "cats/readme.txt": "",
            "cats/film.mp4": "",
            "cats/noending": "",
            ".DS_Store": "",
            "__MACOSX/cats/._a.png": "",
            "stray.png": "",
            "dogs/b.png": "",
            "empty/c.txt": "",
        }
    )
    files = find(root)
    assert len(files.files) == 2
    assert files.notes == (
        "ignored 1 folder without images: empty",
        "ignored 3 hidden entries",
        "ignored 1 image outside the class folders",
        "ignored 4 files that are no images (2 .txt, 1 .mp4, 1 without ending)",
    )


def test_wrappings_are_opened(folder):
    root = folder({"photos/cats/a.png": "", "photos/dogs/b.png": "", "LICENSE": ""})
    assert len(summary(find(root))) == 2
    assert find(root).notes[0] == "read the only folder inside: photos"
    tables = find(
        folder({"../hub/README.md": "", "../hub/data/train-0-of-1.parquet": ""}) / "../hub"
    )
    assert [file.name for file in tables.train] == ["train-0-of-1.parquet"]


def test_links_to_folders_are_followed_but_not_in_circles(folder, tmp_path):
    root = folder({"cats/a.png": ""})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").touch()
    os.symlink(tmp_path / "elsewhere", root / "dogs")
    os.symlink(root / "cats", root / "cats" / "round")
    assert [path for _, _, path in summary(find(root))] == ["cats/a.png", "dogs/b.png"]


def test_a_table_by_itself_and_tables_by_part(folder):
    root = folder({"all.csv": "", "notes.txt": ""})
    assert find(root / "all.csv") == TableFiles(root, (root / "all.csv",))
    assert find(root).train == (root / "all.csv",)
    root = folder({"train-1.csv": "", "train-0.csv": "", "test.csv": "", "val.csv": ""})
    files = find(root)
    assert [file.name for file in files.train] == ["train-0.csv", "train-1.csv", "val.csv"]
    assert [file.name for file in files.test] == ["test.csv"]
    assert files.notes[0] == "ignored 1 table beside train and test: all.csv"


def test_class_folders_win_over_a_table_beside_them(folder):
    root = folder({"cats/a.png": "", "dogs/b.png": "", "labels.csv": ""})
    assert isinstance(find(root), ImageFiles)
    root = folder({"../listed/images/a.png": "", "../listed/labels.csv": ""}) / "../listed"
    assert isinstance(find(root), TableFiles)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({".keep": ""}, "is an empty folder; give a folder with images or tables"),
        ({"a/b.txt": "", "c.pdf": ""}, r"holds no images \(1 .pdf, 1 .txt\); give a folder with"),
        ({"a/": None}, "is an empty folder"),
        ({"1.png": "", "2.png": ""}, "has 2 images but no folder for each class; sort them"),
        ({"a.csv": "", "b.csv": ""}, "which table is to be read\\? give one of a.csv, b.csv"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(folder, files, message):
    root = folder({name: content for name, content in files.items() if content is not None})
    with pytest.raises(InputError, match=message) as error:
        find(root)
    assert str(root) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_of_other_kinds_are_refused(folder):
    root = folder({"a.png": "", "a.xlsx": ""})
    with pytest.raises(InputError, match="single image; give the folder"):
        find(root / "a.png")
    with pytest.raises(
        InputError, match=r"ending '.xlsx' are not read; give one of .parquet, .csv"
    ):
        find(root / "a.xlsx")


def test_an_entry_that_may_not_be_looked_at_is_named(folder, monkeypatch):
    root = folder({"cats/a.png": "", "dogs/b.png": ""})
    is_dir = type(root).is_dir

    def closed(path):
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(type(root), "is_dir", closed)
    with pytest.raises(
        InputError, match=r"dogs.b.png: cannot be read \(Permission denied\); check"
    ):
        find(root)


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    root = folder({"cats/a.png": "", "dogs/b.png": ""})
    listing = type(root).iterdir

    def closed(path):
        if path.name == "dogs":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(type(root), "iterdir", closed)
    with pytest.raises(InputError, match=r"dogs: cannot be read \(Permission denied\)"):
        find(root)
