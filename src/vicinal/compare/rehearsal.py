"""One step of every arm, to find out what cannot be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vicinal.compare.execute import Ground
from vicinal.compare.training import train
from vicinal.compare.trial import Arena, deterministic
from vicinal.core.errors import InputError
from vicinal.methods.arms import BASELINE, Arm

#: Rows of the one step that every arm takes before training.
REHEARSED_ROWS = 8


def rehearse(ground: Ground, arms: Sequence[Arm]) -> tuple[list[Arm], dict[str, str]]:
    """Let every arm take one step, so that what cannot be trained is found out now.

    Returns:
        The arms that can be trained, and why methods refused the model or the task, by label.

    Raises:
        InputError: the baseline cannot be trained, or an arm breaks down.
    """
    split = ground.splits[0]
    fit: list[Arm] = []
    left_out: dict[str, str] = {}
    with deterministic(0, ground.recipe.threads):
        arena = Arena(ground.task, split, ground.recipe, seed=0)
        setting = dataclasses.replace(arena.setting, steps=1)
        size = min(arena.batch_size, REHEARSED_ROWS)
        for arm in arms:
            try:
                train(
                    arm.method(),
                    setting,
                    arena.examples,
                    rows=arena.rows,
                    parts=arena.parts,
                    batch_size=size,
                    epochs=1,
                )
                fit.append(arm)
            except InputError:
                raise
            except (ValueError, TypeError, RuntimeError) as error:
                line = " ".join(str(error).split())
                if isinstance(error, ValueError) and arm.label != BASELINE:
                    left_out[arm.label] = f"with {ground.recipe.model}: {line}"
                    continue
                raise InputError(f"{arm.label} with {ground.recipe.model}: {line}") from None
    return fit, left_out
