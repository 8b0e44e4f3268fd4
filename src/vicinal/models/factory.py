"""Models from a user's own code: `package.module:factory` or `path/to/file.py:factory`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from vicinal.core.errors import InputError, nearest
from vicinal.core.modules import module_at, one_line


def build_from_factory(name: str, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Call a user's factory.

    It is called as `factory(input_shape=..., outputs=...)`, with those of the two that it names, or
    both if it takes any keyword. One that names neither is called as `factory(outputs)`, as
    constructors that begin with the number of classes are.

    Args:
        name: `package.module:factory` or `path/to/file.py:factory`. A package is also looked for in
            the current folder.
        input_shape: of a sample.
        outputs: numbers that the model gives for a sample.

    Raises:
        InputError: the module or the factory is not there, it raises, or returns no nn.Module.
    """
    factory = _find(name)
    given: dict[str, Any] = {"input_shape": input_shape, "outputs": outputs}
    try:
        named = _named(factory, given)
        model = factory(**named) if named else factory(outputs)
    except Exception as error:
        called = ", ".join(f"{key}={value}" for key, value in given.items())
        raise InputError(f"model {name!r} with {called} raised {one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model {name!r} returned {type(model).__name__}: it must return a torch.nn.Module"
        )
    return model


def factory_fingerprint(name: str) -> str:
    """The hash of the code of a factory: of the file that is named and of that which defines it.

    What these files import from elsewhere is not seen.

    Raises:
        InputError: the module or the factory is not there.
    """
    factory = _find(name)
    module = _module(name)
    files = {module.__file__}
    with suppress(TypeError):  # a partial or an instance: the file that is named has it
        files.add(inspect.getsourcefile(inspect.unwrap(factory)))
    digest = hashlib.sha256()
    for content in sorted(Path(file).read_bytes() for file in files if file is not None):
        digest.update(hashlib.sha256(content).digest())
    return f"{_attribute(name)} {digest.hexdigest()}"


def _attribute(name: str) -> str:
    return name.rpartition(":")[2]


def _named(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """The part of the arguments that a factory names, or all if it takes any keyword."""
    parameters = inspect.signature(factory).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return given
    return {key: value for key, value in given.items() if key in parameters}


def _find(name: str) -> Callable[..., Any]:
    module, attribute = _module(name), _attribute(name)
    factory: Any = getattr(module, attribute, None)
    if factory is None:
        known = [key for key, value in vars(module).items() if callable(value)]
        tail = nearest(attribute, known) if known else "it has none"
        raise InputError(f"model {name!r}: {module.__file__} has no {attribute!r}: {tail}")
    if not callable(factory):
        raise InputError(f"model {name!r}: {attribute} is no function or class")
    found: Callable[..., Any] = factory
    return found


def _module(name: str) -> ModuleType:
    place = name.rpartition(":")[0]
    try:
        return module_at(place)
    except InputError as error:
        raise InputError(f"model {name!r}: {error}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"model {name!r}: importing {place} raised {one_line(error)}") from error
