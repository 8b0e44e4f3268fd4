"""One forward pass before any training, to find out what a model does with inputs of a shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from vicinal.core.modes import in_mode

#: Samples in the pass.
ROWS = 2


def rehearse(
    model: nn.Module, input_shape: tuple[int, ...], *, layers: Iterable[str] = ()
) -> tuple[Any, dict[str, list[Any]]]:
    """Run a model once, in evaluation mode and without gradients, and leave it as it was.

    Args:
        model: takes one batch of samples.
        input_shape: of a sample.
        layers: names of modules to listen to, as in `model.named_modules()`.

    Returns:
        What the model returned for a batch of two, and what each layer returned, a value for each
        time it ran.
    """
    heard: dict[str, list[Any]] = {layer: [] for layer in layers}
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, *input_shape, generator=generator)
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
