"""Where pixels lie: in memory, or on disk once there are too many."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.core.errors import InputError

MEMORY_BUDGET = 4 * 2**30  # bytes


def cache_folder() -> Path:
    """The folder for what can be made again: $VICINAL_CACHE, or `vicinal` in the user's caches."""
    if folder := os.environ.get("VICINAL_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vicinal"


def uint8_array(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new array to be filled, memory-mapped from the cache folder if it is over the budget.

    The file has no name any more once it is mapped, so that its space is free again when the
    process ends, however it ends. Where a system forbids this, it is removed with the array.

    Raises:
        InputError: the disk has no room for it.
    """
    size = math.prod(shape)
    if size <= MEMORY_BUDGET:
        return np.empty(shape, dtype=np.uint8)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder}: the images take {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "choose a smaller image size, or set VICINAL_CACHE to another disk"
        )
    handle, name = tempfile.mkstemp(prefix="pixels-", suffix=".npy", dir=folder)
    os.close(handle)
    array = np.lib.format.open_memmap(name, mode="w+", dtype=np.uint8, shape=shape)
    try:
        os.unlink(name)
    except PermissionError:
        weakref.finalize(array, Path(name).unlink, missing_ok=True)
    return array


def compact(array: NDArray[np.generic], keep: NDArray[np.bool_]) -> NDArray[np.generic]:
    """The rows to keep, moved to the front of the same array: a copy might not fit into memory."""
    rows = np.flatnonzero(keep)
    first = int(np.argmin(keep)) if len(rows) < len(keep) else len(rows)
    for place in range(first, len(rows)):
        array[place] = array[rows[place]]
    return array[: len(rows)]
