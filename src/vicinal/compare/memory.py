"""How the C library deals with memory that tensors free."""

from __future__ import annotations

import ctypes
import functools

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Bytes of free memory that are kept; and the largest piece that comes from it, the most glibc
#: takes.
KEPT, PIECE = 1 << 30, 32 << 20


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what tensors free instead of giving it back at every training step.

    The next step would fault the same pages in again, which takes up to a twentieth of the time
    of a small network's epoch on a CPU. Returns whether the C library is one that can be told.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_M_MMAP_THRESHOLD, PIECE))
