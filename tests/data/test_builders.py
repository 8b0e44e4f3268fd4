from __future__ import annotations

import os
import socket

import datasets
import pandas as pd
import pytest

from vicinal.core.errors import InputError
from vicinal.data.builders import load_table, quiet


@pytest.fixture
def load(tmp_path):
    """Writes a file and loads it. Its name has what globbing would trip over."""
    cache = tmp_path / "cache"
    cache.mkdir()

    def write_and_load(content, ending):
        file = tmp_path / f"data [1] {{a}} *{ending}"
        if isinstance(content, pd.DataFrame):
            content.to_parquet(file)
        else:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_table(file, cache)

    return write_and_load


def test_every_ending_gives_the_same_rows(load):
    rows = {"a": [1, 2], "y": ["u", "v"]}
    assert load(pd.DataFrame(rows), ".parquet")[:] == rows
    assert load("a,y\n1,u\n2,v\n", ".csv")[:] == rows
    assert load("a\ty\n1\tu\n2\tv\n", ".tsv")[:] == rows
    assert load('{"a": 1, "y": "u"}\n{"a": 2, "y": "v"}\n', ".jsonl")[:] == rows
    assert load('[{"a": 1, "y": "u"}, {"a": 2, "y": "v"}]', ".json")[:] == rows


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_separators_are_seen_in_the_header(load, mark):
    assert load(f"a{mark}b\n1{mark}2\n", ".csv")[:] == {"a": [1], "b": [2]}
    assert load(f"\ufeffa{mark}b\n1{mark}2\n", ".csv")[:] == {"a": [1], "b": [2]}


def test_spaces_after_a_comma_and_windows_line_ends_belong_to_nothing(load):
    assert load('a, b c, y\r\n1, 2, "u, v"\r\n', ".csv")[:] == {"a": [1], "b c": [2], "y": ["u, v"]}


def test_a_float_after_many_integers_makes_the_column_float(load):
    values = [*range(20_000), 0.5]
    assert load("a\n" + "\n".join(map(str, values)), ".csv")["a"][-1] == 0.5
    lines = "\n".join(f'{{"a": {value}, "pad": "{"x" * 1000}"}}' for value in values)
    assert load(lines, ".jsonl")["a"][-1] == 0.5


def test_text_after_many_numbers_leaves_the_numbers_as_they_were_written(load):
    column = load("a,y\n" + "7.50,1\n" * 300_000 + "none,1\n", ".csv")["a"]
    assert (column[0], column[-1]) == ("7.50", "none")


@pytest.mark.parametrize(
    ("content", "ending", "message"),
    [
        ("", ".csv", "is an empty file"),
        ("a,b\n", ".csv", "has no rows"),
        ("\n", ".jsonl", "has no rows"),
        (pd.DataFrame({"a": []}), ".parquet", "has no rows"),
        (b"hello", ".parquet", "is not Parquet as its ending says"),
        (b"PAR1" + b"x" * 99, ".parquet", "cannot be read as Parquet"),
        (b"PAR1" + b"x" * 99, ".csv", "is Parquet, not CSV; rename or convert"),
        (b"PK\x03\x04xl/workbook", ".csv", "is a ZIP archive or a spreadsheet, not CSV"),
        (b"\x89PNG\r\n\x1a\n", ".jsonl", "is a PNG image, not JSON lines"),
        ("a,b\n1,é\n".encode("latin-1"), ".csv", r"cannot be read as CSV \(byte \d+ is not UTF-8"),
        ("a,b\n1,2\n3,4,5,6\n", ".csv", "Expected 2 fields in line 3, saw 4"),
        ("a,b\n1,2,9\n3,4,9\n", ".csv", "rows have more fields than the header"),
        ('{"a": 1}\n{"a": \n', ".jsonl", "cannot be read as JSON lines .*; mend or convert"),
        ("a,b\n1,2\n", ".jsonl", "cannot be read as JSON lines"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_in_one_line(load, content, ending, message):
    with pytest.raises(InputError, match=message) as error:
        load(content, ending)
    assert f"data [1] {{a}} *{ending}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_closed_file_is_refused(load, monkeypatch, tmp_path):
    def closed(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", closed)
    with pytest.raises(InputError, match=r"cannot be opened \(Permission denied\); check its perm"):
        load_table(tmp_path / "a.csv", tmp_path)


def test_a_full_disk_says_which_disk(load, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(datasets.DatasetBuilder, "download_and_prepare", full)
    with pytest.raises(InputError, match=r"no space left in the temporary folder.*TMPDIR"):
        load("a\n1\n", ".csv")


def test_loading_is_silent_offline_and_leaves_settings_alone(load, monkeypatch, capfd):
    def call(*arguments):
        raise AssertionError("a look-up in the network")

    monkeypatch.setattr(socket.socket, "connect", call)
    monkeypatch.setattr(socket, "getaddrinfo", call)
    before = datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()
    load("a,b\n1,2\n", ".csv")
    with pytest.raises(InputError):
        load("a,b\n1,2,3\n", ".csv")
    assert (datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()) == before
    assert capfd.readouterr() == ("", "")


def test_quiet_keeps_bars_off_where_they_were_off():
    datasets.disable_progress_bars()
    try:
        with quiet():
            assert not datasets.is_progress_bar_enabled()
        assert not datasets.is_progress_bar_enabled()
    finally:
        datasets.enable_progress_bars()
    with quiet():
        assert not datasets.is_progress_bar_enabled()
    assert datasets.is_progress_bar_enabled()


def test_copies_go_to_the_folder_given_and_nowhere_else(load, tmp_path):
    home = datasets.config.HF_DATASETS_CACHE
    before = os.path.exists(home) and sorted(os.listdir(home))
    load("a\n1\n", ".csv")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "data [1] {a} *.csv"]
    assert (os.path.exists(home) and sorted(os.listdir(home))) == before
