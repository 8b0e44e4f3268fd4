"""Table files, read by the builders of the datasets library.

The builders are called by themselves, since `datasets.load_dataset` counts its calls over the
network and takes the brackets of a file name for a pattern. What they write goes to a folder of the
caller's, and their bars and logs stay quiet.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.core.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

ENDINGS = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSON lines",
    ".json": "JSON",
}
# The builders fix the type of a column by their first chunk, and fail on a later row that does not
# fit it: a float after 10,000 integers.
WHOLE = 2**31 - 1
# How CSV and Parquet builders put it that there are no rows; the JSON builder stops its iteration.
NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")
# The first bytes of what is often given a wrong ending.
MAGIC = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\x1f\x8b": "gzip",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "PDF",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@contextmanager
def quiet() -> Iterator[None]:
    """The datasets library without progress bars and logs; its settings are put back afterwards."""
    import datasets

    bars, verbosity = datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if bars:
            datasets.enable_progress_bars()


def load_table(path: Path, cache: Path) -> Dataset:
    """The rows of one file.

    Args:
        path: a file with one of `ENDINGS`.
        cache: an existing folder for the builder's copy, which the rows are then read from.

    Raises:
        InputError: the file cannot be read, is empty, or is not what its ending says.
    """
    check_contents(path)
    failure = ""
    # pandas leaves a file open where parsing fails, and says so when it is collected.
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return build(path, cache)
        except Exception as problem:  # every builder raises what the library below it raised
            failure = reason(problem)
    if not failure:
        raise InputError(f"{path}: has no rows; give a file with data")
    said = ENDINGS[path.suffix.lower()]
    raise InputError(f"{path}: cannot be read as {said} ({failure}); mend or convert the file")


def check_contents(path: Path) -> None:
    """Refuse a file that is closed to us, empty, or plainly something else than its ending says."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as problem:
        raise InputError(
            f"{path}: cannot be opened ({problem.strerror}); check its permissions"
        ) from problem
    said = ENDINGS[path.suffix.lower()]
    if not head:
        raise InputError(f"{path}: is an empty file; give a file with data")
    found = next((what for magic, what in MAGIC.items() if head.startswith(magic)), None)
    if found is not None and found != said:
        raise InputError(f"{path}: is {found}, not {said}; rename or convert the file")
    if said == "Parquet" and found is None:
        raise InputError(f"{path}: is not Parquet as its ending says; rename or convert the file")


def build(path: Path, cache: Path) -> Dataset:
    """The rows of a file by the builder of its ending."""
    said = ENDINGS[path.suffix.lower()]
    if said == "Parquet":
        from datasets.packaged_modules.parquet.parquet import Parquet

        return prepared(Parquet, path, cache)
    if said in ("JSON", "JSON lines"):
        from datasets.packaged_modules.json.json import Json

        return prepared(Json, path, cache, chunksize=WHOLE)
    return build_csv(path, cache)


def build_csv(path: Path, cache: Path) -> Dataset:
    """The rows of a CSV file."""
    import datasets
    import pandas as pd
    from datasets.packaged_modules.csv.csv import Csv

    # Without `index_col`, rows that are longer than the header would shift every column by one.
    options: dict[str, Any] = {
        "sep": separator(path),
        "skipinitialspace": True,
        "chunksize": WHOLE,
        "index_col": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("error", pd.errors.DtypeWarning)
        try:
            return prepared(Csv, path, cache, **options)
        except datasets.exceptions.DatasetGenerationError as problem:
            if not isinstance(problem.__cause__, pd.errors.DtypeWarning):
                raise
        # The fast engine guesses types block by block and mixes them in a column; this one never.
        return prepared(Csv, path, cache, engine="python", **options)


def separator(path: Path) -> str:
    """What stands between the fields of a CSV file: a comma, unless the header has none."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    if "," in header and path.suffix.lower() != ".tsv":
        return ","
    return max(("\t", ";", "|", ","), key=header.count) if header.strip() else ","


def prepared(builder: Any, path: Path, cache: Path, **options: Any) -> Dataset:
    """What a builder class makes of one file."""
    from datasets.data_files import DataFilesDict, DataFilesList

    files = DataFilesDict({"train": DataFilesList([str(path.resolve())], [()])})
    # Each file has a folder of its own, since the builder's names tell no contents apart.
    folder = cache / f"{len(list(cache.iterdir())):04d}"
    ready = builder(cache_dir=str(folder), data_files=files, **options)
    ready.download_and_prepare()
    return ready.as_dataset(split="train")


def reason(problem: BaseException) -> str:
    """What went wrong at the bottom of a chain of errors, in one line; empty if there were no rows.

    Raises:
        InputError: the disk is full.
    """
    while problem.__cause__ is not None:
        problem = problem.__cause__
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        raise InputError(
            "no space left in the temporary folder; free some, or set TMPDIR to another disk"
        )
    if isinstance(problem, StopIteration) or any(sign in str(problem) for sign in NO_ROWS):
        return ""
    if isinstance(problem, UnicodeDecodeError):
        return f"byte {problem.start + 1} is not UTF-8 text"
    if type(problem).__name__ == "ParserWarning":
        return "rows have more fields than the header"
    return " ".join(str(problem).split()) or type(problem).__name__
