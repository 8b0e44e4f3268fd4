"""Mixing a batch with its partners in one pass over memory."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

#: Bytes of partners gathered at a time: few enough to be in the cache when they are mixed, and
#: under malloc's threshold for fresh pages, whose first touch costs more than the mixing.
BLOCK_BYTES = 4 << 20


class Kernel(Protocol):
    """Mixes rows with their partners' rows by a weight or a mask, into `out` if it is given."""

    def __call__(
        self, own: Tensor, partner: Tensor, how: Tensor, /, out: Tensor | None = None
    ) -> Tensor: ...


def in_blocks(kernel: Kernel, x: Tensor, pool: Tensor, at: Tensor, how: Tensor) -> Tensor:
    """Mix each row of x with a row of the pool.

    On a CPU a large batch is mixed some rows at a time: gathering all partners first would write
    them to fresh memory and read them back. On accelerators, where gradients are wanted, and inside
    `torch.compile`, one expression says the same.

    Args:
        kernel: mixes (M, ...) with (M, ...).
        x: (B, ...).
        pool: (P, ...), of x's type.
        at: (B,) int64, the partners' positions in the pool.
        how: (B, ...), the weight or mask of each row, as the kernel takes it.

    Returns:
        (B, ...), new memory in x's memory format.
    """
    size = x.element_size() * x[0].numel() if len(x) else 0
    whole = (
        torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or size * len(x) <= BLOCK_BYTES
        or (torch.is_grad_enabled() and any(t.requires_grad for t in (x, pool, how)))
    )
    if whole:
        return kernel(x, pool[at], how)
    out = torch.empty_like(x)
    step = max(1, BLOCK_BYTES // size)
    scratch = torch.empty_like(x[:step])
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        own = x[block]
        partner = torch.index_select(pool, 0, at[block], out=scratch[: len(own)])
        kernel(own, partner, how[block], out=out[block])
    return out
