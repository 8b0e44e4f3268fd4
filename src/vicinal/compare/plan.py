"""What a comparison will do, decided before anything is trained."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.core.task import Task


@dataclass(frozen=True)
class Recipe:
    """Everything besides data, method, seed and fold that decides a trial's result.

    model: as `build_model` takes it; model_fingerprint tells versions of it apart.
    epochs, batch_size: as they say.
    optimiser: `sgd` (Nesterov momentum 0.9) or `adamw`.
    learning_rate: at its peak; warmed up over a tenth of the steps, then a cosine to zero.
    weight_decay: of weights; norms and biases have none.
    crop: padding of the baseline's random crop in pixels, 0 for none. flip: whether it mirrors.
    folds, holdout: of the splits.
    labels_per_class: training rows of each class whose labels are known; None where all are.
    device: `cpu` or `cuda`. precision: as Lightning Fabric names it. threads: of a trial.
    """

    model: str
    model_fingerprint: str
    epochs: int
    batch_size: int
    optimiser: str
    learning_rate: float
    weight_decay: float
    crop: int
    flip: bool
    folds: int | None
    holdout: float
    device: str
    precision: str
    threads: int
    labels_per_class: int | None = None

    def settings(self) -> dict[str, Any]:
        """The choices by name."""
        return dataclasses.asdict(self)


#: What of this package can change a result: all rooms but those that only show it.
DECIDING = (
    "core",
    "data",
    "evaluate",
    "generate",
    "latent",
    "methods",
    "mixers",
    "models",
    "objectives",
    "policies",
    "transforms",
    "compare/training.py",
    "compare/trial.py",
)


def code_fingerprint(component: type[Any]) -> str:
    """A hash of the source of this package, and of the modules of a component from elsewhere."""
    digest = hashlib.sha256(_package_fingerprint().encode())
    for base in component.__mro__:
        if base.__module__.partition(".")[0] not in ("vicinal", "builtins", "abc", "torch"):
            file = inspect.getsourcefile(base)
            digest.update(Path(file).read_bytes() if file else base.__qualname__.encode())
    return digest.hexdigest()


@functools.cache
def _package_fingerprint() -> str:
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for place in DECIDING:
        found = root / place
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()


def trial_key(task: Task, recipe: Recipe, *, method: str, code: str, seed: int, fold: int) -> str:
    """The hash of everything that decides a trial's result. Equal keys, equal numbers.

    Args:
        task: its fingerprint enters.
        recipe: all of it enters.
        method: the arm's label with all its parameters spelled out.
        code: fingerprint of what the arm is made of.
        seed: of the trial.
        fold: number of the split.
    """
    import torch

    import vicinal

    facts = {
        "vicinal": vicinal.__version__,
        "torch": torch.__version__,
        "task": task.fingerprint,
        "recipe": recipe.settings(),
        "method": method,
        "code": code,
        "seed": seed,
        "fold": fold,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
