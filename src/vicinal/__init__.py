"""Data augmentation: which one helps, proved on your own data, and ready to train with.

`vicinal.CutMix` and every other component is found by its name; `vicinal.core` has the ideas they
share. See `vicinal methods` for what there is.
"""

from __future__ import annotations

from typing import Any

from vicinal.core.augmentation import Augmentation, Mixer, Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import (
    ClassTarget,
    MultiLabelTarget,
    RegressionTarget,
    SoftTarget,
    Target,
)
from vicinal.transforms.sequence import Compose, Sequence

__version__ = "0.1.0"

__all__ = [
    "Augmentation",
    "Batch",
    "Card",
    "ClassTarget",
    "Compose",
    "Draws",
    "Mixer",
    "MultiLabelTarget",
    "Params",
    "RegressionTarget",
    "Sequence",
    "SoftTarget",
    "Target",
    "Transform",
]


def __getattr__(name: str) -> Any:
    """A registered component by its class name, so that a new one needs no line here."""
    from vicinal.core import registry

    component = None if name.startswith("_") else registry.exported(name)
    if component is None:
        raise AttributeError(f"module 'vicinal' has no attribute {name!r}")
    globals()[name] = component
    return component


def __dir__() -> list[str]:
    from vicinal.core import registry

    return sorted({*globals(), *(component.__name__ for component in registry.components())})
