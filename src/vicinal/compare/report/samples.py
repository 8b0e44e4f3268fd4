"""What each method does to a few samples, as rows of cells for the template."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from vicinal.compare.records import Gallery, Sample

ORIGINAL = "original"
#: Pictures of more bytes are photographs: they are embedded as JPEG, of this many pixels on the
#: longer side, more than a cell shows.
LIGHT, LONGEST_SIDE = 12_000, 160
#: Changed values that a cell lists.
LISTED = 4


@dataclass(frozen=True)
class Change:
    """A value of a table's row, before and after; `before` is empty in the original itself."""

    column: str
    before: str
    after: str


@dataclass(frozen=True)
class Cell:
    """A sample under a method.

    labels: names and weights: `cat` and `0.70`; the weight is empty where there is one label.
    picture: data URI; empty for tables. sharp: its pixels should be seen, not smoothed.
    values: the most telling ones. changed: how many of `columns` values differ from the original;
        None in the original itself.
    """

    labels: list[tuple[str, str]]
    picture: str = ""
    sharp: bool = False
    values: list[Change] = field(default_factory=list)
    changed: int | None = None
    columns: int = 0


@dataclass(frozen=True)
class Samples:
    """The same samples as each method shows them to the model.

    rows: `original` first. missing: methods that left none. table: rows of numbers, not pictures.
    """

    rows: list[tuple[str, list[Cell]]]
    missing: list[str]
    table: bool

    @classmethod
    def of(cls, gallery: Gallery, methods: Sequence[str]) -> Samples:
        """Lay them out. methods: in the order of the rows."""
        originals = gallery.get(ORIGINAL, [])
        columns = _telling_columns(gallery)
        rows: list[tuple[str, list[Cell]]] = []
        if originals:
            rows.append((ORIGINAL, [_cell(one, None, columns) for one in originals]))
        shown = [method for method in methods if gallery.get(method)]
        for method in shown:
            pairs = zip(gallery[method], originals, strict=False)
            rows.append((method, [_cell(after, before, columns) for after, before in pairs]))
        table = any(one.values for one in originals)
        return cls(rows, [method for method in methods if method not in shown], table)


def _cell(sample: Sample, before: Sample | None, columns: Sequence[str]) -> Cell:
    labels = _labels(sample.caption)
    if sample.picture:
        picture, sharp = embedded(sample.picture)
        return Cell(labels, picture, sharp)
    if before is None:
        values = [Change(name, "", _value(sample.values[name])) for name in columns[:LISTED]]
        return Cell(labels, values=values, columns=len(sample.values))
    differ = [c for c in columns if _differ(before.values[c], sample.values[c])]
    values = [
        Change(name, _value(before.values[name]), _value(sample.values[name]))
        for name in differ[:LISTED]
    ]
    return Cell(labels, values=values, changed=len(differ), columns=len(sample.values))


def _labels(caption: str) -> list[tuple[str, str]]:
    """The names and weights in `cat 0.70, dog 0.30`."""
    # Names may hold commas; only the one behind a weight parts two labels.
    parts = re.split(r"(?<= \d\.\d\d), ", caption)
    found = [re.fullmatch(r"(.*?)(?: (\d\.\d\d))?", part, re.DOTALL) for part in parts]
    return [(one[1], one[2] or "") for one in found if one is not None]


def _telling_columns(gallery: Gallery) -> list[str]:
    """All columns, those first that the methods moved furthest, in units of the samples' range."""
    originals = gallery.get(ORIGINAL, [])
    moved: dict[str, float] = {}
    for column in originals[0].values if originals else ():
        values = [one.values[column] for one in originals]
        finite = [value for value in values if math.isfinite(value)]
        spread = max(finite) - min(finite) if finite else 0.0
        moves = [
            abs(after.values[column] - before)
            for method, samples in gallery.items()
            if method != ORIGINAL
            for after, before in zip(samples, values, strict=False)
        ]
        moved[column] = sum(move for move in moves if math.isfinite(move)) / (spread or 1.0)
    return sorted(moved, key=lambda column: -moved[column])


def _differ(before: float, after: float) -> bool:
    if math.isnan(before) and math.isnan(after):
        return False
    # Rows went through float32 and back: the last digits of what nobody touched differ too.
    return not math.isclose(before, after, rel_tol=1e-4, abs_tol=1e-6)


def _value(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def embedded(picture: bytes) -> tuple[str, bool]:
    """A picture as a data URI, and whether its pixels should be shown unsmoothed.

    Args:
        picture: PNG. Enlarged small pictures compress well and stay as they are; photographs do
            not, and the page would weigh megabytes.
    """
    from PIL import Image

    if len(picture) <= LIGHT:
        return _uri(picture, "png"), True
    with Image.open(io.BytesIO(picture)) as image:
        photograph = image.convert("RGB")
    photograph.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    photograph.save(buffer, "JPEG", quality=82)
    return _uri(buffer.getvalue(), "jpeg"), False


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
