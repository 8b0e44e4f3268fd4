"""Mixing a batch with its partners in one pass over memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

#: Bytes mixed at a time: few enough that partners are still in the cache after they were gathered.
BLOCK_BYTES = 4 << 20
#: From here on NumPy asks the kernel for huge pages.
LARGE_BYTES = 4 << 20
#: Bytes; of torch's own memory, and of a cache line.
ALIGNMENT = 64


class Kernel(Protocol):
    """Mixes rows with their partners' rows by a weight or a mask, into `out` if it is given.

    `out` may be the partners' own memory.
    """

    def __call__(
        self, own: Tensor, partner: Tensor, how: Tensor, /, out: Tensor | None = None
    ) -> Tensor: ...


def in_blocks(
    kernel: Kernel, x: Tensor, pool: Tensor, at: Tensor, how: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Mix each row of x with a row of the pool.

    On a CPU partners are gathered into the memory of the result, some rows at a time, and mixed
    there: memory of their own would be written, read back and thrown away. Elsewhere one expression
    says the same.

    Args:
        kernel: mixes (M, ...) with (M, ...).
        x: (B, ...).
        pool: (P, ...), of x's type.
        at: (B,) int64, the partners' positions in the pool.
        how: (B, ...), the weight or mask of each row, as the kernel takes it.
        out: memory for the result, as `room` takes it; not where gradients are wanted.

    Returns:
        (B, ...), new memory in x's memory format, or `out`.
    """
    if not may_be_written(x, pool, how):
        return kernel(x, pool[at], how)
    out, pool, at = room(x, pool, at, out)
    if out.data_ptr() == x.data_ptr():  # partners cannot be gathered there
        return kernel(x, torch.index_select(pool, 0, at, out=fresh_like(x)), how, out=out)
    step = max(1, BLOCK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        partner = torch.index_select(pool, 0, at[block], out=out[block])
        kernel(x[block], partner, how[block], out=partner)
    return out


def room(x: Tensor, pool: Tensor, at: Tensor, out: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Memory for a result like x, and where the partners are: never in that memory.

    Args:
        x: (B, ...).
        pool: (P, ...), of x's type.
        at: (B,) int64, the partners' positions in the pool.
        out: (B, ...), memory to use; it may be x's own. New memory by default.

    Returns:
        The memory, a pool, and positions in it. The pool is another one where the result is
        written over the one given.
    """
    if out is None:
        return fresh_like(x), pool, at
    if out.untyped_storage().data_ptr() == pool.untyped_storage().data_ptr():
        apart = torch.index_select(pool, 0, at, out=fresh_like(x))
        return out, apart, torch.arange(len(at))
    return out, pool, at


def may_be_written(*inputs: Tensor) -> bool:
    """Whether their result may be put together in place.

    Not on an accelerator, which wants few large operations, not where gradients have to find
    the way back, and not inside `torch.compile`.
    """
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    return on_cpu and not wanted and not torch.compiler.is_compiling()


def fresh_like(x: Tensor) -> Tensor:
    """Memory for a result like x, on the CPU and not yet written.

    The first touch of a fresh page costs more than mixing into it. NumPy asks for pages of 2 MiB
    instead of 4 KiB where arrays are large; torch does not unless its environment says so.
    [64, 3, 224, 224] float32 is copied into the one in half the time of the other.
    """
    if x.nbytes < LARGE_BYTES:
        return torch.empty_like(x)
    layout = torch.empty_like(x, device="meta")
    memory = np.empty(layout.nbytes + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    aligned = torch.from_numpy(memory[start : start + layout.nbytes])
    return aligned.view(x.dtype).as_strided(layout.shape, layout.stride())
