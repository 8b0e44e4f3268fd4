"""The store on a real PostgreSQL server, where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compare.test_store import run, trial

from vicinal.compare.records import Sample
from vicinal.compare.store import Store
from vicinal.core.errors import InputError

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def program(name: str) -> str | None:
    """Debian keeps the programs of a server off the path."""
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, DEBIAN)]))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own, reached through a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="the extra `postgresql` is not installed")
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server is installed")
    # A server does not run as root.
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user `postgres`")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    shutil.chown(folder, user)

    def call(*command: str) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    call(initdb, "--auth=trust", "--no-sync", "--pgdata", data)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    log = str(folder / "log")
    call(pg_ctl, "start", "--wait", "--pgdata", data, "--log", log, "--options", options)
    try:
        yield f"postgresql://{user}@/postgres?host={folder}"
    finally:
        call(pg_ctl, "stop", "--mode", "immediate", "--pgdata", data)
        shutil.rmtree(folder)


def test_what_is_kept_comes_back(url: str) -> None:
    first = trial("a", metrics={"accuracy": 1 / 3}, per_class={"naïve ß": 0.5})
    with Store(url) as store:
        store.add_trial(first)
        store.add_trial(trial("a", metrics={"accuracy": 0.5}))
        store.add_trial(trial("b"))
        store.add_run(run(), ["a", "b"], {"mixup": [Sample(b"\x00png", "0.7 cat", [0.5])]})
    with Store(url, create=False) as store:
        assert store.trials(["a", "b", "c"]).keys() == {"a", "b"}
        assert store.trials(["a"])["a"].metrics == {"accuracy": 0.5}
        record, keys, gallery = store.last_run()
        assert record == run()
        assert keys == ["a", "b"]
        assert gallery["mixup"][0].picture == b"\x00png"


def test_a_database_that_is_not_there_is_refused_in_a_line(url: str) -> None:
    with pytest.raises(InputError, match='database "absent" does not exist') as refused:
        Store(url.replace("/postgres?", "/absent?"))
    assert "\n" not in str(refused.value)
