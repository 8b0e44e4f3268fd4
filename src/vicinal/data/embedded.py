"""Data that need no download: real ones that come with scikit-learn, and made scenes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.core.ragged import Ragged
from vicinal.core.task import Task
from vicinal.data.assemble import Found, assemble, with_fingerprint
from vicinal.data.overlap_gaussians import make_overlap_gaussians
from vicinal.data.rooms import SHAPES, make_rooms
from vicinal.data.targets import Labels

EMBEDDED = {
    "digits": "1,797 grey images of handwritten digits, 8×8, 10 classes",
    "breast_cancer": "569 tumours, 30 measurements of cell nuclei, 2 classes",
    "wine": "178 wines, 13 chemical measurements, 3 classes",
    "diabetes": "442 patients, 10 measurements, progression after a year (regression)",
    "rooms": "180 made scenes of points, 8 shapes whose company changes in the test part",
    "overlap_gaussians": "2,000 made points of 300 values, 2 classes that overlap",
}
TRAINING_ROOMS, TEST_ROOMS = 120, 60
CLOUD_POINTS, CLOUD_DISTANCE = 2000, 0.1


def read_embedded(name: str) -> Task:
    """One of `EMBEDDED` as a task."""
    if name == "rooms":
        return rooms()
    if name == "overlap_gaussians":
        return overlap_gaussians()
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


def overlap_gaussians() -> Task:
    """Made points of two clouds that overlap: four in five can be told apart, none for certain."""
    x, labels = make_overlap_gaussians(CLOUD_DISTANCE, count=CLOUD_POINTS)
    return assemble(
        Found(
            name="overlap_gaussians",
            where="overlap_gaussians",
            modality="tabular",
            x=x.numpy(),
            labels=Labels("classification", labels.numpy(), ("at zero", "beside it")),
            in_test=none(len(x)),
            read=~none(len(x)),
            columns=tuple(f"value_{column}" for column in range(x.shape[1])),
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
