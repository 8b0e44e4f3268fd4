"""Rows of table files into a task: numeric columns, or a column of images, and a target."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vicinal.core.errors import InputError, nearest
from vicinal.core.task import Kind, Modality
from vicinal.data.assemble import Found
from vicinal.data.builders import load_table, quiet
from vicinal.data.codes import read_labels
from vicinal.data.columns import Column, Source, class_names, read_column, refuse_text
from vicinal.data.images import read_images
from vicinal.data.layout import TableFiles, counted, data_name, is_image, listed
from vicinal.data.targets import find_target, read_target

if TYPE_CHECKING:
    from datasets import Dataset

#: What pandas calls the row numbers that it wrote beside the data, in Parquet.
INDEX_COLUMN = "__index_level_0__"
#: What a first column without a name is read as: such row numbers in CSV, but anything else too.
NAMELESS = ("Unnamed: 0", "")


def read_table(
    files: TableFiles,
    *,
    where: Path,
    cache: Path,
    target: str | None,
    columns: Sequence[str] | None,
    drop: Sequence[str],
    image_size: int | None,
    kind: Kind | None,
) -> Found:
    """The contents of table files.

    Args:
        files: to read.
        where: the path that the user gave.
        cache: a folder for copies, in use until this returns.
        target: see `vicinal.data.read.read_task`, also for what follows.
        columns: to predict from.
        drop: to leave out.
        image_size: side of the images.
        kind: of task.

    Raises:
        InputError: something in them cannot be used.
    """
    paths = files.train + files.test
    tables = [load_table(path, cache) for path in paths]
    source = Source(str(where), paths, tuple(len(table) for table in tables))
    notes = [*files.notes]
    present = common_columns(tables, source, notes)
    check_names(present, columns=columns, drop=drop, where=source.name)
    present = [name for name in present if name not in drop]
    declared = [name for name in present if class_names(tables[0], name)]
    goal = find_target(target, present, declared=declared, where=source.name)
    inputs = [name for name in (columns or present) if name in present and name != goal]
    if goal in (columns or ()):
        raise InputError(
            f"{where}: column {goal} is to be predicted and cannot be an input as well"
        )
    picture = image_column(tables[0], inputs, where=source.name)
    if picture is None and image_size is not None:
        raise InputError(f"--image-size does not apply to {where}: no column holds images")
    modality: Modality = "tabular" if picture is None else "image"
    labels = read_target(read_labels(tables, paths, goal), kind, modality=modality, source=source)
    notes.append(labels.note)
    rows = np.arange(sum(source.counts))
    in_test = rows >= sum(source.counts[: len(files.train)])
    found = Found(
        name=data_name(where),
        where=source.name,
        modality=modality,
        x=np.empty(0),
        labels=labels,
        in_test=in_test,
        read=rows >= 0,
    )
    if picture is None:
        x, names = features(tables, inputs, source=source, in_test=in_test, notes=notes)
        return replace(found, x=x, columns=names, notes=tuple(notes))
    if others := [name for name in inputs if name != picture]:
        number = counted(len(others), "column")
        notes.append(f"ignored {number} beside the images: {listed(others)}")
    pixels = image_rows(tables, picture)
    images = read_images(pixels, root=files.root, name=source.row, image_size=image_size)
    return replace(found, x=images.x, read=images.read, notes=(*notes, *images.notes))


def image_column(table: Dataset, names: Sequence[str], *, where: str) -> str | None:
    """The column that holds images, if there is one.

    Raises:
        InputError: there are several.
    """
    found = [name for name in names if is_image_column(table, name)]
    if len(found) > 1:
        raise InputError(
            f"{where}: several columns hold images ({', '.join(found)}); name one with --columns"
        )
    return found[0] if found else None


def common_columns(tables: Sequence[Dataset], source: Source, notes: list[str]) -> list[str]:
    """The columns of the first file, which every other has to have as well.

    Raises:
        InputError: a file lacks some.
    """
    first = list(tables[0].column_names)
    for table, file in zip(tables[1:], source.files[1:], strict=True):
        lacking = [name for name in first if name not in table.column_names]
        if lacking:
            raise InputError(
                f"{file}: lacks {counted(len(lacking), 'column')} that {source.files[0].name} has "
                f"({listed(lacking)}); give both the same columns, or take the file away"
            )
        if extra := [name for name in table.column_names if name not in first]:
            number = counted(len(extra), "column")
            notes.append(f"ignored {number} only in {file.name}: {listed(extra)}")
    numbered = [str(place) for place in range(len(first))]
    if all(is_number(name) for name in first) and first != numbered:
        raise InputError(
            f"{source.files[0]}: the first line holds numbers ({listed(first, limit=4)}), "
            "not the names of the columns; add a line with names"
        )
    index = [
        name
        for name in first
        if name == INDEX_COLUMN or (name in NAMELESS and numbers_rows(tables, name))
    ]
    if index:
        notes.append(f"ignored the row numbers in column {index[0]!r}")
    return [name for name in first if name not in index]


def numbers_rows(tables: Sequence[Dataset], name: str) -> bool:
    """Whether a column counts the rows from 0 or 1, in each file anew or through all of them."""
    columns = [read_column([table], name).numbers for table in tables]
    if any(numbers is None for numbers in columns):
        return False
    pieces = [numbers for numbers in columns if numbers is not None]
    return any(
        all(np.array_equal(piece, np.arange(len(piece)) + start) for piece in these)
        for these in (pieces, [np.concatenate(pieces)])
        for start in (0, 1)
    )


def is_number(name: str) -> bool:
    """Whether the name of a column is a number."""
    try:
        float(name)
    except ValueError:
        return False
    return True


def check_names(
    present: Sequence[str], *, columns: Sequence[str] | None, drop: Sequence[str], where: str
) -> None:
    """Refuse names of columns that do not exist."""
    for option, names in (("--columns", columns or ()), ("--drop", drop)):
        for name in names:
            if name not in present:
                offer = nearest(name, present)
                raise InputError(f"{where}: there is no column {name!r} for {option}; {offer}")


def is_image_column(table: Dataset, name: str) -> bool:
    """Whether a column holds images: as the datasets library stores them, as bytes, or as paths."""
    import datasets

    feature = table.features[name]
    if isinstance(feature, datasets.Image):
        return True
    if isinstance(feature, dict):
        return "bytes" in feature and set(feature) <= {"bytes", "path"}
    if not isinstance(feature, datasets.Value):
        return False
    if "string" in feature.dtype:
        return is_image(Path(str(first_value(table, name) or "")))
    if "binary" in feature.dtype:
        return is_picture(first_value(table, name) or b"")
    return False


def first_value(table: Dataset, name: str, look: int = 1000) -> Any:
    """The first value of a column that is given, among the first rows."""
    return next((value for value in table[:look][name] if value is not None), None)


def is_picture(content: bytes) -> bool:
    """Whether bytes are those of an image file."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(content)):
            return True
    except PIL.UnidentifiedImageError:
        return False


