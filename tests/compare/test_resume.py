"""A run that is killed or interrupted goes on where it was, and ends with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vicinal.compare.store import FILE_NAME

COMMAND = [sys.executable, "-m", "vicinal"]
WINE = ["compare", "wine", "--methods", "none,mixup", "--seeds", "3", "--threads", "1"]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    # A group of its own, so that an interrupt reaches it as from a terminal and not the tests.
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def trials(folder: Path) -> dict[str, dict[str, Any]]:
    """The records in the store, by key, without what depends on the clock."""
    file = folder / FILE_NAME
    if not file.exists():
        return {}
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        rows = connection.execute("select key, record from trials").fetchall()
    except sqlite3.OperationalError:  # the tables are not there yet
        return {}
    finally:
        connection.close()
    records = {key: json.loads(record) for key, record in rows}
    for record in records.values():
        for clock in ("seconds", "wall_seconds", "finished"):
            del record[clock]
    return records


def wait_for_trials(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(trials(folder)) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no trial was finished in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The trials of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    result = run(*WINE, "--epochs", "40", folder=folder)
    assert result.returncode == 0, result.stderr + result.stdout
    assert (folder / "runs" / "wine" / "report.html").is_file()
    return trials(folder / "runs" / "wine")


@pytest.mark.slow
def test_two_runs_and_two_workers_give_the_same_numbers(
    whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    result = run(*WINE, "--epochs", "40", "--workers", "2", "--out", "here", folder=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    assert trials(tmp_path / "here") == whole


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_killed_in_the_middle_it_redoes_only_what_had_not_finished(
    whole: dict[str, dict[str, Any]], tmp_path: Path, workers: str
) -> None:
    arguments = [*WINE, "--epochs", "40", "--out", "here", "--workers", workers]
    process = start(*arguments, folder=tmp_path)
    wait_for_trials(process, tmp_path / "here", 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = trials(tmp_path / "here")
    connection = sqlite3.connect(tmp_path / "here" / FILE_NAME)
    stamps = dict(connection.execute("select key, finished || record from trials").fetchall())
    connection.close()
    assert 0 < len(before) < len(whole)

    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    assert trials(tmp_path / "here") == whole
    connection = sqlite3.connect(tmp_path / "here" / FILE_NAME)
    after = dict(connection.execute("select key, finished || record from trials").fetchall())
    connection.close()
    assert {key: after[key] for key in stamps} == stamps  # untouched, to the second and the timing


@pytest.mark.slow
def test_interrupted_it_tells_what_is_known_and_goes_on_later(
    whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    arguments = [*WINE, "--epochs", "40", "--out", "here"]
    process = start(*arguments, folder=tmp_path)
    wait_for_trials(process, tmp_path / "here", 2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted:" in output
    assert "of 6 trials are kept" in output
    assert "Traceback" not in output
    assert (tmp_path / "here" / "report.html").is_file()

    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    assert trials(tmp_path / "here") == whole
