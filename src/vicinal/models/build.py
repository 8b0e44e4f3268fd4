"""From the name of a model, as typed, to a network that runs on the data at hand."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vicinal.core.errors import InputError
from vicinal.core.modules import one_line
from vicinal.models.factory import build_from_factory, factory_fingerprint
from vicinal.models.layers import declared_layers, is_mixable, suggested_layers
from vicinal.models.names import OWN, ModelName, own_settings, parse_name
from vicinal.models.rehearsal import POINTS, ROWS, rehearse
from vicinal.models.timm_models import build_from_timm


def build_model(
    name: str, *, input_shape: tuple[int, ...], outputs: int, seed: int, points: bool = False
) -> nn.Module:
    """A network with random weights, in training mode, on the CPU, tried on one batch.

    It has an attribute `mixable_layers`, the names of the layers at which samples may be mixed.

    Args:
        name: one of

            - `small-resnet`, `small-vit`, `mlp`, with settings if need be: `small-resnet:width=32`;
            - a model of timm: `resnet18`, `vit_tiny_patch16_224:patch_size=4`;
            - a factory: `package.module:factory` or `path/to/file.py:factory`, called as
              `build_from_factory` says.
        input_shape: of a sample: (C, H, W), or (D,).
        points: samples are scenes of points, with features of shape (D,) each; the model gives
            outputs for every point.
        outputs: classes, or 1 for regression.
        seed: decides the weights, alone. Global random state is left as it was.

    Raises:
        InputError: there is no such model or setting, it cannot be made, does not take such inputs,
            or does not give (B, outputs) finite numbers.
    """
    parsed = parse_name(name)
    with seeded(seed):
        try:
            model = _make(parsed, input_shape, outputs)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"model {name!r} does not fit: {error}") from None
        _try(model, name, input_shape, outputs=outputs, points=points)
    return model.train()


def model_fingerprint(name: str) -> str:
    """A text that changes when what a name stands for may have changed.

    It holds the settings with their defaults, and the hash of the code or timm's version.

    Args:
        name: as for `build_model`.

    Raises:
        InputError: there is no such model.
    """
    parsed = parse_name(name)
    if parsed.kind == "factory":
        return f"factory:{factory_fingerprint(name)}"
    settings = dict[str, object](parsed.settings)
    if parsed.kind == "timm":
        import timm

        version = f"timm {timm.__version__}"
    else:
        settings = own_settings(parsed.base, parsed.settings)
        code = Path(inspect.getfile(OWN[parsed.base])).read_bytes()
        version = hashlib.sha256(code).hexdigest()
    spelled = [f"{key}={value}" for key, value in sorted(settings.items())]
    return ":".join([parsed.base, *spelled, version])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators that constructors draw from start from a seed; later they are put back.

    PyTorch's layers know no other source; NumPy's and Python's are for users' factories.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    # torch.manual_seed would seed the GPUs' generators too, which fork_rng would have to put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def _make(parsed: ModelName, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    if parsed.kind == "factory":
        return build_from_factory(parsed.base, input_shape=input_shape, outputs=outputs)
    if parsed.kind == "timm":
        return build_from_timm(
            parsed.base, parsed.settings, input_shape=input_shape, outputs=outputs
        )
    settings = own_settings(parsed.base, parsed.settings)
    return OWN[parsed.base](input_shape, outputs, **settings)


def _try(
    model: nn.Module, name: str, input_shape: tuple[int, ...], *, outputs: int, points: bool
) -> None:
    """Run the model once, refuse it if it does not fit, and find out where it can be mixed."""
    declared = declared_layers(model)
    layers = suggested_layers(model) if declared is None else declared
    try:
        output, heard = rehearse(model, input_shape, layers=layers, points=points)
    except Exception as error:  # whatever a user's model raises
        raise InputError(
            f"model {name!r} cannot run on inputs of shape {input_shape}: {one_line(error)}"
        ) from error
    rows = ROWS * POINTS if points else ROWS
    if not isinstance(output, Tensor) or output.shape != (rows, outputs):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(
            f"model {name!r} must give a tensor (B, {outputs}) for inputs (B, "
            f"{', '.join(map(str, input_shape))}), but gave {got} for B = {rows}"
        )
    if not output.isfinite().all():
        raise InputError(f"model {name!r} gives outputs that are not finite before any training")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"model {name!r} has no parameter that can be trained")
    unfit = [layer for layer in layers if not is_mixable(heard[layer])]
    if declared is None:
        # Through vars, because nn.Module declares that its attributes are tensors or modules.
        vars(model)["mixable_layers"] = tuple(layer for layer in layers if layer not in unfit)
    elif unfit:
        raise InputError(
            f"model {name!r}: {unfit[0]!r} in its mixable_layers does not run once and put out one "
            "tensor with a row for each sample"
        )
