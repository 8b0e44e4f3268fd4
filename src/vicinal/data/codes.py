"""Labels that look like numbers and are codes: 007 and 7 are two classes.

The reader of CSV files makes one number of both; here they are read again as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vicinal.data.builders import separator
from vicinal.data.columns import Column, as_texts, read_column

if TYPE_CHECKING:
    from datasets import Dataset

#: A whole number with a zero before it.
CODE = re.compile(r"[+-]?0\d+")


def read_labels(tables: Sequence[Dataset], files: Sequence[Path], name: str) -> Column:
    """A column of labels: as text if it holds whole numbers, and one is written with leading zeros.

    Args:
        tables: the rows of each file.
        files: as many.
        name: of the column.
    """
    column = read_column(tables, name)
    if column.form != "integer" or column.missing().any():
        return column
    texts: list[str | None] = []
    for table, file in zip(tables, files, strict=True):
        if file.suffix.lower() in (".csv", ".tsv"):
            texts += written(file, table.column_names.index(name))
        else:
            texts += as_texts(table.select_columns([name]).with_format("arrow")[:].column(0))
    if not any(text is not None and CODE.fullmatch(text) for text in texts):
        return column
    return Column(name, "text", texts=np.array(texts, dtype=object))


def written(file: Path, place: int) -> list[str | None]:
    """The fields of one column of a CSV file that could be read, without spaces around them."""
    import pandas as pd

    table = pd.read_csv(
        file,
        sep=separator(file),
        usecols=[place],
        dtype=str,
        skipinitialspace=True,
        index_col=False,
    )
    return [field.strip() if isinstance(field, str) else None for field in table.iloc[:, 0]]
