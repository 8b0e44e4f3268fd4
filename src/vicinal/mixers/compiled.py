"""The loops of `vicinal.mixers.loops`, compiled for the CPU where numba is installed.

One pass reads the own and the partner's row and writes the result, in as many threads as torch has;
torch's own operations take two passes and memory in between. Each function returns whether it
has done the work. Where it has not, the caller does it with torch.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vicinal.mixers import loops

Loop = Callable[..., None]

#: Bytes of a batch from which on a loop pays for being compiled, about a second once a process.
WORTHWHILE = 1 << 20

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_FLOATS = (torch.float32, torch.float64)
_threads_in_use = threading.Lock()
_forked = threading.Event()
if hasattr(os, "register_at_fork"):
    # numba's threads do not live on in a forked process, and OpenMP ends one that asks for them.
    os.register_at_fork(after_in_child=_forked.set)


def paste(out: Tensor, x: Tensor, pool: Tensor, at: Tensor, *, start: Tensor, stop: Tensor) -> bool:
    """Copy each row of x with a box of a row of the pool in it.

    Args:
        out: (B, C, ...), with one to three axes of space or time; overwritten.
        x: like out.
        pool: (P, C, ...), of x's type, not out's memory.
        at: (B,) int64, positions in the pool.
        start: (B, R) int64.
        stop: (B, R) int64, exclusive.
    """
    if not _worthwhile(out, x, pool):
        return False
    missing = 5 - x.dim()
    arrays = [
        _bits(each).reshape(*each.shape[:2], *[1] * missing, *each.shape[2:])
        for each in (out, x, pool)
    ]
    box = np.empty((len(x), 2, 3), dtype=np.int64)
    box[:, 0, :missing], box[:, 1, :missing] = 0, 1
    box[:, 0, missing:], box[:, 1, missing:] = start.numpy(), stop.numpy()
    return _run(loops.paste, *arrays, at.numpy(), box)


def choose(out: Tensor, x: Tensor, pool: Tensor, at: Tensor, own: Tensor) -> bool:
    """Copy each place from x or from a row of the pool.

    Args:
        out: (B, C, ...); overwritten.
        x: like out.
        pool: (P, C, ...), of x's type, not out's memory.
        at: (B,) int64, positions in the pool.
        own: (B, ...) bool, without the channels: whether a place is x's.
    """
    if not _worthwhile(out, x, pool):
        return False
    arrays = [_bits(each).reshape(*each.shape[:2], -1) for each in (out, x, pool)]
    return _run(loops.choose, *arrays, at.numpy(), own.reshape(len(own), -1).numpy())


def interpolate(out: Tensor, x: Tensor, pool: Tensor, at: Tensor, kept: Tensor) -> bool:
    """Interpolate each row of x with a row of the pool.

    Args:
        out: (B, ...) float32, float64 or uint8; overwritten.
        x: like out.
        pool: (P, ...), of x's type, not out's memory.
        at: (B,) int64, positions in the pool.
        kept: (B,) the own row's weight, in [0, 1].
    """
    if not _worthwhile(out, x, pool) or x.dtype not in (*_FLOATS, torch.uint8):
        return False
    loop = loops.interpolate_bytes if x.dtype == torch.uint8 else loops.interpolate
    arrays = [each.detach().numpy().reshape(len(each), -1) for each in (out, x, pool)]
    return _run(loop, *arrays, at.numpy(), _weights(kept, x))


def interpolate_places(out: Tensor, x: Tensor, pool: Tensor, at: Tensor, own: Tensor) -> bool:
    """Interpolate each place of x with the same place of a row of the pool.

    Args:
        out: (B, C, ...) float32, float64 or uint8; overwritten.
        x: like out.
        pool: (P, C, ...), of x's type, not out's memory.
        at: (B,) int64, positions in the pool.
        own: (B, ...) without the channels: the own row's weight, in [0, 1].
    """
    if not _worthwhile(out, x, pool) or x.dtype not in (*_FLOATS, torch.uint8):
        return False
    loop = loops.interpolate_byte_places if x.dtype == torch.uint8 else loops.interpolate_places
    arrays = [each.detach().numpy().reshape(*each.shape[:2], -1) for each in (out, x, pool)]
    return _run(loop, *arrays, at.numpy(), _weights(own.reshape(len(own), -1), x))


def _worthwhile(*tensors: Tensor) -> bool:
    return (
        tensors[0].nbytes >= WORTHWHILE
        and all(tensor.is_contiguous() for tensor in tensors)
        and _installed()
    )


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _bits(tensor: Tensor) -> Any:
    """The memory of a tensor of any type, as an array of whole numbers."""
    return tensor.detach().view(_BITS[tensor.element_size()]).numpy()


def _weights(weights: Tensor, x: Tensor) -> Any:
    """In the type that the arithmetic is done in."""
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    return weights.detach().to(exact).contiguous().numpy()


def _run(loop: Loop, *arrays: Any) -> bool:
    """Run a loop over all rows, in several threads where they are free. Returns True."""
    threads = 1 if _forked.is_set() else torch.get_num_threads()
    if threads > 1 and _threads_in_use.acquire(blocking=False):
        try:
            _in_threads(loop, threads)(*arrays, threads)
        finally:
            _threads_in_use.release()
    else:
        _compiled(loop)(*arrays, 0, len(arrays[0]))
    return True


@functools.cache
def _compiled(loop: Loop) -> Any:
    import numba

    # A product and a sum may become one instruction, as in torch's kernels.
    return numba.njit(loop, nogil=True, fastmath={"contract"})


@functools.cache
def _in_threads(loop: Loop, threads: int) -> Any:
    import numba

    part, prange = _compiled(loop), numba.prange
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))

    def parts(out, x, pool, at, how, count):  # type: ignore[no-untyped-def]  # compiled
        rows = len(out)
        for place in prange(count):
            part(out, x, pool, at, how, rows * place // count, rows * (place + 1) // count)

    return numba.njit(parts, nogil=True, parallel=True)
