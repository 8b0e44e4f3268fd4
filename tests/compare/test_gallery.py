"""The gallery shows the user's own samples, as each arm shows them to the model."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal.compare.gallery import SHOWN, SIDE, make_gallery
from vicinal.compare.plan import Recipe
from vicinal.compare.records import Gallery, Sample
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import parse_arms


def recipe(model: str, **fields: object) -> Recipe:
    settings: dict[str, object] = {
        "model": model,
        "model_fingerprint": "",
        "epochs": 1,
        "batch_size": 8,
        "optimiser": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "crop": 0,
        "flip": False,
        "folds": None,
        "holdout": 0.2,
        "device": "cpu",
        "precision": "32-true",
        "threads": 1,
    }
    return Recipe(**(settings | fields))  # type: ignore[arg-type]


def flat_images() -> Task:
    """Image i has the value 8 i everywhere, and class i % 3."""
    rows = torch.arange(30)
    x = (8 * rows).to(torch.uint8)[:, None, None, None].expand(30, 3, 8, 8).contiguous()
    return Task("flat", "image", "classification", x, rows % 3, classes=("ant", "bee", "cat"))


def gallery(methods: str) -> Gallery:
    task = flat_images()
    split = Split(torch.arange(24), torch.arange(24, 30))
    return make_gallery(parse_arms(methods), task=task, split=split, recipe=recipe("small-resnet"))


def pixels(sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sample.picture)))


def test_the_original_is_shown_as_it_is_and_large_enough_to_see() -> None:
    shown = gallery("none")["original"]
    assert len(shown) == SHOWN
    for sample in shown:
        values = pixels(sample)
        assert min(values.shape[:2]) >= SIDE
        assert values.min() == values.max()
        assert values[0, 0, 0] % 8 == 0


def test_the_first_samples_are_of_different_classes() -> None:
    captions = [sample.caption for sample in gallery("none")["original"]]
    assert set(captions[:3]) == {"ant", "bee", "cat"}


def test_the_baseline_without_crop_and_flip_changes_nothing() -> None:
    shown = gallery("none")
    assert shown["none"] == shown["original"]


def test_of_several_versions_each_sample_shows_another_one() -> None:
    shown = gallery("orbit,none")
    assert shown["orbit"] == shown["original"]  # flat images look the same, and are their own
    task = flat_images()
    ramp = torch.arange(8, dtype=torch.uint8).repeat(30, 3, 8, 1)
    task = dataclasses.replace(task, x=task.x // 2 + ramp * 16)
    split = Split(torch.arange(24), torch.arange(24, 30))
    shown = make_gallery(parse_arms("orbit"), task=task, split=split, recipe=recipe("small-resnet"))
    for place, (before, after) in enumerate(zip(shown["original"], shown["orbit"], strict=True)):
        assert np.array_equal(pixels(after), np.rot90(pixels(before), place % 4))
        assert after.caption == before.caption


def test_mixed_labels_are_in_the_caption_with_the_weights_of_the_pixels() -> None:
    shown = gallery("cutmix:alpha=8")
    for before, after in zip(shown["original"], shown["cutmix:alpha=8"], strict=True):
        own = pixels(before)[0, 0, 0]
        share = float((pixels(after)[:, :, 0] == own).mean())
        parts = dict(part.rsplit(" ", 1) for part in after.caption.split(", ") if " " in part)
        if parts:
            assert float(parts[before.caption]) == pytest.approx(share, abs=0.006)
    assert any(", " in sample.caption for sample in shown["cutmix:alpha=8"])


def test_columns_show_the_same_samples_in_every_arm() -> None:
    shown = gallery("none,label_smoothing,cutout")
    assert [sample.caption for sample in shown["label_smoothing"]] == [
        sample.caption for sample in shown["original"]
    ]
    assert len(shown["cutout"]) == SHOWN


def test_regression_is_captioned_in_the_targets_unit_and_tables_show_their_values() -> None:
    x = torch.arange(40.0).view(20, 2)
    y = torch.linspace(100, 290, 20)
    task = Task("line", "tabular", "regression", x, y, columns=("left", "right"))
    split = Split(torch.arange(16), torch.arange(16, 20))
    shown = make_gallery(parse_arms("none,mixup"), task=task, split=split, recipe=recipe("mlp"))
    assert [sample.caption for sample in shown["original"]][:3] == ["100", "110", "120"]
    assert shown["original"][1].values == pytest.approx({"left": 2.0, "right": 3.0}, abs=1e-4)
    for sample in shown["mixup"]:
        # Inputs and targets are mixed with one weight, so the line stays a line.
        assert float(sample.caption) == pytest.approx(100 + 5 * sample.values["left"], abs=0.06)


def test_partners_from_all_training_rows_are_shown() -> None:
    # Rows 2 i and 2 i + 1 have one target; of the 128 rows every second is drawn from.
    x = torch.arange(160.0)[:, None].expand(160, 2).contiguous()
    task = Task("steps", "tabular", "regression", x, x[:, 0] // 2, columns=("left", "right"))
    split = Split(torch.arange(128), torch.arange(128, 160))
    arms = parse_arms("c_mixup:bandwidth=0.001")
    shown = make_gallery(arms, task=task, split=split, recipe=recipe("mlp"))
    between = 0
    for before, after in zip(shown["original"], shown[arms[0].label], strict=True):
        assert after.caption == before.caption
        step = after.values["left"] - before.values["left"]
        assert -1e-3 < step < 1 + 1e-3
        between += step > 1e-3
    assert between > 0
