"""Data that need no download: real ones that come with scikit-learn, and made scenes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.core.ragged import Ragged
from vicinal.core.task import Task
from vicinal.data.assemble import Found, assemble, with_fingerprint
from vicinal.data.rooms import SHAPES, make_rooms
from vicinal.data.targets import Labels

EMBEDDED = {
    "digits": "1,797 grey images of handwritten digits, 8×8, 10 classes",
    "breast_cancer": "569 tumours, 30 measurements of cell nuclei, 2 classes",
    "wine": "178 wines, 13 chemical measurements, 3 classes",
    "diabetes": "442 patients, 10 measurements, progression after a year (regression)",
    "rooms": "180 made scenes of points, 8 shapes whose company changes in the test part",
}
TRAINING_ROOMS, TEST_ROOMS = 120, 60


def read_embedded(name: str) -> Task:
    """One of `EMBEDDED` as a task."""
    if name == "rooms":
        return rooms()
    return digits() if name == "digits" else measurements(name)


def rooms() -> Task:
    """Made scenes of points; in the test part, shapes stand in company that they never kept."""
    usual, unusual = make_rooms(TRAINING_ROOMS), make_rooms(TEST_ROOMS, seed=1, swapped=True)
    position, labels = (Ragged.concatenate(parts) for parts in zip(usual, unusual, strict=True))
    return with_fingerprint(
        Task(
            name="rooms",
            modality="points",
            kind="segmentation",
            x={"position": position},
            y=labels,
            classes=SHAPES,
            test_rows=torch.arange(TRAINING_ROOMS, TRAINING_ROOMS + TEST_ROOMS),
            notes=("made data: shapes keep another company in the test part than in training",),
        )
    )


def digits() -> Task:
    """Handwritten digits as (1797, 1, 8, 8) uint8, the 17 shades of the source spread to 0..255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = (data.images * (255 / 16)).round().astype(np.uint8)[:, None]
    labels = Labels("classification", data.target.astype(np.int64), tuple("0123456789"))
    return assemble(
        Found(
            name="digits",
            where="digits",
            modality="image",
            x=x,
            labels=labels,
            in_test=none(len(x)),
            read=~none(len(x)),
            mirrors=False,
        )
    )


def measurements(name: str) -> Task:
    """A table of measurements with its target."""
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    data = getattr(datasets, f"load_{name}")(**options)
    x = data.data.astype(np.float32)
    if name == "diabetes":
        labels = Labels("regression", data.target.astype(np.float32))
    else:
        classes = tuple(str(one) for one in data.target_names)
        labels = Labels("classification", data.target.astype(np.int64), classes)
    return assemble(
        Found(
            name=name,
            where=name,
            modality="tabular",
            x=x,
            labels=labels,
            in_test=none(len(x)),
            read=~none(len(x)),
            columns=tuple(str(column).replace(" ", "_") for column in data.feature_names),
        )
    )


def none(rows: int) -> NDArray[np.bool_]:
    """False for every row."""
    return np.zeros(rows, dtype=bool)
