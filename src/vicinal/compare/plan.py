"""What a comparison will do, decided before anything is trained."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
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

    def settings(self) -> dict[str, Any]:
        """The choices by name."""
        return dataclasses.asdict(self)


def trial_key(task: Task, recipe: Recipe, *, method: str, seed: int, fold: int) -> str:
    """The hash of everything that decides a trial's result. Equal keys, equal numbers.

    Args:
        task: its fingerprint enters.
        recipe: all of it enters.
        method: the arm's label with all its parameters spelled out.
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
        "seed": seed,
        "fold": fold,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
