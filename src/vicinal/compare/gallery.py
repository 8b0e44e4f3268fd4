"""What each arm does to the user's own samples."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from vicinal.compare.plan import Recipe
from vicinal.compare.records import Gallery, Sample
from vicinal.compare.trial import Arena, deterministic
from vicinal.core.batch import Batch
from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.streams import Part
from vicinal.core.target import ClassTarget, RegressionTarget
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import Arm
from vicinal.methods.supervised import Supervised

#: Of classes of points, told apart by people who see colours differently: Okabe and Ito, 2008.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
#: Margin around the points of a picture, in pixels.
DOT = 4
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
        rows = _varied(arena.rows, task)
        raw = arena.examples.batch(rows, epoch=0)
        still = raw.replace(x=arena.setting.prepare(raw.x))
        shown: dict[str, Batch] = {"original": still}

        def part(name: Part) -> Batch:
            """Nothing is trained: a part is all rows that may be in it."""
            some = arena.parts.get(name, arena.rows)
            return arena.examples.batch(some, epoch=0, labelled=name != "unlabelled")

        setting = dataclasses.replace(arena.setting, part=part)
        for arm in arms:
            method = arm.method()
            if isinstance(method, Supervised):
                learner, phase = method.start(setting), method.phases()[0]
                method.enter(learner, phase, setting.steps)
                pool = part("train") if phase.streams["train"].pooled else None
                batch = method.augmented(learner, raw.replace(pool=pool))[0]
                shown[arm.label] = _one_of_each(batch, raw)
        for label, batch in shown.items():
            if task.modality == "points":
                gallery[label] = _scenes(batch, task)
                continue
            values = arena.restore(batch.tensor[:SHOWN])
            gallery[label] = [
                _sample(value, batch, place, task, arena) for place, value in enumerate(values)
            ]
    return gallery


def _one_of_each(batch: Batch, samples: Batch) -> Batch:
    """A row for each sample: of several versions of it, another one for every next sample."""
    if len(batch) <= len(samples):
        return batch
    _, sample = samples.partners(batch.index)
    versions = sample.argsort(stable=True).view(len(samples), -1)
    place = torch.arange(len(samples), device=versions.device)
    return batch[versions[place, place % versions.shape[1]]]


def _varied(rows: Tensor, task: Task) -> Tensor:
    """Rows to draw from, the first of them of different classes as far as there are."""
    some = rows[:: max(1, len(rows) // DRAWN_FROM)][:DRAWN_FROM]
    if task.kind != "classification":
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


def _scenes(batch: Batch, task: Task) -> list[Sample]:
    """Scenes from above, every point in the colour of its class."""
    target = batch.target
    if not isinstance(target, ElementTarget):
        return []
    samples = []
    rows = zip(batch.x["position"].rows(), target.labels.rows(), strict=True)
    for points, labels in itertools.islice(rows, SHOWN):
        there = torch.unique(labels[labels != IGNORED]).tolist()
        caption = ", ".join(task.classes[label] for label in there)
        samples.append(Sample(_plan(points, labels), caption))
    return samples


def _plan(points: Tensor, labels: Tensor) -> bytes:
    """A picture of points from above. points: (N, 3). labels: (N,) int64."""
    from PIL import Image, ImageDraw

    side = 2 * SIDE
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    scale = (side - 2 * DOT) / (high - low).max().clamp(min=1e-6)
    places = ((points[:, :2] - low) * scale + DOT).tolist()
    for (across, up), label in zip(places, labels.tolist(), strict=True):
        colour = COLOURS[label % len(COLOURS)] if label != IGNORED else "#cccccc"
        place = (across - 1, side - up - 1, across + 1, side - up + 1)
        draw.ellipse(place, fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


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
