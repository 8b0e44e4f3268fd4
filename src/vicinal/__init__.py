"""Data augmentation: which one helps, proved on your own data, and ready to train with.

`vicinal.CutMix` and every other component is found by its name; `vicinal.core` has the ideas they
share. See `vicinal methods` for what there is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vicinal.core.version import VERSION

if TYPE_CHECKING:
    from vicinal.core.augmentation import Augmentation, Mixer, Transform
    from vicinal.core.batch import Batch
    from vicinal.core.card import Card
    from vicinal.core.draws import Draws
    from vicinal.core.params import Params
    from vicinal.core.placed_target import BoxTarget, MaskTarget
    from vicinal.core.target import (
        ClassTarget,
        MultiLabelTarget,
        RegressionTarget,
        SoftTarget,
        Target,
    )
    from vicinal.latent.at_layer import AtLayer
    from vicinal.mixers.choice import RandomChoice
    from vicinal.mixers.label_weight import LabelWeight
    from vicinal.mixers.pairing import AnotherClass, Permutation, SameClass
    from vicinal.policies.schedule import Ramp, Until
    from vicinal.transforms.sequence import Compose, Sequence

__version__ = VERSION

# Imported when asked for: the command line answers `--help` without waiting for torch.
_PLACES = {
    "AnotherClass": "vicinal.mixers.pairing",
    "AtLayer": "vicinal.latent.at_layer",
    "Augmentation": "vicinal.core.augmentation",
    "Batch": "vicinal.core.batch",
    "BoxTarget": "vicinal.core.placed_target",
    "Card": "vicinal.core.card",
    "ClassTarget": "vicinal.core.target",
    "Compose": "vicinal.transforms.sequence",
    "Draws": "vicinal.core.draws",
    "LabelWeight": "vicinal.mixers.label_weight",
    "MaskTarget": "vicinal.core.placed_target",
    "Mixer": "vicinal.core.augmentation",
    "MultiLabelTarget": "vicinal.core.target",
    "Params": "vicinal.core.params",
    "Permutation": "vicinal.mixers.pairing",
    "Ramp": "vicinal.policies.schedule",
    "RandomChoice": "vicinal.mixers.choice",
    "RegressionTarget": "vicinal.core.target",
    "SameClass": "vicinal.mixers.pairing",
    "Sequence": "vicinal.transforms.sequence",
    "SoftTarget": "vicinal.core.target",
    "Target": "vicinal.core.target",
    "Transform": "vicinal.core.augmentation",
    "Until": "vicinal.policies.schedule",
}

__all__ = [
    "AnotherClass",
    "AtLayer",
    "Augmentation",
    "Batch",
    "BoxTarget",
    "Card",
    "ClassTarget",
    "Compose",
    "Draws",
    "LabelWeight",
    "MaskTarget",
    "Mixer",
    "MultiLabelTarget",
    "Params",
    "Permutation",
    "Ramp",
    "RandomChoice",
    "RegressionTarget",
    "SameClass",
    "Sequence",
    "SoftTarget",
    "Target",
    "Transform",
    "Until",
]


def __getattr__(name: str) -> Any:
    """A name of the core, or a registered component by its class name.

    A new component needs no line here.
    """
    found: Any = None
    if name in _PLACES:
        found = getattr(importlib.import_module(_PLACES[name]), name)
    elif not name.startswith("_"):
        found = importlib.import_module("vicinal.core.registry").exported(name)
    if found is None:
        raise AttributeError(f"module 'vicinal' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    components = importlib.import_module("vicinal.core.registry").components()
    return sorted({*globals(), *__all__, *(component.__name__ for component in components)})
