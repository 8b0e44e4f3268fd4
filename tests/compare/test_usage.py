"""The lines that a comparison hands out run as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from vicinal.compare.request import Request, asked, read_config
from vicinal.compare.usage import python_lines, usage
from vicinal.core import registry
from vicinal.methods.arms import KINDS, parse_arm
from vicinal.testing import make_batch
from vicinal.testing.network import Network

ARMS = sorted({c.card.name for kind in KINDS for c in registry.components(kind)})


class Convolutions(nn.Module):
    """A model with the layers that the examples name."""

    def __init__(self, outputs: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage1 = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage1(self.stem(x.float()).relu()).mean(dim=(2, 3)))


class Words(nn.Module):
    """A model of word ids."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids).mean(dim=1)


@pytest.mark.parametrize("name", ARMS)
def test_the_lines_of_every_arm_train(name: str) -> None:
    arm = parse_arm(name)
    lines = python_lines(arm)
    assert lines.startswith("import ")
    raw = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    sees_raw = arm.card.stage == "raw" and arm.card.name != "manifold_mixup"
    x = raw if sees_raw else raw / 255
    y = torch.arange(6) % 5
    numbers = "classes" not in arm.card.targets
    names = {
        "x": x,
        "y": y,
        "x_train": x,
        "y_train": y.float() if numbers else y,
        "rows": torch.tensor([4, 0, 3]),
        "model": Convolutions(1 if numbers else 5),
        "make_model": Convolutions,
        "normalise": lambda images: images / 255,
    }
    if arm.card.modality == ("text",):
        names |= {"x_train": torch.randint(1, 9, (6, 7)), "model": Words()}
    if arm.card.modality == ("points",):
        scenes = make_batch("points", 6)
        names |= {"x": scenes.x, "y": scenes.target, "model": Network.of(scenes)}
        exec(lines, names)
        assert len(names["x"]["position"]) > 0
        names["loss"].backward()
        return
    exec(lines, names)
    x, loss = names["x"], names.get("loss")
    assert isinstance(x, torch.Tensor)
    assert x.shape[1:] == raw.shape[1:]
    if "loss" in lines:
        assert isinstance(loss, torch.Tensor)
        loss.backward()


def test_an_augmentation_that_asks_the_model_is_shown_asking() -> None:
    asking = [
        arm
        for kind in ("mixer", "policy", "transform")
        for one in registry.components(kind)
        # A method may have the name, and says itself how it is used.
        if one.probes and (arm := parse_arm(one.card.name)).component is one
    ]
    assert asking
    for arm in asking:
        assert "ask(augmentation.probes" in python_lines(arm)
    assert "ask(" not in python_lines(parse_arm("cutmix"))


def test_what_has_to_be_fitted_is_shown_fitted_to_all_training_rows() -> None:
    lines = python_lines(parse_arm("c_mixup:bandwidth=0.5"))
    assert "data = vicinal.Batch.of(x_train, vicinal.RegressionTarget(y_train))" in lines
    assert "augmentation = vicinal.CMixup(bandwidth=0.5).fit(data)" in lines
    assert "augmentation(data[rows])" in lines
    assert "fit(" not in python_lines(parse_arm("mixup"))


def test_given_parameters_are_in_the_lines() -> None:
    augmix = python_lines(parse_arm("augmix:severity=5:consistency=6"))
    assert "AugMix(severity=5.0, width=3, depth=-1, alpha=1.0)" in augmix
    assert "+ 6.0 * jensen_shannon" in augmix
    assert "Mixup(alpha=2.0, " in python_lines(parse_arm("manifold_mixup"))  # not mixup's own
    assert "vicinal.CutMix(alpha=0.5)" in python_lines(parse_arm("cutmix:alpha=0.5"))
    assert "smooth(smoothing=0.05)" in python_lines(parse_arm("label_smoothing:smoothing=0.05"))


def test_the_yaml_is_a_configuration_that_asks_for_the_same(tmp_path: Path) -> None:
    request = Request(
        data="rows.csv", methods="none,mixup:alpha=0.5", target="y", drop=("id",), folds=3, seeds=2
    )
    lines = usage(parse_arm("mixup:alpha=0.5"), settings=asked(request), winner=True)
    path = tmp_path / "winner.yaml"
    path.write_text(lines.yaml)
    assert Request(**read_config(path)) == request


def test_without_a_winner_no_label_is_given() -> None:
    assert usage(parse_arm("none"), settings={}, winner=False).label is None
