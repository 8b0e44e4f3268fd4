"""The lines that use an arm outside of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vicinal.core.augmentation import Transform
from vicinal.core.method import Method
from vicinal.core.modules import importable
from vicinal.methods.arms import Arm


@dataclass(frozen=True)
class Usage:
    """How to go on with an arm.

    label: the arm; None where no arm beats the baseline.
    python: lines for a training loop of one's own.
    yaml: a file for `vicinal compare --config`.
    """

    label: str | None
    python: str
    yaml: str


def usage(arm: Arm, *, settings: Mapping[str, Any], winner: bool) -> Usage:
    """The lines for an arm.

    Args:
        arm: the winner, or the baseline where nothing beats it.
        settings: all of the comparison, to be repeated with.
        winner: whether the arm beat the baseline.
    """
    import yaml

    return Usage(
        label=arm.label if winner else None,
        python=python_lines(arm),
        yaml=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True).rstrip(),
    )


def python_lines(arm: Arm) -> str:
    """Lines for a training loop that has `x`, `y` and `model`."""
    if issubclass(arm.component, Method):
        return arm.card.example_with(arm.parameters)
    arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(arm.parameters.items()))
    home = arm.component.__module__
    own = home.partition(".")[0] != "vicinal"
    prefix = "" if own else "vicinal."
    call = f"{prefix}{arm.component.__name__}({arguments})"
    found = [f"from {importable(home)} import {arm.component.__name__}"] if own else []
    built = arm.build()
    if built.unfitted or built.pooled:
        labels = "y_train" if "classes" in arm.card.targets else "vicinal.RegressionTarget(y_train)"
        seen = "raw" if arm.card.stage == "raw" else "as the model sees them"
        lines = [
            "import vicinal",
            *found,
            "",
            f"# once, with all training rows, {seen}",
            f"data = vicinal.Batch.of(x_train, {labels})",
            f"augmentation = {call}.fit(data)",
            "",
            "# in the training loop, with some rows of the data, (B,) int64",
            "batch = augmentation(data[rows])",
            "loss = batch.target.loss(model(batch.x))",
        ]
        return "\n".join(lines)
    asks = bool(built.probes)
    lines = [*(found or ["import vicinal"]), "", f"augmentation = {call}", ""]
    if asks:
        lines[:1] = ["import vicinal", *found, "from vicinal.core.probe import ask"]
        lines += [
            "# in the training loop, on the batch as the model sees it; the model is asked first",
            'batch = ask(augmentation.probes, {"model": model}, vicinal.Batch.of(x, y))',
            "batch = augmentation(batch)",
            "loss = batch.target.loss(model(batch.x))",
        ]
    elif not issubclass(arm.component, Transform) or "elements" in arm.card.targets:
        # The target changes with the samples.
        lines += [
            "# in the training loop, on the batch as the model sees it",
            "x, target = augmentation(x, y)",
            "loss = target.loss(model(x))",
        ]
    else:
        place = "uint8 images (B, C, H, W)" if arm.card.stage == "raw" else "the standardised batch"
        lines += [f"# in the training loop, on {place}", "x = augmentation(x)"]
    return "\n".join(lines)
