"""The names of models as they are typed, and what they stand for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vicinal.core.errors import InputError, nearest
from vicinal.models.mlp import MLP
from vicinal.models.small_point_net import SmallPointNet
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT
from vicinal.models.timm_models import is_timm_name, timm_names

OwnModel = type[SmallResNet] | type[SmallViT] | type[MLP] | type[SmallPointNet]

OWN: Mapping[str, OwnModel] = {
    "mlp": MLP,
    "small-point-net": SmallPointNet,
    "small-resnet": SmallResNet,
    "small-vit": SmallViT,
}


@dataclass(frozen=True)
class ModelName:
    """A name taken apart.

    kind: where the model comes from.
    base: the name without settings; of a factory, all of it.
    settings: as typed, by name.
    """

    kind: Literal["own", "timm", "factory"]
    base: str
    settings: Mapping[str, str]


def model_names(*, timm: bool = False) -> list[str]:
    """The names that can be typed, apart from factories. timm: with all of timm's."""
    return sorted(OWN) + (timm_names() if timm else [])


def parse_name(name: str) -> ModelName:
    """Take a name apart: `small-resnet:width=32:blocks=2`, `resnet18`, `package.module:factory`.

    Raises:
        InputError: it stands for nothing; the nearest names are offered.
    """
    base, colon, rest = name.strip().partition(":")
    if base not in OWN:
        if name.rpartition(":")[2].isidentifier() and colon:
            return ModelName("factory", name.strip(), {})
        if base.endswith(".py"):
            raise InputError(f"model {name!r}: say which function makes it: {base}:function")
    kind: Literal["own", "timm"] = "own" if base in OWN else "timm"
    if kind == "timm" and not is_timm_name(base):
        close = difflib.get_close_matches(base.lower(), model_names(timm=True), n=3, cutoff=0.6)
        raise InputError(
            f"unknown model {name!r}: {nearest(base, close or OWN)}"
            + ("" if close else ", any name of timm, package.module:factory")
        )
    settings: dict[str, str] = {}
    for setting in re.split("[:,]", rest) if colon else []:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not key or not equals or not value:
            raise InputError(f"model {name!r}: {setting!r} must be written name=value")
        settings[key] = value
    return ModelName(kind, base, settings)


def own_settings(base: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a model of this package, defaults included, with their values.

    Args:
        base: its name.
        typed: those that were given.

    Raises:
        InputError: there is no such setting, or no such value.
    """
    known = OWN[base].settings
    values: dict[str, Any] = {key: one.default for key, one in known.items()}
    for key, text in typed.items():
        if key not in known:
            raise InputError(f"model {base} has no setting {key!r}: {nearest(key, known)}")
        try:
            values[key] = known[key].parse(text)
            known[key].check(key, values[key])
        except ValueError as error:
            problem = str(error) if key in str(error) else f"{key} must be a number, got {text!r}"
            raise InputError(f"model {base}: {problem}") from None
    return values
