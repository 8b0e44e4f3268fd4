"""The store keeps what it is given, and refuses what it cannot read."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from pathlib import Path

import pytest

from vicinal.compare.records import ReliabilityBin, RunRecord, Sample, TrialRecord
from vicinal.compare.store import FILE_NAME, Store
from vicinal.core.errors import InputError


def trial(key: str = "k", **fields: object) -> TrialRecord:
    record = TrialRecord(key=key, method="cutmix:alpha=0.5", seed=1, fold=2, state="done")
    return dataclasses.replace(record, **fields)


def run(name: str = "photos", created: str = "2026-01-01T00:00:00+00:00") -> RunRecord:
    return RunRecord(
        name=name,
        command="vicinal compare photos",
        created=created,
        task={"kind": "classification", "classes": ["a", "b"]},
        settings={"epochs": 3},
        reasons={"epochs": "so few images"},
        methods=["none", "mixup"],
        left_out={},
        environment={"torch": "2"},
    )


def test_a_trial_comes_back_as_it_went(tmp_path: Path) -> None:
    record = trial(
        metrics={"accuracy": 1 / 3},
        curves={"train loss": [0.1, 0.2]},
        reliability=[ReliabilityBin(0.0, 0.5, 3, 0.25, 1 / 3)],
        per_class={"naïve ß": 0.5},
        seconds=0.1,
    )
    with Store(tmp_path) as store:
        store.add_trial(record)
    with Store(tmp_path) as store:
        assert store.trials(["k", "absent"]) == {"k": record}


def test_nan_in_a_curve_survives(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_trial(trial(curves={"held-out accuracy": [math.nan, 0.5]}))
        curve = store.trials(["k"])["k"].curves["held-out accuracy"]
    assert math.isnan(curve[0])
    assert curve[1] == 0.5


def test_a_trial_that_is_run_again_replaces_the_first(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_trial(trial(state="failed", error="loss is nan"))
        store.add_trial(trial(metrics={"accuracy": 0.5}))
        assert store.trials(["k"])["k"].state == "done"


def test_more_keys_than_a_query_may_hold(tmp_path: Path) -> None:
    keys = [str(number) for number in range(1100)]
    with Store(tmp_path) as store:
        for key in keys[::100]:
            store.add_trial(trial(key))
        assert sorted(store.trials(keys)) == sorted(keys[::100])


def test_the_last_run_is_the_latest_with_its_samples_in_order(tmp_path: Path) -> None:
    gallery = {"original": [Sample(b"png", "cat"), Sample(b"gnp", "dog 0.50")], "mixup": []}
    with Store(tmp_path) as store:
        store.add_run(run("old"), ["a"], {})
        store.add_run(run(created="2026-01-02T00:00:00+00:00"), ["b", "c"], gallery)
        found, keys, samples = store.last_run()
    assert found == run(created="2026-01-02T00:00:00+00:00")
    assert keys == ["b", "c"]
    assert samples == {"original": gallery["original"]}


def test_a_store_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("update facts set value = '99'")
    connection.close()
    with pytest.raises(InputError, match=r"written by a later version .* 99"):
        Store(tmp_path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(InputError, match="not a database"):
        Store(tmp_path)


def test_a_folder_without_results_is_refused_when_reading(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        Store(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_a_run_says_so(tmp_path: Path) -> None:
    with Store(tmp_path) as store, pytest.raises(InputError, match="has no run"):
        store.last_run()


@pytest.mark.parametrize("url", ["nonsense://x", "://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="not a database URL"):
        Store(url)


def test_a_full_disk_is_one_line_and_keeps_what_is_there(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_trial(trial("kept"))
        with store._engine.connect() as connection:
            pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        limit = f"pragma max_page_count = {pages}"

        # The limit belongs to a connection, and the pool hands the same one out again.
        with store._engine.connect() as connection:
            connection.exec_driver_sql(limit)
        with pytest.raises(InputError, match="database or disk is full"):
            store.add_trial(trial("lost", error="x" * 100_000))
        assert list(store.trials(["kept", "lost"])) == ["kept"]