def image_rows(tables: Sequence[Dataset], name: str) -> Dataset:
    """The images of all files in one undecoded column `image`."""
    import datasets

    with quiet():
        columns = [
            table.select_columns([name]).cast_column(name, datasets.Image(decode=False))
            for table in tables
        ]
        rows = datasets.concatenate_datasets(columns)
        return rows if name == "image" else rows.rename_column(name, "image")


def features(
    tables: Sequence[Dataset],
    names: Sequence[str],
    *,
    source: Source,
    in_test: NDArray[np.bool_],
    notes: list[str],
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The numeric columns.

    Returns:
        (N, D) float32 with NaN where a value is missing, and the names of the D columns.

    Raises:
        InputError: a column holds text, infinite or overlarge values, or none is left.
    """
    read: list[tuple[str, NDArray[np.float32]]] = []
    texts: list[tuple[Column, int]] = []
    missing: list[str] = []
    empty: list[str] = []
    for name in names:
        column = read_column(tables, name)
        if column.form == "other":
            texts.append((column, 0))
            continue
        values, wrong = column.parsed()
        if wrong is not None:
            texts.append((column, wrong))
            continue
        if np.isnan(values[~in_test]).all():
            empty.append(name)
            continue
        if column.texts is not None:
            notes.append(f"column {name} holds numbers as text, which are read as numbers")
        if count := int(np.isnan(values).sum()):
            missing.append(f"{count:,} in {name}")
        if name in NAMELESS:
            notes.append(f"column {name!r} has no name in the file, and is used as it is no count")
        elif column.form == "integer" and counts_rows(values[~in_test]):
            notes.append(f"column {name} counts the rows; if it says no more, use --drop {name}")
        read.append((name, single(values, name, source)))
    if texts:
        raise refuse_text(texts, source)
    if empty:
        notes.append(f"ignored {counted(len(empty), 'column')} without values: {listed(empty)}")
    if missing:
        notes.append(f"missing values, filled with the training mean: {listed(missing)}")
    if not read:
        raise InputError(f"{source.name}: no column is left to predict from; give numeric columns")
    return np.stack([values for _, values in read], axis=1), tuple(name for name, _ in read)


def counts_rows(values: NDArray[np.float64]) -> bool:
    """Whether each value is one more than the value before."""
    return len(values) > 2 and bool((np.diff(values) == 1).all())


def single(values: NDArray[np.float64], name: str, source: Source) -> NDArray[np.float32]:
    """A column in single precision.

    Raises:
        InputError: a value is infinite, or becomes so.
    """
    largest = np.finfo(np.float32).max
    wrong = np.flatnonzero(~(np.abs(values) <= largest) & ~np.isnan(values))
    if len(wrong):
        what = "infinite" if np.isinf(values[wrong]).all() else "infinite or beyond 3.4e38"
        raise InputError(
            f"{source.name}: column {name} is {what} in {source.rows(wrong)}; "
            f"correct these values, or leave the column out with --drop {name}"
        )
    return values.astype(np.float32)
