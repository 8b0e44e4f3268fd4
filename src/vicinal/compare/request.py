"""What a user asks of a comparison: flags and a configuration file, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicinal.core.errors import InputError, nearest

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
OPTIMISERS = ("sgd", "adamw")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Request:
    """A comparison as asked for; None leaves a choice to the data.

    data: a folder, a file, or the name of an embedded data set.
    methods: arms as typed; None takes the usual ones that fit the data.
    components: modules or files of Python whose components can be named as methods.
    target, columns, drop, kind: of a table.
    image_size: side in pixels that images are brought to.
    seeds: trials of each arm on each split. first_seed: the lowest of them.
    folds: of cross-validation. holdout: share held out where neither folds nor a test part are
        there; 0.2 by default.
    controls: compare with the arms, too, that the methods' cards name to unmask them.
    labels_per_class: training rows of each class whose labels are known; the other rows are
        unlabelled.
    out: folder of the results. store: database URL.
    workers: trials side by side. threads: of each trial.
    """

    data: str
    methods: str | None = None
    components: tuple[str, ...] = ()
    target: str | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    kind: str | None = None
    image_size: int | None = None
    seeds: int = 3
    first_seed: int = 0
    folds: int | None = None
    holdout: float | None = None
    labels_per_class: int | None = None
    controls: bool = False
    model: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimiser: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    crop: int | None = None
    flip: bool | None = None
    device: str = "auto"
    precision: str = "32-true"
    workers: int = 1
    threads: int | None = None
    out: str | None = None
    store: str | None = None

    def __post_init__(self) -> None:
        _at_least(1, seeds=self.seeds, epochs=self.epochs, batch_size=self.batch_size)
        _at_least(1, workers=self.workers, threads=self.threads)
        _at_least(1, labels_per_class=self.labels_per_class)
        _at_least(0, first_seed=self.first_seed, crop=self.crop)
        _at_least(2, folds=self.folds)
        _at_least(4, image_size=self.image_size)
        if self.batch_size is not None and self.batch_size < 2:
            raise InputError(f"--batch-size must be at least 2, got {self.batch_size}")
        if self.first_seed + self.seeds > 1 << 31:
            raise InputError(f"--first-seed must be below {1 << 31}, got {self.first_seed}")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise InputError(f"--holdout must lie between 0 and 1, got {self.holdout}")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise InputError(f"--learning-rate must be positive, got {self.learning_rate}")
        if self.weight_decay is not None and not 0 <= self.weight_decay < float("inf"):
            raise InputError(f"--weight-decay must not be negative, got {self.weight_decay}")
        _one_of(PRECISIONS, precision=self.precision)
        _one_of(OPTIMISERS, optimiser=self.optimiser)
        _one_of(DEVICES, device=self.device)
        _one_of(("classification", "regression"), kind=self.kind)
        if self.methods is not None and not self.methods.strip(", "):
            raise InputError("--methods is empty: name at least one, such as none,mixup")


def asked(request: Request) -> dict[str, Any]:
    """The settings that are not the defaults, as a configuration file has them."""
    fields = {field.name: field.default for field in dataclasses.fields(Request)}
    settings = {name: getattr(request, name) for name in fields}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in settings.items()
        if value != fields[name]
    }


def flag(name: str) -> str:
    """How a field is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{flag(name)} must be at least {least}, got {value}")


def _one_of(known: tuple[str, ...], **values: str | None) -> None:
    for name, value in values.items():
        if value is not None and value not in known:
            raise InputError(f"{flag(name)} must be one of {', '.join(known)}, got {value!r}")


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, named as the flags are, with - or _.

    Raises:
        InputError: the file is not there, is no mapping, or has a name or value that does not fit.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"--config {path} is not YAML: {line}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise InputError(f"--config {path} must hold `name: value` lines")
    types = {field.name: str(field.type) for field in dataclasses.fields(Request)}
    settings: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in types:
            raise InputError(f"--config {path}: unknown setting {key!r}: {nearest(name, types)}")
        settings[name] = _convert(value, types[name], where=f"--config {path}: {key}")
    return settings


def _spec(value: Any) -> str:
    """An item of a list as it is typed: `{cutmix: {alpha: 0.5}}` is `cutmix:alpha=0.5`."""
    if not isinstance(value, Mapping):
        return str(value)
    return ",".join(
        ":".join([str(name), *(f"{key}={one}" for key, one in (settings or {}).items())])
        for name, settings in value.items()
    )


def _convert(value: Any, kind: str, *, where: str) -> Any:
    """A YAML value as the field wants it."""
    if value is None:
        return None
    if kind.startswith("tuple"):
        return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
    if kind.startswith("str"):
        return ",".join(map(_spec, value)) if isinstance(value, list) else str(value)
    if kind.startswith("bool"):
        if isinstance(value, bool):
            return value
        raise InputError(f"{where} must be true or false, got {value!r}")
    wanted = int if kind.startswith("int") else float
    try:
        # YAML reads 1e-3 as a text.
        number = float(value)
        if isinstance(value, bool) or (wanted is int and number != int(number)):
            raise ValueError
        return wanted(number)
    except (ValueError, TypeError, OverflowError):
        noun = "a whole number" if wanted is int else "a number"
        raise InputError(f"{where} must be {noun}, got {value!r}") from None
