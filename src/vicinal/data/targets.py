"""Which column is to be predicted, and whether it holds classes or quantities.

Without a word from the user, text and booleans are classes, and so are whole numbers with few
values: at most 20 in a table, and at most 1,000 beside images, where labels are usually numbered.
All other numbers are quantities. What was decided is told in a note.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.core.errors import InputError, nearest
from vicinal.core.task import Kind
from vicinal.data.columns import Column, Source, shortened
from vicinal.data.layout import listed

USUAL_NAMES = ("label", "target", "class", "y")
MOST_CLASSES = {"tabular": 20, "image": 1000}
KINDS: tuple[Kind, ...] = ("classification", "regression")


@dataclass(frozen=True)
class Labels:
    """What is to be predicted.

    values: (N,) int64 class indices or float32 quantities.
    classes: names in the order of the indices.
    """

    kind: Kind
    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    note: str = ""


def check_kind(kind: str | None) -> Kind | None:
    """A kind that a user asked for.

    Raises:
        InputError: there is none of that name.
    """
    if kind is None:
        return None
    for known in KINDS:
        if kind == known:
            return known
    raise InputError(f"unknown kind {kind!r} of task; {nearest(kind, KINDS)}")


def find_target(
    name: str | None, columns: Sequence[str], *, declared: Collection[str], where: str
) -> str:
    """The column to be predicted.

    Args:
        name: as the user gave it.
        columns: all there are.
        declared: those that the files declare to be class labels.
        where: the path, for messages.

    Raises:
        InputError: there is no such column, or nothing says which it is.
    """
    if name is not None:
        if name not in columns:
            raise InputError(
                f"{where}: there is no column {name!r} to predict; {nearest(name, columns)}"
            )
        return name
    usual = [column for column in columns if column.strip().lower() in USUAL_NAMES]
    for candidates in (usual, list(declared)):
        if len(candidates) == 1:
            return candidates[0]
    shown = listed(columns, limit=30)
    raise InputError(
        f"{where}: which column is to be predicted? name it with --target; columns: {shown}"
    )


def class_order(name: str) -> tuple[bool, float, str]:
    """Sorts class names by number where they are numbers, and by text after that."""
    number = float(name) if name.strip().isdigit() else np.inf
    return not np.isfinite(number), number, name


def class_labels(names: Sequence[str | None], order: Sequence[str] = ()) -> Labels:
    """Classes by name, numbered in the order given, or sorted. Names must not be missing."""
    present = set(names)
    classes = tuple(name for name in order if name in present) if order else ()
    if len(classes) < len(present):
        classes = tuple(sorted((name for name in present if name is not None), key=class_order))
    index = {name: place for place, name in enumerate(classes)}
    values = np.array([index[name] for name in names if name is not None], dtype=np.int64)
    return Labels("classification", values, classes)


def read_target(column: Column, kind: Kind | None, *, modality: str, source: Source) -> Labels:
    """The labels in a column.

    Raises:
        InputError: a value is missing, infinite, or no number where one is due.
    """
    if column.form == "other":
        raise InputError(
            f"{source.name}: the target {column.name} is of type {column.type_name}; "
            "give a column of text or numbers"
        )
    missing = np.flatnonzero(column.missing())
    if len(missing):
        raise InputError(
            f"{source.name}: the target {column.name} is missing or NaN in {source.rows(missing)}; "
            "fill in these values or remove the rows"
        )
    infinite = np.flatnonzero(np.isinf(column.numbers)) if column.numbers is not None else missing
    if len(infinite):
        raise InputError(
            f"{source.name}: the target {column.name} is infinite in {source.rows(infinite)}; "
            "correct these values or remove the rows"
        )
    chosen, why = choose_kind(column, modality)
    if kind is not None:
        chosen, why = kind, "as asked for"
    labels = quantities(column, source) if chosen == "regression" else classes_of(column)
    return Labels(
        labels.kind, labels.values, labels.classes, f"{chosen} of column {column.name}: {why}"
    )


def choose_kind(column: Column, modality: str) -> tuple[Kind, str]:
    """Whether a column holds classes or quantities, and why."""
    if column.numbers is None:
        why = "its values are declared as classes" if column.order else "it holds text"
        return "classification", why
    if column.form == "bool":
        return "classification", "it holds true and false"
    distinct = len(np.unique(column.numbers))
    if not np.array_equal(column.numbers, np.floor(column.numbers)):
        return "regression", "it holds fractions"
    few = distinct <= MOST_CLASSES[modality]
    return (
        "classification" if few else "regression",
        f"it holds whole numbers with {distinct:,} values (--kind decides otherwise)",
    )


def classes_of(column: Column) -> Labels:
    """A column as classes, each distinct value one."""
    if column.numbers is None:
        return class_labels([] if column.texts is None else list(column.texts), column.order)
    values, codes = np.unique(column.numbers, return_inverse=True)
    if column.form == "bool":
        names = tuple(str(bool(value)) for value in values)
    else:
        whole = np.array_equal(values, np.floor(values))
        names = tuple(str(int(value) if whole else float(value)) for value in values)
    return Labels("classification", codes.astype(np.int64), names)


def quantities(column: Column, source: Source) -> Labels:
    """A column as numbers to be regressed.

    Raises:
        InputError: a value is no number, or too large for single precision.
    """
    values, wrong = column.parsed()
    if wrong is not None and column.texts is not None:
        raise InputError(
            f"{source.name}: the target {column.name} holds {shortened(column.texts[wrong])!r} in "
            f"{source.row(wrong)}, and regression needs numbers; choose --kind classification or "
            "correct the value"
        )
    large = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))
    if len(large):
        raise InputError(
            f"{source.name}: the target {column.name} is too large for single precision in "
            f"{source.rows(large)}; rescale it"
        )
    return Labels("regression", values.astype(np.float32))
