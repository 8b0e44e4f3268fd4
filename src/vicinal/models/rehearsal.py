"""One forward pass before any training, to find out what a model does with inputs of a shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from vicinal.core.modes import in_mode
from vicinal.core.ragged import Ragged

#: Samples in the pass.
ROWS = 2
#: Points of a scene in it.
POINTS = 20


def rehearse(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    layers: Iterable[str] = (),
    points: bool = False,
) -> tuple[Any, dict[str, list[Any]]]:
    """Run a model once, in evaluation mode and without gradients, and leave it as it was.

    Args:
        model: takes one batch of samples.
        input_shape: of a sample.
        layers: names of modules to listen to, as in `model.named_modules()`.
        points: the samples are scenes of `POINTS` points each, with features of that shape.

    Returns:
        What the model returned for a batch of two, and what each layer returned, a value for each
        time it ran.
    """
    heard: dict[str, list[Any]] = {layer: [] for layer in layers}
    generator = torch.Generator().manual_seed(0)
    x: Any = torch.randn(ROWS * POINTS if points else ROWS, *input_shape, generator=generator)
    if points:
        offsets = torch.arange(0, ROWS * POINTS + 1, POINTS)
        position = torch.randn(ROWS * POINTS, 3, generator=generator)
        x = {"position": Ragged(position, offsets)} | (
            {"feature": Ragged(x, offsets)} if input_shape[0] else {}
        )
    handles = [
        model.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, values=values: values.append(output)
        )
        for layer, values in heard.items()
    ]
    try:
        with in_mode([model], training=False), torch.no_grad():
            return model(x), heard
    finally:
        for handle in handles:
            handle.remove()
