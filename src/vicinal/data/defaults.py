"""What to train with when a user says nothing: chosen from the data, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from vicinal.core.task import Task

Optimiser = Literal["sgd", "adamw"]

#: Optimiser steps in all that a small network needs to come near its best. On small tables more do
#: harm: on `diabetes` a perceptron explains 28 % of the variance after 220, 21 % after 440. Digits
#: of 8 x 8 are learnt after 220; on 2,000 photographs of 32 x 32, 620 give 55 % and 930 give 59 %.
STEPS = {"image": 930, "small image": 300, "tabular": 250, "points": 700}
#: Pixels of a side; images up to here are small ones.
SMALL_SIDE = 16
EPOCHS = {"image": (10, 60), "tabular": (10, 60), "points": (10, 100)}
MODELS = {"image": "small-resnet", "tabular": "mlp", "points": "small-point-net"}
BATCHES = (16, 128)
#: Parts of model names whose networks have no convolutions to speak of, and want AdamW.
ATTENTION = ("vit", "deit", "swin", "mixer", "former", "beit", "cait", "eva")


@dataclass(frozen=True)
class Choices:
    """How a task is trained.

    model: a name that `vicinal.models` knows.
    crop: pixels by which an image is padded before it is cut at random; 0 for tables.
    flip: whether images are mirrored at random.
    optimiser: `sgd` with Nesterov momentum of 0.9, or `adamw`; the learning rate is the highest of
        its schedule.
    reasons: a short sentence for each choice, to be shown to the user.
    """

    model: str
    crop: int
    flip: bool
    epochs: int
    batch_size: int
    optimiser: Optimiser
    learning_rate: float
    weight_decay: float
    reasons: dict[str, str] = field(default_factory=dict)


def choose(
    task: Task,
    train_size: int,
    *,
    model: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimiser: Optimiser | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    crop: int | None = None,
    flip: bool | None = None,
) -> Choices:
    """What to train a task with.

    Args:
        task: the data.
        train_size: rows that are trained on, > 0.
        model: what the user wants, like all that follow; None leaves it to the data and to what
            else is given: a learning rate depends on model, optimiser and batch size.
        epochs: likewise.
        batch_size: likewise; never more than there are rows.
        optimiser: likewise.
        learning_rate: likewise.
        weight_decay: likewise.
        crop: likewise.
        flip: likewise.
    """
    if train_size < 1:
        raise ValueError(f"train_size must be positive, got {train_size}")
    given = {name for name, value in locals().items() if value is not None} - {"task", "train_size"}
    image = task.modality == "image"
    network = model or MODELS[task.modality]
    padding = max(1, round(min(task.x.shape[-2:]) / 8)) if image else 0
    batch = usual_batch_size(train_size) if batch_size is None else min(batch_size, train_size)
    kind, rate, decay = optimisation(network, batch, task.modality, optimiser=optimiser)
    choices = Choices(
        model=network,
        crop=padding if crop is None else crop,
        flip=(image and task.mirrors) if flip is None else flip,
        epochs=epochs_for(task, train_size, batch) if epochs is None else epochs,
        batch_size=batch,
        optimiser=kind,
        learning_rate=rate if learning_rate is None else learning_rate,
        weight_decay=decay if weight_decay is None else weight_decay,
    )
    why = dict(reasons(choices, task, train_size))
    if batch_size is not None and batch < batch_size:
        given.remove("batch_size")
        why["batch_size"] = "all training rows: there are no more"
    return replace(choices, reasons=why | dict.fromkeys(given, "as asked for"))


def usual_batch_size(train_size: int) -> int:
    """A power of two with some twenty batches an epoch, from 16 to 128 and never above the data."""
    low, high = BATCHES
    wanted = 1 << int(math.log2(max(1, train_size / 20)))
    return min(train_size, max(low, min(high, wanted)))


def epochs_for(task: Task, train_size: int, batch: int) -> int:
    """As many passes as give the steps that a small network needs, within limits."""
    small = task.modality == "image" and min(task.x.shape[-2:]) <= SMALL_SIDE
    steps = STEPS["small image" if small else task.modality]
    low, high = EPOCHS[task.modality]
    return max(low, min(high, math.ceil(steps / max(1, train_size // batch))))


def optimisation(
    model: str, batch: int, modality: str, *, optimiser: Optimiser | None = None
) -> tuple[Optimiser, float, float]:
    """Optimiser, highest learning rate and weight decay that suit a kind of network."""
    table = modality != "image"
    attention = any(part in model.lower() for part in ATTENTION)
    kind: Optimiser = optimiser or ("adamw" if table or attention else "sgd")
    if kind == "sgd":
        return "sgd", rounded((0.02 if table else 0.1) * batch / 128), 5e-4
    if table:
        return "adamw", 4e-3 if modality == "points" else 1e-3, 1e-2
    # A small ViT at 7e-4 is 5 points worse on CIFAR-10 than at 2e-3; larger ones want less.
    small = model.startswith("small-vit")
    rate = 2.8e-3 if small else 1e-3 if attention else 5e-3
    return "adamw", rounded(rate * math.sqrt(batch / 128)), 5e-2


def rounded(rate: float) -> float:
    """Two digits, as one would write it."""
    return float(f"{rate:.2g}")


def reasons(choices: Choices, task: Task, train_size: int) -> Iterator[tuple[str, str]]:
    """Why each choice was made."""
    image = task.modality == "image"
    yield "model", f"small and fast, for {task.modality} data"
    if image:
        yield "crop", f"an eighth of the side of {min(task.x.shape[-2:])} pixels"
        mirrored = "keeps its meaning" if choices.flip else "may mean something else"
        yield "flip", f"a mirror image {mirrored}"
    else:
        points = task.modality == "points"
        what = "scenes of points" if points else "tables"
        yield "crop", f"{what} are not cropped"
        always = "are turned about z and mirrored before every arm, in any case"
        yield "flip", f"{what} {always if points else 'are not mirrored'}"
    steps = max(1, train_size // choices.batch_size)
    yield "batch_size", f"{steps:,} batches an epoch from {train_size:,} training rows"
    yield "epochs", f"{choices.epochs * steps:,} optimiser steps in all"
    kind = "convolutional networks" if choices.optimiser == "sgd" else "networks with attention"
    yield "optimiser", f"usual for {kind if image else what}"
    yield "learning_rate", "usual for the optimiser, at this batch size"
    yield "weight_decay", "usual for the optimiser"
