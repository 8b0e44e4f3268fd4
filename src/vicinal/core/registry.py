"""Finds components by name. Declaring a `card` registers a class; its module lies in a room."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from vicinal.core.errors import InputError, nearest
from vicinal.core.modules import module_at, one_line

#: Rooms whose modules may declare components.
ROOMS = ("transforms", "mixers", "latent", "objectives", "policies", "methods")
#: Other packages add theirs by naming a module under this entry point.
ENTRY_POINT = "vicinal.components"

_COMPONENTS: dict[tuple[str, str], type[Any]] = {}


def register(component: type[Any]) -> None:
    """Enter a class under its card's kind and name.

    Raises:
        ValueError: another class has that kind and name.
    """
    card = component.card
    known = _COMPONENTS.get((card.kind, card.name))
    # A module that is reloaded, in a notebook say, replaces its own classes.
    if known is not None and known.__qualname__ != component.__qualname__:
        raise ValueError(
            f"the {card.kind} {card.name!r} is already registered by "
            f"{known.__module__}.{known.__qualname__}"
        )
    _COMPONENTS[card.kind, card.name] = component


@functools.cache
def load() -> None:
    """Import every module that may declare components, once."""
    from importlib.metadata import entry_points

    for room in ROOMS:
        package = importlib.import_module(f"vicinal.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"vicinal.{room}."):
            importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINT):
        try:
            entry.load()
        except Exception as error:  # another's package must not take ours down with it
            warnings.warn(f"components of {entry.value} are left out: {error!r}", stacklevel=2)


def load_from(places: Sequence[str]) -> None:
    """Import modules that declare components: `package.module` or `path/to/file.py` each.

    Raises:
        InputError: there is no such module or file, its code raises, or it declares a component of
            a name that is taken.
    """
    load()  # first, so that a name that is taken is refused where it is taken a second time
    for place in places:
        try:
            module_at(place)
        except InputError as error:
            raise InputError(f"--components {place}: {error}") from None
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise InputError(f"--components {place} raised {one_line(error)}") from error


def components(kind: str | None = None) -> Iterator[type[Any]]:
    """All registered classes, of one kind or of every kind, by kind and name."""
    load()
    for (of_kind, _), component in sorted(_COMPONENTS.items()):
        if kind in (None, of_kind):
            yield component


def find(name: str, *, kinds: tuple[str, ...]) -> type[Any]:
    """The class of that name; where kinds share a name, the one of the first kind.

    Raises:
        InputError: there is none; the nearest names are offered.
    """
    load()
    for kind in kinds:
        if (kind, name) in _COMPONENTS:
            return _COMPONENTS[kind, name]
    known = {of_name for of_kind, of_name in _COMPONENTS if of_kind in kinds}
    raise InputError(f"unknown {kinds[0]} {name!r}: {nearest(name, known)}")


def exported(name: str) -> type[Any] | None:
    """The registered class with this Python name, or None."""
    load()
    for component in _COMPONENTS.values():
        if component.__name__ == name:
            return component
    return None
