"""A forward pass in which the output of one layer is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.errors import InputError, nearest


@contextmanager
def replace_output(
    model: nn.Module, layer: str, function: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """While it is open, what a layer puts out goes through a function before later layers see it.

    Nothing is left behind on the model, whatever is raised inside. A model made by `torch.compile`
    runs without its compiled code meanwhile, since that code has no place for the function.

    Args:
        model: bare or wrapped.
        layer: a module's name, as in `model.named_modules()`.
        function: called once in every forward pass of the model, with the layer's output.

    Raises:
        InputError: the model has no such layer.
        ValueError: in the forward pass: the layer does not put out one tensor, or it does not run
            exactly once, so that the function would be left out or applied twice.
    """
    modules = dict(model.named_modules())
    if not layer or layer not in modules:
        names = [name for name in modules if name]
        close = nearest(layer, names) if len(names) < 20 else "see vicinal.models.layer_names"
        raise InputError(f"the model has no layer {layer!r}: {close}")
    runs = 0

    def begin(_model: nn.Module, _inputs: Any) -> None:
        nonlocal runs
        runs = 0

    def replace(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        nonlocal runs
        runs += 1
        if not isinstance(output, Tensor):
            raise ValueError(f"layer {layer!r} puts out a {type(output).__name__}, not a tensor")
        return function(output)

    def end(_model: nn.Module, _inputs: Any, _output: Any) -> None:
        if runs != 1:
            raise ValueError(f"layer {layer!r} runs {runs} times in a forward pass, not once")

    with ExitStack() as stack:
        if any(is_compiled(name, module) for name, module in modules.items()):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for handle in (
            model.register_forward_pre_hook(begin),
            modules[layer].register_forward_hook(replace),
            model.register_forward_hook(end),
        ):
            stack.callback(handle.remove)
        yield


def is_compiled(name: str, module: nn.Module) -> bool:
    """Whether it is what `torch.compile(model)` wraps, or has been through `model.compile()`."""
    return name.rpartition(".")[2] == "_orig_mod" or module._compiled_call_impl is not None
