"""What each arm does to the user's own samples."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from torch import Tensor

from vicinal.compare.plan import Recipe
from vicinal.compare.records import Gallery, Sample
from vicinal.compare.trial import Arena, deterministic
from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, RegressionTarget
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import Arm
from vicinal.methods.supervised import Supervised

#: Samples shown of each arm, and rows that partners may come from.
SHOWN, DRAWN_FROM = 8, 64
#: Shorter side of a picture in pixels; smaller ones are enlarged without smoothing.
SIDE = 96


def make_gallery(arms: Sequence[Arm], *, task: Task, split: Split, recipe: Recipe) -> Gallery:
    """The same few training samples untouched and as each arm shows them to the model.

    An arm that decides inside the model, or does not say what its batches look like, shows what
    goes into the model.
    """
    gallery: Gallery = {}
    with deterministic(0, recipe.threads):
        arena = Arena(task, split, recipe, seed=0)
        rows = _varied(split.train, task)
        raw = arena.examples.batch(rows, epoch=0)
        still = raw.replace(x=arena.setting.prepare(raw.tensor))
        shown: dict[str, Batch] = {"original": still}
        for arm in arms:
            method = arm.method()
            if isinstance(method, Supervised):
                learner = method.start(arena.setting)
                shown[arm.label] = method.augmented(learner, raw)[0]
        for label, batch in shown.items():
            values = arena.restore(batch.tensor[:SHOWN])
            gallery[label] = [
                _sample(value, batch, place, task, arena) for place, value in enumerate(values)
            ]
    return gallery


def _varied(rows: Tensor, task: Task) -> Tensor:
    """Rows to draw from, the first of them of different classes as far as there are."""
    some = rows[:: max(1, len(rows) // DRAWN_FROM)][:DRAWN_FROM]
    if task.kind == "regression":
        return some
    seen: dict[int, int] = {}
    rank = []
    for label in task.y[some].tolist():
        rank.append(seen.get(label, 0))
        seen[label] = rank[-1] + 1
    return some[torch.tensor(rank).argsort(stable=True)]


def _sample(value: Tensor, batch: Batch, place: int, task: Task, arena: Arena) -> Sample:
    caption = _caption(batch, place, task, arena)
    if task.modality == "image":
        return Sample(_png(value), caption)
    numbers = dict(zip(task.columns, value.tolist(), strict=True))
    return Sample(b"", caption, numbers)


def _caption(batch: Batch, place: int, task: Task, arena: Arena) -> str:
    row = slice(place, place + 1)
    target = None if batch.target is None else batch.target[row]
    if isinstance(target, ClassTarget):
        merged = target.merged()
        weights = merged.dense(task.outputs)[0]
        shown = [(float(weight), task.classes[at]) for at, weight in enumerate(weights)]
        shown = sorted((pair for pair in shown if pair[0] >= 0.005), reverse=True)[:3]
        if len(shown) == 1:
            return shown[0][1]
        return ", ".join(f"{name} {weight:.2f}" for weight, name in shown)
    if isinstance(target, RegressionTarget):
        return f"{float(arena.unscale(target.barycentre)[0]):.4g}"
    return ""


def _png(image: Tensor) -> bytes:
    """A picture. image: (C, H, W) float, 0 to 255."""
    from PIL import Image

    pixels = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if min(picture.size) < SIDE:
        factor = -(-SIDE // min(picture.size))
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    else:
        picture.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
