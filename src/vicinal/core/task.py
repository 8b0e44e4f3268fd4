"""A task: the data, what is to be predicted, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Modality = Literal["image", "tabular"]
Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class Task:
    """Data read and checked, and not yet split.

    name: short name of the data; results go to a folder of that name.
    x: (N, C, H, W) uint8 for images; (N, D) float32 for tables, NaN where a value is missing.
    y: (N,) int64 class indices, or (N,) float32 values for regression.
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
    x: Tensor
    y: Tensor
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
        """How many numbers a model gives for a sample."""
        return len(self.classes) if self.kind == "classification" else 1
