"""Showing a sample and its partner together, by a weight or by a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.mixers import compiled
from vicinal.mixers.blocks import Kernel, in_blocks, may_be_written, room


def need_shares(name: str, values: Tensor) -> None:
    """Raise ValueError unless shares are in [0, 1].

    On an accelerator the device asserts it instead, so that the host need not wait.

    Args:
        name: of the values, for the message.
        values: (B, ...) floats, a few a row.
    """
    if torch.compiler.is_compiling() or values.device.type != "cpu":
        inside = ((values >= 0) & (values <= 1)).all()
        torch._assert_async(inside, f"{name} must be in [0, 1]")
        return
    array = values.detach().float().numpy()
    if array.size and not (array.min() >= 0 and array.max() <= 1):  # nor is NaN
        raise ValueError(f"{name} must be in [0, 1], got {array.min():g} to {array.max():g}")


def interpolated(
    x: Tensor, pool: Tensor, at: Tensor, kept: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Interpolate each row with a row of the pool, by a weight a row or a weight a place.

    Args:
        x: (B, C, ...) floats or uint8; uint8 is rounded to the nearest.
        pool: (P, C, ...), of x's type.
        at: (B,) int64, positions in the pool.
        kept: the own row's weight, in [0, 1]: (B,), or (B, ...) without the channels.
        out: memory for the result, as `vicinal.mixers.blocks.room` takes it.

    Returns:
        (B, C, ...), new memory in x's memory format, or `out`.

    Raises:
        TypeError: x is neither floating point nor uint8.
        ValueError: a weight of a row is out of range; those of places are not looked at.
    """
    if not (x.is_floating_point() or x.dtype == torch.uint8):
        raise TypeError(f"x must be floating point or uint8 to be interpolated, got {x.dtype}")
    by_row = kept.dim() == 1
    if by_row:
        need_shares("the weight kept", kept)
    if may_be_written(x, pool, kept):
        out, pool, at = room(x, pool, at, out)
        done = compiled.interpolate if by_row else compiled.interpolate_places
        if done(out, x, pool, at, kept):
            return out
    how = kept.view(-1, *(1,) * (x.dim() - 1)) if by_row else kept[:, None]
    kernel: Kernel = _lerp if x.is_floating_point() else _lerp_bytes
    return in_blocks(kernel, x, pool, at, how.to(x.dtype) if kernel is _lerp else how, out=out)


def chosen(
    x: Tensor, pool: Tensor, at: Tensor, own: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Show each row where its mask says so, and a row of the pool elsewhere.

    Args:
        x: (B, C, ...).
        pool: (P, C, ...), of x's type.
        at: (B,) int64, positions in the pool.
        own: (B, ...) bool, without the channels.
        out: memory for the result, as `vicinal.mixers.blocks.room` takes it.

    Returns:
        (B, C, ...), new memory in x's memory format, or `out`.
    """
    if may_be_written(x, pool):
        out, pool, at = room(x, pool, at, out)
        if compiled.choose(out, x, pool, at, own):
            return out
    return in_blocks(_where, x, pool, at, own[:, None], out=out)


def _where(own: Tensor, partner: Tensor, how: Tensor, out: Tensor | None = None) -> Tensor:
    if out is None:
        return torch.where(how, own, partner)
    return torch.where(how, own, partner, out=out)


def _lerp(own: Tensor, partner: Tensor, how: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.lerp(partner, own, how, out=out)


def _lerp_bytes(own: Tensor, partner: Tensor, how: Tensor, out: Tensor | None = None) -> Tensor:
    how = how.float()
    # The terms one by one, as the compiled loop has them: the nearest whole number is the same.
    mixed = (own * how).add_(partner * (1 - how)).add_(0.5).to(torch.uint8)
    return mixed if out is None else out.copy_(mixed)
