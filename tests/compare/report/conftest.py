"""Records of comparisons that were never run, as real ones look."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vicinal.compare.records import Gallery, ReliabilityBin, RunRecord, Sample, TrialRecord
from vicinal.compare.report import render, write_report
from vicinal.compare.statistics import judge
from vicinal.compare.usage import Usage
from vicinal.compare.verdict import Verdict

METHODS = ("none", "mixup", "cutmix:alpha=0.5", "randaugment")
ANIMALS = ("cat", "dog", "frog", "horse")
COLUMNS = ("mean radius", "mean texture", "mean area", "smoothness", "symmetry", "worst area")


@dataclass(frozen=True)
class Story:
    """Everything that a report is made of."""

    run: RunRecord
    trials: Sequence[TrialRecord]
    verdicts: Sequence[Verdict]
    gallery: Gallery
    usage: Usage

    @property
    def page(self) -> str:
        return render(self.run, self.trials, self.verdicts, self.gallery, self.usage)

    def write(self, path: Path) -> None:
        write_report(path, self.run, self.trials, self.verdicts, self.gallery, self.usage)


def make_story(
    *,
    methods: Sequence[str] = METHODS,
    gains: Sequence[float] = (0.0, 0.021, 0.004, -0.03),
    seeds: int = 5,
    folds: int = 1,
    kind: str = "classification",
    classes: Sequence[str] = ANIMALS,
    tables: bool = False,
    failed: Sequence[tuple[str, int]] = (),
    **run: Any,
) -> Story:
    """A comparison whose methods gain about so much over the first.

    Args:
        methods: labels; the first is the baseline.
        gains: of each method, in the metric; for those beyond the last, 0.
        seeds: every method is trained with each.
        folds: on each of which it is trained.
        kind: classification or regression.
        classes: names.
        tables: the samples are rows of numbers and not pictures.
        failed: method and seed of trainings that failed.
        run: fields of the run to replace.
    """
    chance = random.Random(0)
    classes = tuple(classes) if kind == "classification" else ()
    gain = dict(zip(methods, [*gains, *[0.0] * len(methods)], strict=False))
    luck = {pair: chance.gauss(0, 0.01) for pair in _pairs(seeds, folds)}
    trials = [
        failed_trial(method, seed, fold)
        if (method, seed) in failed
        else _trial(method, (seed, fold), luck[seed, fold] + gain[method], kind, classes, chance)
        for seed, fold in luck
        for method in methods
    ]
    name = "accuracy" if classes else "rmse"
    scores: dict[str, dict[tuple[int, int], float]] = {method: {} for method in methods}
    for one in trials:
        if one.state == "done":
            scores[one.method][one.seed, one.fold] = one.metrics[name]
    verdicts = judge(
        scores,
        methods[0],
        higher_is_better=bool(classes),
        granularity=1 / 500 if classes else 0.0,
        overlap=0.25 if folds > 1 else 0.0,
    )
    sign = 1 if classes else -1
    helping = [one for one in verdicts if one.word == "helps"]
    best = max(helping, key=lambda one: sign * one.difference, default=None)
    label = None if best is None else best.method
    fields: dict[str, Any] = {
        "name": "pets",
        "command": f"vicinal compare pets/ --methods {','.join(methods)} --seeds {seeds}",
        "created": "2025-03-04T05:06:07+00:00",
        "task": _task(kind, classes, folds, tables),
        "settings": _settings(seeds, folds),
        "reasons": {"epochs": "30,000 steps in all, as small data needs many", "crop": "side / 8"},
        "methods": list(methods),
        "left_out": {"mirror": "digits do not keep their meaning when mirrored"},
        "environment": {"vicinal": "0.1.0", "torch": "2.14.0", "python": "3.11.2", "cores": "2"},
        "overlap": 0.25 if folds > 1 else 0.0,
    }
    usage = Usage(
        label=label,
        python="import vicinal\n\naugmentation = vicinal.Mixup(alpha=1.0)\n"
        "x, target = augmentation(x, y)\nloss = target.loss(model(x))",
        yaml=f"data: pets/\nmethods:\n- none\n- {label or 'none'}\nepochs: 30",
    )
    gallery = _table_gallery(methods, chance) if tables else picture_gallery(methods, classes)
    return Story(RunRecord(**fields | run), trials, verdicts, gallery, usage)


def failed_trial(method: str, seed: int, fold: int = 0) -> TrialRecord:
    """A training whose loss ran away."""
    error = "the loss is inf in epoch 3: try a lower --learning-rate"
    return TrialRecord(f"{method}{seed}{fold}", method, seed, fold, "failed", error=error)


def _pairs(seeds: int, folds: int) -> list[tuple[int, int]]:
    return [(seed, fold) for seed in range(seeds) for fold in range(folds)]


def _trial(
    method: str,
    pair: tuple[int, int],
    shift: float,
    kind: str,
    classes: Sequence[str],
    chance: random.Random,
) -> TrialRecord:
    own = shift + chance.gauss(0, 0.006)
    is_classifier = kind == "classification"
    final = round((0.84 + own) * 500) / 500 if is_classifier else 53.0 * (1 + own)
    per_class = {c: min(1.0, max(0.0, final + chance.gauss(0, 0.05))) for c in classes}
    metrics = {"accuracy": final, "nll": 0.52 - own, "ece": 0.061 - own, "brier": 0.2}
    if not is_classifier:
        metrics = {"rmse": final, "mae": final * 0.8, "r2": 0.47 - own}
    epochs = 30
    judged = {3 * (i + 1) for i in range(10)}
    start = final - (0.5 if is_classifier else -30)
    course = [final + (start - final) * (1 - e / (epochs - 1)) ** 3 for e in range(epochs)]
    loss = [2.2 * math.exp(-e / 9) + 0.15 + abs(chance.gauss(0, 0.02)) for e in range(epochs)]
    held_out = [v if e + 1 in judged else math.nan for e, v in enumerate(course)]
    return TrialRecord(
        key=f"{method}{pair}",
        method=method,
        seed=pair[0],
        fold=pair[1],
        state="done",
        metrics=metrics,
        curves={"train loss": loss, f"held-out {'accuracy' if classes else 'rmse'}": held_out},
        reliability=_bins(own) if is_classifier else [],
        per_class=per_class,
        seconds=41.0 * (1.08 if ":" in method else 1.0),
        wall_seconds=44.0,
        steps=3000,
        finished="2025-03-04T06:00:00+00:00",
    )


def _bins(shift: float) -> list[ReliabilityBin]:
    """Fifteen bins of an over-confident classifier; the lowest ones are empty."""
    bins = []
    for i in range(15):
        low, high = i / 15, (i + 1) / 15
        if i < 4:
            bins.append(ReliabilityBin(low, high, 0, math.nan, math.nan))
            continue
        middle = (low + high) / 2
        accuracy = max(0.0, middle - 0.16 * math.sin(math.pi * middle) + shift)
        bins.append(ReliabilityBin(low, high, 2 + (i - 3) ** 2, middle, accuracy))
    return bins


def _task(kind: str, classes: Sequence[str], folds: int, tables: bool) -> dict[str, Any]:
    return {
        "modality": "tabular" if tables else "image",
        "kind": kind,
        "classes": list(classes),
        "rows": 2500,
        "shape": [6] if tables else [3, 32, 32],
        "training": 2000,
        "held_out": 500,
        "splits": folds,
        "notes": [
            "2 files skipped: train/cat/0007.jpg (truncated), train/dog/x.gif (no image)",
            "14 images of other sizes were brought to 32 x 32",
        ],
        "fingerprint": "9f86d081884c7d659a2feaa0c55ad015",
        "source": "pets/",
        "target": None,
    }


def _settings(seeds: int, folds: int) -> dict[str, Any]:
    return {
        "model": "small-resnet",
        "epochs": 30,
        "batch_size": 128,
        "optimiser": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 0.0005,
        "crop": 4,
        "flip": True,
        "folds": folds if folds > 1 else None,
        "holdout": 0.2,
        "device": "cpu",
        "precision": "32-true",
        "threads": 2,
        "seeds": seeds,
        "first_seed": 0,
        "workers": 1,
    }


def picture_gallery(methods: Sequence[str], classes: Sequence[str], *, side: int = 96) -> Gallery:
    """Eight pictures a method, each of one colour with a box of another pasted into it."""
    from PIL import Image

    gallery: Gallery = {}
    for row, method in enumerate(("original", *methods)):
        samples = []
        for column in range(8):
            image = Image.new("RGB", (side, side), (30 * column, 120, 255 - 30 * column))
            if row > 1:
                box = Image.new("RGB", (side // 3, side // 3), (250, 40 * row % 250, 90))
                image.paste(box, (10 * column % side, 10))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            one = classes[column % len(classes)] if classes else "151"
            other = classes[(column + 1) % len(classes)] if classes else ""
            mixed = row == 2 and classes
            caption = f"{one} 0.70, {other} 0.30" if mixed else one
            samples.append(Sample(buffer.getvalue(), caption))
        gallery[method] = samples
    return gallery


def _table_gallery(methods: Sequence[str], chance: random.Random) -> Gallery:
    """Rows of numbers; the baseline leaves them alone, every other method halves them."""
    rows = [{name: chance.uniform(1, 100) for name in COLUMNS} for _ in range(8)]
    captions = [ANIMALS[i % 2] for i in range(8)]
    gallery: Gallery = {
        name: [Sample(b"", text, row) for text, row in zip(captions, rows, strict=True)]
        for name in ("original", methods[0])
    }
    for method in methods[1:]:
        halves = [{name: value / 2 for name, value in row.items()} for row in rows]
        gallery[method] = [
            Sample(b"", "cat 0.70, dog 0.30", {**row, "symmetry": before["symmetry"]})
            for row, before in zip(halves, rows, strict=True)
        ]
    return gallery


@pytest.fixture(scope="session")
def story() -> Callable[..., Story]:
    """Makes the records of a comparison; see `make_story`."""
    return make_story
