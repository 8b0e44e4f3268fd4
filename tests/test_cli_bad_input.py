"""What cannot work is refused before anything is trained: one line, exit code 2, nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vicinal import cli
from vicinal.compare import comparison
from vicinal.compare.store import FILE_NAME, Store


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty folder, where training fails the test."""

    def trained(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(comparison, "execute", trained)
    monkeypatch.chdir(tmp_path)


def refused(arguments: Sequence[str]) -> str:
    """The line that a command is refused with."""
    result = CliRunner().invoke(cli.app, list(arguments))
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in result.output
    return lines[0]


def table(text: str, name: str = "data.csv") -> str:
    Path(name).write_text(text)
    return name


def classes(counts: dict[str, int], folder: str = "photos") -> str:
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        (Path(folder) / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder) / name / f"{number}.png")
    return folder


def rows(count: int, *, column: Callable[[int], object], head: str = "a,label") -> str:
    return "\n".join([head, *(f"{column(row)},{'xy'[row % 2]}" for row in range(count))]) + "\n"


def test_a_path_that_does_not_exist() -> None:
    line = refused(["compare", "digit"])
    assert "digit" in line
    assert "digits" in line


def test_no_data_at_all() -> None:
    assert "no data" in refused(["compare"])


def test_an_empty_folder() -> None:
    Path("photos").mkdir()
    assert "photos" in refused(["compare", "photos"])


def test_one_class() -> None:
    assert "one class" in refused(["compare", classes({"cat": 6})]).lower()


def test_a_class_too_small_to_split() -> None:
    assert "dog" in refused(["compare", classes({"cat": 6, "dog": 1})])


def test_a_missing_target_column() -> None:
    data = table("size,kind\n1,x\n2,y\n")
    line = refused(["compare", data, "--target", "kinds"])
    assert "kinds" in line
    assert "kind" in line


@pytest.mark.parametrize("value", ["nan", "inf", ""])
def test_targets_that_are_no_numbers(value: str) -> None:
    text = "a,b\n" + "".join(f"{row},{row / 7 if row != 3 else value}\n" for row in range(20))
    line = refused(["compare", table(text), "--target", "b", "--kind", "regression"])
    assert "b" in line


def test_strings_where_numbers_are_due() -> None:
    data = table(rows(20, column=lambda row: "many" if row == 4 else row))
    line = refused(["compare", data])
    assert "many" in line
    assert "--drop" in line


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("mixip", ["mixip", "mixup"]),
        ("cutmix:alpah=1", ["alpah", "alpha"]),
        ("cutmix:alpha=-1", ["alpha", "(0, inf)", "-1"]),
        ("cutmix:alpha=nan", ["alpha", "(0, inf)"]),
        ("cutmix:alpha=much", ["alpha", "much"]),
        ("cutmix:alpha", ["name=value"]),
        ("mixup:scope=group", ["scope", "sample", "batch"]),
        ("none:alpha=1", ["none", "alpha"]),
        ("mixup,mixup", ["more than once"]),
        ("cutmix,cutmix:alpha=1", ["more than once"]),
        ("", ["--methods is empty"]),
        (" , ,", ["--methods is empty"]),
    ],
)
def test_methods_that_cannot_be(methods: str, words: list[str]) -> None:
    line = refused(["compare", "digits", "--methods", methods])
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs", "-3"], ["--epochs", "-3"]),
        (["--seeds", "0"], ["--seeds", "0"]),
        (["--folds", "1"], ["--folds", "1"]),
        (["--learning-rate", "-1"], ["--learning-rate"]),
        (["--model", "smal-resnet"], ["smal-resnet", "small-resnet"]),
        (["--model", "resnet1800"], ["resnet1800", "resnet18"]),
        (["--model", "absent.module:factory"], ["absent"]),
        (["--model", "mlp:depth=-1"], ["depth"]),
        (["--crop", "8"], ["--crop", "8 pixels"]),
        (["--holdout", "0.3", "--folds", "3"], ["--holdout", "--folds"]),
        (["--labels-per-class", "1000"], ["--labels-per-class 1000", "at most"]),
        (["--first-seed", "99999999999999999999"], ["--first-seed"]),
        (["--device", "cuda"], ["cuda"]),
        (["--precision", "8"], ["--precision", "32-true"]),
        (["--config", "absent.yaml"], ["absent.yaml"]),
        (["--store", "nonsense://x"], ["nonsense", "URL"]),
    ],
)
def test_flags_that_cannot_be(flags: list[str], words: list[str]) -> None:
    line = refused(["compare", "digits", *flags])
    assert all(word in line for word in words), line


@pytest.mark.parametrize("flags", [["--crop", "4"], ["--flip"]])
def test_flags_for_images_do_not_apply_to_tables(flags: list[str]) -> None:
    assert f"{flags[0]} does not apply to wine" in refused(["compare", "wine", *flags])


def test_numbers_have_no_labels_of_classes_to_hide() -> None:
    line = refused(["compare", "diabetes", "--labels-per-class", "5"])
    assert "--labels-per-class does not apply to diabetes" in line


def test_a_configuration_that_does_not_fit() -> None:
    Path("settings.yaml").write_text("epoch: 3\n")
    assert "epochs" in refused(["compare", "digits", "--config", "settings.yaml"])


def test_methods_of_which_none_fits_but_the_baseline_are_named() -> None:
    line = refused(["compare", "wine", "--methods", "cutmix"])
    assert "cutmix" in line


def test_a_store_of_a_later_version_is_left_as_it_is() -> None:
    Path("out").mkdir()
    Store("out").close()
    with sqlite3.connect(Path("out") / FILE_NAME) as connection:
        connection.execute("update facts set value = '99'")
    connection.close()
    before = (Path("out") / FILE_NAME).read_bytes()
    assert "later version" in refused(["compare", "wine", "--methods", "none", "--out", "out"])
    assert (Path("out") / FILE_NAME).read_bytes() == before


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1 << 20))
    assert "1 MB left" in refused(["compare", "wine", "--methods", "none", "--out", "out"])


def test_an_output_that_is_a_file() -> None:
    Path("out").write_text("precious")
    assert "--out out" in refused(["compare", "wine", "--methods", "none", "--out", "out"])
    assert Path("out").read_text() == "precious"


def test_a_read_only_output_folder() -> None:
    Path("out").mkdir()
    Path("out").chmod(stat.S_IRUSR | stat.S_IXUSR)
    # The superuser may write anywhere but here.
    out = "/proc/vicinal" if os.access("out", os.W_OK) else "out"
    assert f"--out {out}" in refused(["compare", "wine", "--methods", "none", "--out", out])


def test_a_report_of_what_is_not_there() -> None:
    assert "runs/absent" in refused(["report", "runs/absent"])
    Path("empty").mkdir()
    assert "holds no results" in refused(["report", "empty"])


@pytest.mark.parametrize(
    "flags", [["--kind", "mixr"], ["--family", "past"], ["--modality", "imag"], ["--format", "xml"]]
)
def test_a_catalogue_of_what_is_not_there(flags: list[str]) -> None:
    assert flags[1] in refused(["methods", *flags])
