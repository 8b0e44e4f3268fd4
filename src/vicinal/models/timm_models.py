"""Models of the timm library by their names, for inputs of any size."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from torch import nn

from vicinal.core.errors import InputError
from vicinal.core.modules import one_line
from vicinal.models.shapes import image_shape


def is_timm_name(name: str) -> bool:
    """Whether timm has a model of that name, with or without the tag of its weights."""
    import timm

    return bool(timm.is_model(name))


def timm_names() -> list[str]:
    """The names of all models in timm."""
    import timm

    return list(timm.list_models())


def build_from_timm(
    name: str, settings: Mapping[str, str], *, input_shape: tuple[int, ...], outputs: int
) -> nn.Module:
    """A timm model without pretrained weights. Nothing is downloaded.

    Models whose size is fixed when they are made, such as vision transformers, are made for the
    size of the inputs.

    Args:
        name: as timm has it.
        settings: further arguments of `timm.create_model`, as typed: `{"patch_size": "4"}`.
        input_shape: (C, H, W) of an image.
        outputs: numbers that the model gives for a sample.

    Raises:
        InputError: timm refuses an argument.
        ValueError: the inputs are no images.
    """
    import timm

    channels, height, width = image_shape(input_shape)
    arguments = {key: _value(text) for key, text in settings.items()}
    described = timm.get_pretrained_cfg(name)
    if described is not None and described.fixed_input_size:
        arguments.setdefault("img_size", (height, width))
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=outputs, in_chans=channels, **arguments
        )
    except Exception as error:  # whatever a model's constructor raises
        raise InputError(
            f"timm cannot make {name!r} with {arguments}: {one_line(error)}"
        ) from error
    return model


def _value(text: str) -> Any:
    """`4`, `0.1`, `True` and `(2, 2)` are what they look like, anything else is a text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
