"""Where results live: SQLite in the run's folder, or PostgreSQL by URL."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.compare.records import Gallery, ReliabilityBin, RunRecord, Sample, TrialRecord
from vicinal.core.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

#: Of the tables below. A store of a higher number was written by a later version.
SCHEMA = 1
FILE_NAME = "results.sqlite"


class Store:
    """The trials and runs of one database. Every call is a transaction of its own.

    Args:
        place: a folder, whose `results.sqlite` is used, or a database URL.
        create: make the tables where there are none.

    Raises:
        InputError: there is no store, it cannot be read, or a later version wrote it.
    """

    def __init__(self, place: str | Path, *, create: bool = True) -> None:
        import sqlalchemy as sql

        self.place = place
        url = str(place)
        if "://" not in url:
            url = f"sqlite:///{Path(place) / FILE_NAME}"
        try:
            made = sql.make_url(url)
            file = made.database if made.drivername.startswith("sqlite") else None
            if not create and file is not None and not Path(file).is_file():
                raise InputError(f"{place} holds no results ({Path(file).name} is not there)")
            if made.drivername == "postgresql":  # which stands for an older driver
                made = made.set(drivername="postgresql+psycopg")
            self._engine = sql.create_engine(made)
        except (sql.exc.ArgumentError, sql.exc.NoSuchModuleError) as error:
            raise InputError(f"--store {place}: not a database URL ({_line(error)})") from None
        except ModuleNotFoundError as error:
            raise InputError(
                f"--store {place} needs the package {error.name}: pip install 'vicinal[postgresql]'"
            ) from None
        # Messages name the place, and must not name a password.
        self.place = self._engine.url.render_as_string() if "://" in str(place) else place
        self._file = file
        self._tables = _tables()
        with self._transaction() as connection:
            self._tables.create_all(connection)
            self._check_schema(connection)

    def _check_schema(self, connection: Connection) -> None:
        import sqlalchemy as sql

        facts = self._tables.tables["facts"]
        found = connection.execute(
            sql.select(facts.c.value).where(facts.c.name == "schema")
        ).scalar_one_or_none()
        if found is None:
            connection.execute(facts.insert().values(name="schema", value=str(SCHEMA)))
        elif int(found) > SCHEMA:
            raise InputError(
                f"the store {self.place} was written by a later version of vicinal (its format is "
                f"{found}, this version reads {SCHEMA}): update vicinal, or choose another --out"
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        import sqlalchemy as sql

        try:
            with self._engine.begin() as connection:
                yield connection
        except sql.exc.DatabaseError as error:
            line = _line(error)
            if "not a database" in line or "malformed" in line:
                line += f"; move {self._file} away, and the run begins anew"
            raise InputError(f"the store {self.place} cannot be used: {line}") from None

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def trials(self, keys: Iterable[str]) -> dict[str, TrialRecord]:
        """The trials that are there, by key."""
        import sqlalchemy as sql

        table = self._tables.tables["trials"]
        wanted = list(keys)
        found: dict[str, TrialRecord] = {}
        with self._transaction() as connection:
            # Databases limit the number of parameters of one query.
            for start in range(0, len(wanted), 500):
                some = wanted[start : start + 500]
                for row in connection.execute(sql.select(table).where(table.c.key.in_(some))):
                    found[row.key] = _trial(json.loads(row.record))
        return found

    def add_trial(self, record: TrialRecord) -> None:
        """Keep a trial that ended; one with the same key is replaced."""
        table = self._tables.tables["trials"]
        with self._transaction() as connection:
            connection.execute(table.delete().where(table.c.key == record.key))
            connection.execute(
                table.insert().values(
                    key=record.key,
                    method=record.method,
                    seed=record.seed,
                    fold=record.fold,
                    state=record.state,
                    finished=record.finished,
                    record=json.dumps(dataclasses.asdict(record)),
                )
            )

    def add_run(self, run: RunRecord, keys: Sequence[str], gallery: Gallery) -> None:
        """Keep what was asked for, and the keys of its trials; the same run is replaced."""
        runs, samples = self._tables.tables["runs"], self._tables.tables["samples"]
        with self._transaction() as connection:
            for table in (runs, samples):
                connection.execute(table.delete().where(table.c.run == run.name))
            connection.execute(
                runs.insert().values(
                    run=run.name,
                    created=run.created,
                    keys=json.dumps(list(keys)),
                    record=json.dumps(dataclasses.asdict(run)),
                )
            )
            for method, shown in gallery.items():
                for place, sample in enumerate(shown):
                    connection.execute(
                        samples.insert().values(
                            run=run.name,
                            method=method,
                            place=place,
                            picture=sample.picture,
                            caption=sample.caption,
                            numbers=json.dumps(sample.values),
                        )
                    )

    def run_names(self) -> list[str]:
        """The names of the runs that are there, in order."""
        import sqlalchemy as sql

        runs = self._tables.tables["runs"]
        with self._transaction() as connection:
            query = sql.select(runs.c.run).order_by(runs.c.run)
            return list(connection.execute(query).scalars())

    def last_run(self, name: str | None = None) -> tuple[RunRecord, list[str], Gallery]:
        """The latest run, or that of a name, the keys of its trials, and its samples.

        Raises:
            InputError: there is none.
        """
        import sqlalchemy as sql

        runs, samples = self._tables.tables["runs"], self._tables.tables["samples"]
        with self._transaction() as connection:
            found = sql.select(runs).order_by(runs.c.created.desc()).limit(1)
            if name is not None:
                found = found.where(runs.c.run == name)
            row = connection.execute(found).one_or_none()
            if row is None:
                raise InputError(
                    f"the store {self.place} has no run{f' {name}' if name else ''}: "
                    "start one with vicinal compare"
                )
            gallery: Gallery = {}
            query = sql.select(samples).where(samples.c.run == row.run).order_by(samples.c.id)
            for sample in connection.execute(query):
                gallery.setdefault(sample.method, []).append(
                    Sample(sample.picture, sample.caption, json.loads(sample.numbers))
                )
        return RunRecord(**json.loads(row.record)), json.loads(row.keys), gallery


def _tables() -> MetaData:
    from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, Text

    tables = MetaData()
    Table("facts", tables, Column("name", String(32), primary_key=True), Column("value", Text))
    Table(
        "trials",
        tables,
        Column("key", String(64), primary_key=True),
        Column("method", Text, nullable=False),
        Column("seed", Integer, nullable=False),
        Column("fold", Integer, nullable=False),
        Column("state", String(16), nullable=False),
        Column("finished", String(32), nullable=False),
        Column("record", Text, nullable=False),
    )
    Table(
        "runs",
        tables,
        Column("run", String(255), primary_key=True),
        Column("created", String(32), nullable=False),
        Column("keys", Text, nullable=False),
        Column("record", Text, nullable=False),
    )
    Table(
        "samples",
        tables,
        Column("id", Integer, primary_key=True),
        Column("run", String(255), nullable=False),
        Column("method", Text, nullable=False),
        Column("place", Integer, nullable=False),
        Column("picture", LargeBinary, nullable=False),
        Column("caption", Text, nullable=False),
        Column("numbers", Text, nullable=False),
    )
    return tables


def _trial(fields: dict[str, Any]) -> TrialRecord:
    bins = [ReliabilityBin(**one) for one in fields.pop("reliability")]
    return TrialRecord(**fields, reliability=bins)


def _line(error: Exception) -> str:
    """The first line of an error's text."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
