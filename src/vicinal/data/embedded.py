"""Real data that comes with scikit-learn, read without a download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vicinal.core.task import Task
from vicinal.data.assemble import Found, assemble
from vicinal.data.targets import Labels

EMBEDDED = {
    "digits": "1,797 grey images of handwritten digits, 8×8, 10 classes",
    "breast_cancer": "569 tumours, 30 measurements of cell nuclei, 2 classes",
    "wine": "178 wines, 13 chemical measurements, 3 classes",
    "diabetes": "442 patients, 10 measurements, progression after a year (regression)",
}


def read_embedded(name: str) -> Task:
    """One of `EMBEDDED` as a task."""
    return digits() if name == "digits" else measurements(name)


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
