"""One column of all table files, whatever its type, as numbers or as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vicinal.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

Form = Literal["bool", "integer", "float", "text", "other"]


@dataclass(frozen=True)
class Source:
    """Where rows come from, for messages.

    name: the path that was given.
    files, counts: in the order of the rows.
    """

    name: str
    files: tuple[Path, ...]
    counts: tuple[int, ...]

    def row(self, row: int) -> str:
        """What a row is called: counted from 1 in its file, the header not counted."""
        if len(self.files) == 1:
            return f"row {row + 1}"
        ends = np.cumsum(self.counts)
        file = int(np.searchsorted(ends, row, side="right"))
        return f"row {row - ends[file] + self.counts[file] + 1} of {self.files[file].name}"

    def rows(self, which: NDArray[np.integer[Any]], limit: int = 5) -> str:
        """Some rows, and how many more: `12 rows (row 3, row 4, ...)`."""
        named = ", ".join(self.row(int(row)) for row in which[:limit])
        more = ", ..." if len(which) > limit else ""
        return f"{len(which):,} row{'s' if len(which) > 1 else ''} ({named}{more})"


@dataclass(frozen=True)
class Column:
    """A column.

    form: what every value is, where one is given.
    numbers: (N,) float64, NaN where missing; for bool, integer and float.
    texts: (N,) of str, None where missing; for text.
    type_name: of the type as it is stored.
    order: the names of classes in the order that the file declares, if it does.
    """

    name: str
    form: Form
    numbers: NDArray[np.float64] | None = None
    texts: NDArray[np.object_] | None = None
    type_name: str = ""
    order: tuple[str, ...] = ()

    def parsed(self) -> tuple[NDArray[np.float64], int | None]:
        """The numbers, read from text if need be, and the first row whose value is none."""
        if self.numbers is not None:
            return self.numbers, None
        import pandas as pd

        texts = pd.Series(self.texts, dtype="object")
        values = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        # The word "nan" in a text column is a missing value and no text.
        words = texts.str.strip().str.lower()
        wrong = np.flatnonzero(np.isnan(values) & texts.notna() & ~words.isin(["", "nan"]))
        return values, int(wrong[0]) if len(wrong) else None

    def missing(self) -> NDArray[np.bool_]:
        """Where no value is given. Returns (N,)."""
        if self.numbers is not None:
            return np.isnan(self.numbers)
        if self.texts is None:
            return np.zeros(0, dtype=bool)
        return np.array([text is None or text == "" for text in self.texts])


def read_column(tables: Sequence[Dataset], name: str) -> Column:
    """A column of several files as one; text if any of them has text."""
    pieces = [read_piece(table, name) for table in tables]
    forms = {form for form, _ in pieces if form is not None}
    order = next((names for table in tables if (names := class_names(table, name))), ())
    if "other" in forms:
        return Column(name, "other", type_name=str(tables[0].features[name]))
    if "text" in forms:
        texts = [text for _, piece in pieces for text in as_texts(piece)]
        return Column(name, "text", texts=np.array(texts, dtype=object), order=order)
    numbers = np.concatenate([as_numbers(piece) for _, piece in pieces])
    if forms == {"bool"}:
        return Column(name, "bool", numbers=numbers)
    return Column(name, "float" if "float" in forms else "integer", numbers=numbers)


def read_piece(table: Dataset, name: str) -> tuple[Form | None, Any]:
    """The values of a column in one file, and what they are; None if there are none."""
    import pyarrow as pa

    feature = type(table.features[name]).__name__
    if feature == "Json":  # a JSON column whose values have several types
        return "text", [None if value is None else str(value) for value in table[name]]
    values = table.select_columns([name]).with_format("arrow")[:].column(0)
    if names := class_names(table, name):
        known = dict(enumerate(names))
        return "text", [known.get(code) for code in values.to_pylist()]
    return form_of(values.type, pa) if values.null_count < len(values) else None, values


def class_names(table: Dataset, name: str) -> tuple[str, ...]:
    """The names of a column of class indices, if it is declared as one."""
    import datasets

    feature = table.features[name]
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else ()


def form_of(kind: pa.DataType, pa: Any) -> Form:
    """What the values of an Arrow type are."""
    tests: dict[Form, Sequence[Callable[[Any], bool]]] = {
        "bool": (pa.types.is_boolean,),
        "integer": (pa.types.is_integer,),
        "float": (pa.types.is_floating, pa.types.is_decimal),
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary),
    }
    for form, are in tests.items():
        if any(test(kind) for test in are):
            return form
    return "other"


def as_numbers(piece: Any) -> NDArray[np.float64]:
    """An Arrow column as float64, NaN where there is no value."""
    import pyarrow as pa

    if pa.types.is_boolean(piece.type):
        piece = piece.cast(pa.int8())
    # An Arrow column without a single value may have any type.
    if piece.null_count == len(piece):
        return np.full(len(piece), np.nan)
    numbers: NDArray[np.float64] = piece.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def as_texts(piece: Any) -> list[str | None]:
    """A column as text, None where there is no value."""
    if isinstance(piece, list):
        return piece
    return [None if value is None else str(value) for value in piece.to_pylist()]


def refuse_text(columns: Sequence[tuple[Column, int]], source: Source) -> InputError:
    """The error for features that hold text, naming the first value that is no number."""
    column, row = columns[0]
    names = ",".join(column.name for column, _ in columns)
    what = (
        f"holds text ({shortened(column.texts[row])!r} in {source.row(row)})"
        if column.texts is not None
        else f"is of type {column.type_name}"
    )
    others = ", ".join(column.name for column, _ in columns[1:11])
    also = f" (so do {others})" if others else ""
    return InputError(
        f"{source.name}: column {column.name} {what} where numbers are due{also}; "
        f"encode as numbers, or leave out with --drop {names}"
    )


def shortened(text: str, limit: int = 40) -> str:
    """The beginning of a long text."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
