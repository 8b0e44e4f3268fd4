"""Requests are checked when they are made, and read from YAML under the names of the flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicinal.compare.request import Request, read_config
from vicinal.core.errors import InputError


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("seeds", 0, "--seeds must be at least 1, got 0"),
        ("epochs", -3, "--epochs must be at least 1, got -3"),
        ("folds", 1, "--folds must be at least 2, got 1"),
        ("labels_per_class", 0, "--labels-per-class must be at least 1, got 0"),
        ("batch_size", 1, "--batch-size must be at least 2, got 1"),
        ("workers", 0, "--workers must be at least 1"),
        ("crop", -1, "--crop must be at least 0"),
        ("holdout", 1.0, "--holdout must lie between 0 and 1"),
        ("learning_rate", 0.0, "--learning-rate must be positive"),
        ("learning_rate", float("nan"), "--learning-rate must be positive"),
        ("weight_decay", -0.1, "--weight-decay must not be negative"),
        ("precision", "8", "--precision must be one of 32-true"),
        ("optimiser", "lion", "--optimiser must be one of sgd, adamw"),
        ("device", "tpu", "--device must be one of auto, cpu, cuda"),
        ("kind", "ranking", "--kind must be one of classification, regression"),
        ("methods", " , ", "--methods is empty"),
        ("methods", "", "--methods is empty"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(
    field: str, value: object, line: str
) -> None:
    with pytest.raises(InputError) as caught:
        Request(data="digits", **{field: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def config(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_a_file_names_settings_as_the_flags_do(tmp_path: Path) -> None:
    text = "data: digits\nmethods: [none, {cutmix: {alpha: 0.5}}, mixup: ]\nepochs: 5\n"
    text += "learning-rate: 1e-3\nflip: false\ndrop: id\nfolds: null\n"
    read = read_config(config(tmp_path, text))
    assert read == {
        "data": "digits",
        "methods": "none,cutmix:alpha=0.5,mixup",
        "learning_rate": 1e-3,
        "epochs": 5,
        "flip": False,
        "drop": ("id",),
        "folds": None,
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epoch: 3", "unknown setting 'epoch': did you mean epochs"),
        ("epochs: many", "epochs must be a whole number, got 'many'"),
        ("epochs: 2.5", "epochs must be a whole number, got 2.5"),
        ("seeds: true", "seeds must be a whole number, got True"),
        ("flip: 1", "flip must be true or false"),
        ("- epochs", "must hold `name: value` lines"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, text: str, line: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_config(config(tmp_path, text))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_config(config(tmp_path, "# nothing\n")) == {}


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"--config absent\.yaml: No such file"):
        read_config("absent.yaml")
