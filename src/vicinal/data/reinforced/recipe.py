"""An augmentation as JSON, and back: its class, its card and its settings, nothing pickled."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from vicinal.core import registry
from vicinal.core.augmentation import Augmentation
from vicinal.core.errors import InputError


def described(augmentation: Augmentation) -> dict[str, Any]:
    """What `rebuilt` needs, and the card for people who read it.

    Raises:
        TypeError: a setting is no number, text, augmentation, dataclass, or list of these, and
            not the default.
    """
    card = getattr(augmentation, "card", None)
    described = _described(augmentation, augmentation.settings())
    return described | {"card": None if card is None else dataclasses.asdict(card)}


def rebuilt(description: Mapping[str, Any]) -> Augmentation:
    """The augmentation of a description. Nothing is imported by a name that is written there.

    Raises:
        InputError: there is no such class here, or it refuses the settings.
    """
    registry.load()
    made = _live(description)
    if not isinstance(made, Augmentation):
        raise InputError(f"{description['class']} is no augmentation")
    return made


def _described(value: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    arguments = inspect.signature(type(value)).parameters
    written: dict[str, Any] = {}
    for name, one in settings.items():
        try:
            written[name] = _plain(one, where=f"{type(value).__name__}: {name}")
        except TypeError:
            # What is the default anyway need not be written, a bank of operations say.
            if one is not arguments[name].default:
                raise
    return {"class": _name(type(value)), "settings": written}


def _plain(value: Any, *, where: str) -> Any:
    if isinstance(value, Augmentation):
        return described(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return _described(value, {name: getattr(value, name) for name in fields})
    if isinstance(value, list | tuple):
        return [_plain(one, where=where) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where} cannot be written as JSON, got {value!r}")


def _live(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_live, value))
    if not isinstance(value, Mapping):
        return value
    name = value["class"]
    found = _found(name)
    if found is None:
        raise InputError(f"there is no {name} here any more: import the module that it is from")
    settings = {key: _live(one) for key, one in value["settings"].items()}
    try:
        return found(**settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not take the settings it had: {error}") from None


def _found(name: str) -> type[Any] | None:
    """The augmentation, or the dataclass of a loaded module, with that name."""
    for one in _augmentations():
        if _name(one) == name:
            return one
    module, _, kind = name.rpartition(".")
    found = getattr(sys.modules.get(module), kind, None)
    return found if isinstance(found, type) and dataclasses.is_dataclass(found) else None


def _augmentations(of: type[Augmentation] = Augmentation) -> Iterator[type[Augmentation]]:
    """All classes of augmentations that are loaded, registered or not."""
    for one in of.__subclasses__():
        yield one
        yield from _augmentations(one)


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
