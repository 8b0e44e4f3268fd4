"""A task: the data, what is to be predicted, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from vicinal.core.ragged import Ragged

Modality = Literal["image", "tabular", "points"]
Kind = Literal["classification", "regression", "segmentation"]


@dataclass(frozen=True)
class Task:
    """Data read and checked, and not yet split.

    name: short name of the data; results go to a folder of that name.
    x: (N, C, H, W) uint8 for images; (N, D) float32 for tables, NaN where a value is missing; for
        scenes of points a dict of N rows each, `position` (points, 3) among them.
    y: (N,) int64 class indices, or (N,) float32 values for regression; for segmentation N rows of
        int64, a class for each point.
    classes: names in the order of the indices; empty for regression.
    columns: names of the columns of a table; empty otherwise.
    test_rows: (M,) int64 rows of the test part that came with the data, or None.
    mirrors: a mirror image keeps its meaning (photographs yes, digits no).
    notes: one line for each thing that was found and handled: files skipped, values filled, sizes
        made equal, duplicates across parts.
    fingerprint: hexadecimal hash of everything above that can change a result.
    """

    name: str
    modality: Modality
    kind: Kind
    x: Any
    y: Any
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    test_rows: Tensor | None = None
    mirrors: bool = False
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.y)

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for a sample, or for each of its points."""
        return 1 if self.kind == "regression" else len(self.classes)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample; (F,) for F features of a point beside its position."""
        if isinstance(self.x, Tensor):
            return tuple(self.x.shape[1:])
        rows: dict[str, Ragged] = self.x
        return (sum(one.values.shape[1] for name, one in rows.items() if name != "position"),)
