"""A user's own code: a package, or a file of Python."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from vicinal.core.errors import InputError

#: What names of modules begin with that were read from a file.
FROM_FILE = "vicinal_file_"


def module_at(place: str) -> ModuleType:
    """The module at `package.module` or `path/to/file.py`.

    A package is also looked for in the current folder. A file is run once, and again where it
    changed.

    Raises:
        InputError: there is no such file.
        Exception: whatever the code raises.
    """
    return _from_file(Path(place)) if place.endswith(".py") else _from_package(place)


def one_line(error: BaseException) -> str:
    """An error as it fits into another error's message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def importable(module: str) -> str:
    """The name by which a user imports a module: that of its file, where it was read from one."""
    if not module.startswith(FROM_FILE):
        return module
    return module.removeprefix(FROM_FILE).rpartition("_")[0]


def _from_package(place: str) -> ModuleType:
    # Console scripts do not search the current folder, `python -m` does. It goes last, so that
    # nothing in it hides an installed package.
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(place)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    content = path.read_bytes()
    # With the content in its name it is another module where it changed, and pickles find it.
    name = f"{FROM_FILE}{path.stem}_{hashlib.sha256(content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
