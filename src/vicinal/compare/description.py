"""What the record of a run says of its data, settings and machine."""

from __future__ import annotations

import os
import platform
from typing import Any

from vicinal.compare.execute import Ground
from vicinal.compare.plan import Recipe
from vicinal.compare.request import Request
from vicinal.core.task import Task


def describe_task(task: Task, ground: Ground) -> dict[str, Any]:
    """What the record of a run says of its data."""
    return {
        "modality": task.modality,
        "kind": task.kind,
        "classes": list(task.classes),
        "rows": len(task),
        "shape": list(task.sample_shape),
        "training": len(ground.splits[0].train),
        "held_out": len(ground.splits[0].test),
        "splits": len(ground.splits),
        "notes": [*task.notes, *_unused(task, ground), *_hidden(ground)],
        "fingerprint": task.fingerprint,
    }


def _unused(task: Task, ground: Ground) -> list[str]:
    if task.test_rows is None or ground.recipe.folds is None:
        return []
    return [f"the test part of {len(task.test_rows):,} rows is not used: folds are of the others"]


def _hidden(ground: Ground) -> list[str]:
    """What there is to say of labels that are hidden."""
    count = ground.recipe.labels_per_class
    if count is None:
        return []
    rows, known = len(ground.splits[0].train), count * len(ground.task.classes)
    return [
        f"the labels of {known:,} training rows are known, {count} of each class, drawn for each "
        f"seed: epochs and steps are counted on them, for every arm alike; the other "
        f"{rows - known:,} rows come without labels, to arms that learn from such rows"
    ]


def describe_settings(request: Request, recipe: Recipe) -> dict[str, Any]:
    settings = recipe.settings()
    settings.pop("model_fingerprint")
    return settings | {
        "seeds": request.seeds,
        "first_seed": request.first_seed,
        "workers": request.workers,
    }


def environment(recipe: Recipe) -> dict[str, str]:
    """Versions and machine."""
    from importlib import metadata

    import torch

    packages = ("vicinal", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "datasets")
    found = {name: metadata.version(name) for name in packages}
    if recipe.device == "cuda":
        found["device"] = torch.cuda.get_device_name()
    return found | {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
