"""The last steps for every kind of data: drop what cannot be used, check, take the fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.errors import InputError
from vicinal.core.ragged import Ragged
from vicinal.core.task import Modality, Task
from vicinal.data.duplicates import CHUNK, canonical, duplicate_notes, row_groups
from vicinal.data.layout import counted, listed
from vicinal.data.storage import compact
from vicinal.data.targets import Labels

#: Names of classes that a mirror would turn into another class or into nonsense.
SIDES = {"left", "right"}
#: How many times larger the largest class may be than the smallest before it is said.
UNEVEN = 5


@dataclass(frozen=True)
class Found:
    """Data as it was read.

    where: the path given, for messages.
    x: (N, C, H, W) uint8 or (N, D) float32.
    in_test: (N,) bool, the test part that came with the data; all False if none did.
    read: (N,) bool, False for rows that could not be read.
    mirrors: whether a mirror image keeps its meaning; None to judge by the names of the classes.
    """

    name: str
    where: str
    modality: Modality
    x: NDArray[Any]
    labels: Labels
    in_test: NDArray[np.bool_]
    read: NDArray[np.bool_]
    columns: tuple[str, ...] = ()
    mirrors: bool | None = None
    notes: tuple[str, ...] = ()


def assemble(found: Found) -> Task:
    """The task that data make; their array is used up.

    Rows of classes that the training part lacks are dropped.

    Raises:
        InputError: nothing is left to learn from.
    """
    notes = [*found.notes]
    keep, classes, values = known_classes(found, notes)
    x = torch.from_numpy(compact(found.x, keep))
    y = torch.from_numpy(values[keep])
    in_test = torch.from_numpy(found.in_test[keep])
    if bool(in_test.all()):
        raise InputError(f"{found.where}: the training part has no rows that can be used")
    notes += duplicate_notes(row_groups(x), y, in_test if bool(in_test.any()) else None)
    mirrors = False
    if found.modality == "image":
        mirrors = keeps_meaning(classes, x, notes) if found.mirrors is None else found.mirrors
    task = Task(
        name=found.name,
        modality=found.modality,
        kind=found.labels.kind,
        x=x,
        y=y,
        classes=classes,
        columns=found.columns,
        test_rows=in_test.nonzero()[:, 0] if bool(in_test.any()) else None,
        mirrors=mirrors,
        notes=tuple(notes),
        fingerprint="",
    )
    return with_fingerprint(task)


def known_classes(
    found: Found, notes: list[str]
) -> tuple[NDArray[np.bool_], tuple[str, ...], NDArray[Any]]:
    """The rows to keep, the classes of the training part, and all labels numbered by these.

    Raises:
        InputError: there are fewer than two classes.
    """
    labels = found.labels
    if labels.kind == "regression":
        if len(np.unique(labels.values[found.read & ~found.in_test])) < 2:
            raise InputError(
                f"{found.where}: the target has one value throughout; there is nothing to learn"
            )
        return found.read, (), labels.values
    number = len(labels.classes)
    train = np.bincount(labels.values[found.read & ~found.in_test], minlength=number)
    test = np.bincount(labels.values[found.read & found.in_test], minlength=number)
    kept = train > 0
    if kept.sum() < 2:
        only = f"one class ({labels.classes[int(train.argmax())]})" if kept.any() else "no class"
        raise InputError(
            f"{found.where}: {only} in the training part; a classifier needs at least two "
            "(for images: one folder for each class)"
        )
    strangers = [labels.classes[i] for i in np.flatnonzero((test > 0) & ~kept)]
    if strangers:
        rows = int(test[~kept].sum())
        notes.append(
            f"dropped {counted(rows, 'test row')} of {counted(len(strangers), 'class', 'classes')} "
            f"that only the test part has: {listed(strangers)}"
        )
    absent = [labels.classes[i] for i in np.flatnonzero((test == 0) & kept)]
    if absent and test.any():
        how_many = counted(len(absent), "class", "classes")
        notes.append(f"no test rows of {how_many}: {listed(absent)}")
    least, most = int(train[kept].min()), int(train.max())
    if most > UNEVEN * least:
        small = labels.classes[int(np.flatnonzero(train == least)[0])]
        notes.append(
            f"classes are uneven, from {counted(least, 'row')} ({small}) to {most:,} "
            f"({labels.classes[int(train.argmax())]}): look at the accuracy of each class too"
        )
    classes = tuple(name for name, has in zip(labels.classes, kept, strict=True) if has)
    renumbered = np.cumsum(kept) - 1
    return found.read & kept[labels.values], classes, renumbered[labels.values].astype(np.int64)


def keeps_meaning(classes: tuple[str, ...], x: Tensor, notes: list[str]) -> bool:
    """Whether images may be mirrored, judged by the names of their classes.

    Photographs may; characters may not, nor what is named after a side, nor scans in grey, of which
    nothing is known.
    """
    names = [name.lower() for name in classes]
    words = {word for name in names for word in name.replace("_", " ").replace("-", " ").split()}
    if names and all(len(name) == 1 or name.isdigit() for name in names):
        why = "the classes look like characters"
    elif words & SIDES:
        why = "classes are named after a side"
    elif x.shape[1] == 1:
        why = "they are grey, and may be scans or characters"
    else:
        return True
    notes.append(f"images are not mirrored: {why}")
    return False


def with_fingerprint(task: Task) -> Task:
    """The task with the hash of all that can change a result; names, paths and notes do not."""
    leaves = [*pytree.tree_leaves(task.x), task.y]
    facts = {
        "modality": task.modality,
        "kind": task.kind,
        "shape": [len(task), *task.sample_shape],
        "types": [str(one.dtype) for one in leaves],
        "classes": task.classes,
        "columns": task.columns,
        "mirrors": task.mirrors,
        "test": None if task.test_rows is None else len(task.test_rows),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    parts = leaves + ([] if task.test_rows is None else [task.test_rows])
    ragged = [part.offsets for part in parts if isinstance(part, Ragged)]
    for part in [one.values if isinstance(one, Ragged) else one for one in parts] + ragged:
        for rows in torch.split(part, CHUNK):
            digest.update(canonical(rows).contiguous().numpy().data)
    return replace(task, fingerprint=digest.hexdigest())
