"""Makes models from their names: our own, timm's, or a user's."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from vicinal.core.errors import InputError, nearest
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT

OWN: dict[str, type[SmallResNet] | type[SmallViT] | type[MLP]] = {
    "small-resnet": SmallResNet,
    "small-vit": SmallViT,
    "mlp": MLP,
}


def build_model(name: str, *, input_shape: tuple[int, ...], outputs: int, seed: int) -> nn.Module:
    """A new model, initialised from the seed; the global random state is left as it was.

    Args:
        name: `small-resnet`, `small-vit` or `mlp`, with settings after colons
            (`small-resnet:width=32`); a timm name; or a factory, `package.module:factory` or
            `path/to/file.py:factory`, which is called with `input_shape` and `outputs`, as far as
            it takes them by these names.
        input_shape: of a sample, (C, H, W) or (D,).
        outputs: numbers a sample.
        seed: of the initialisation.

    Raises:
        InputError: there is no such model, it cannot be made, or it does not give (B, outputs) for
            a batch of that shape.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _made(name, input_shape, outputs)
        _try(model, name, input_shape, outputs)
    return model


def _made(name: str, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    head, _, rest = name.partition(":")
    if head in OWN:
        return _own(head, rest, input_shape, outputs)
    if rest:
        return _from_factory(name, input_shape, outputs)
    return _from_timm(name, input_shape, outputs)


def _own(name: str, rest: str, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    model = OWN[name]
    settings: dict[str, Any] = {}
    for setting in filter(None, rest.split(":")):
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"--model {name}: {setting!r} must be written name=value")
        if key not in model.settings:
            raise InputError(f"--model {name} has no {key!r}: {nearest(key, model.settings)}")
        try:
            settings[key] = model.settings[key].parse(value)
        except ValueError:
            raise InputError(f"--model {name}: {key} must be a number, got {value!r}") from None
    try:
        return model(input_shape, outputs, **settings)
    except (ValueError, TypeError) as error:
        raise InputError(f"--model {name}: {error}") from None


def _from_timm(name: str, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise InputError(f"unknown --model {name!r}: {nearest(name, model_names())}")
    if len(input_shape) != 3:
        raise InputError(
            f"--model {name} takes images, the data are rows of {input_shape}: try mlp"
        )
    channels, *sides = input_shape
    settings: dict[str, Any] = {"num_classes": outputs, "in_chans": channels}
    try:
        try:
            # Networks with position embeddings are made for one size; others do not take it.
            model = timm.create_model(name, pretrained=False, img_size=tuple(sides), **settings)
        except TypeError:
            model = timm.create_model(name, pretrained=False, **settings)
    except Exception as error:  # whatever another's constructor raises, it is the user's to know
        raise InputError(f"--model {name} cannot be made: {_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {name}: timm made no torch module of it")
    return model


def _from_factory(name: str, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    factory = _factory(name)
    known = {"input_shape": input_shape, "outputs": outputs}
    taken = inspect.signature(factory).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        known = {key: value for key, value in known.items() if key in taken}
    try:
        model = factory(**known)
    except Exception as error:  # the user's own code
        raise InputError(f"--model {name} failed: {_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {name} gave {type(model).__name__}, not a torch module")
    return model


def _factory(name: str) -> Callable[..., Any]:
    place, _, attribute = name.rpartition(":")
    module = _module(place, name)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        names = [key for key, value in vars(module).items() if callable(value)]
        raise InputError(f"--model {name}: no {attribute!r} there: {nearest(attribute, names)}")
    found: Callable[..., Any] = factory
    return found


def _module(place: str, name: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code runs on import
        raise InputError(f"--model {name}: {_line(error)}") from None
    return module


def _try(model: nn.Module, name: str, input_shape: tuple[int, ...], outputs: int) -> None:
    """Run the model once on two samples."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model(torch.zeros(2, *input_shape, device=device))
    except Exception as error:  # any layer may refuse, in any way
        raise InputError(
            f"--model {name} does not take samples of shape {input_shape}: {_line(error)}"
        ) from None
    finally:
        model.train(was_training)
    if not isinstance(output, torch.Tensor) or output.shape != (2, outputs):
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InputError(f"--model {name} gives {got} for two samples, not {(2, outputs)}")


def model_names() -> list[str]:
    """The names of all models that can be made without a user's code."""
    import timm

    return [*OWN, *timm.list_models()]


def model_fingerprint(name: str) -> str:
    """What tells versions of a model apart that have one name.

    The version of timm for its models, a hash of the source for a user's own. Raises InputError if
    there is no such factory.
    """
    head, _, rest = name.partition(":")
    if head in OWN:
        return ""
    if not rest:
        import timm

        return f"timm {timm.__version__}"
    source = inspect.getsourcefile(_factory(name)) or ""
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def _line(error: Exception) -> str:
    """What an error says, in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
