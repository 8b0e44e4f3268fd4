"""Mixing as loops over rows and places, plain enough for a compiler of numbers to take.

All write rows `first` to `last`, exclusive, of `out`, and read the own row of `x` and row `at` of
the pool, which must not be `out`'s memory. Run as they are they are slow, and right.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def paste(out: Any, x: Any, pool: Any, at: Any, box: Any, first: int, last: int) -> None:
    """Copy x, and a box of the pool's row into it. Arrays (B, C, D, H, W); box (B, 2, 3) int64."""
    depths, width = out.shape[2], out.shape[4]
    plane = out.shape[3] * width
    for row in range(first, last):
        begin, end = box[row, 0], box[row, 1]
        into, own, other = out[row].reshape(-1), x[row].reshape(-1), pool[at[row]].reshape(-1)
        # All of it first, in one go: to leave the box out takes longer than to write it twice.
        for place in range(len(into)):
            into[place] = own[place]
        for number in range(out.shape[1] * depths):
            if begin[0] <= number % depths < end[0]:
                top, bottom = number * plane + begin[1] * width, number * plane + end[1] * width
                for line in range(top, bottom, width):
                    # Views that begin at 0 are what the compiler makes fast loops of.
                    here = into[line + begin[2] : line + end[2]]
                    there = other[line + begin[2] : line + end[2]]
                    for place in range(len(here)):
                        here[place] = there[place]


def choose(out: Any, x: Any, pool: Any, at: Any, own: Any, first: int, last: int) -> None:
    """Copy x where `own` is true, the pool's row elsewhere. Arrays (B, C, N); own (B, N) bool."""
    for row in range(first, last):
        shown = own[row]
        for channel in range(out.shape[1]):
            into, mine = out[row, channel], x[row, channel]
            other = pool[at[row], channel]
            for place in range(len(into)):
                # Both are read whatever is shown, so that many places go at once.
                here, there = mine[place], other[place]
                into[place] = here if shown[place] else there


def interpolate(out: Any, x: Any, pool: Any, at: Any, kept: Any, first: int, last: int) -> None:
    """Interpolate floats by a weight a row. Arrays (B, N); kept (B,)."""
    for row in range(first, last):
        weight = kept[row]
        into, own, other = out[row], x[row], pool[at[row]]
        # From the nearer end, as `torch.lerp` does it, so that both ends are met exactly.
        if abs(weight) < 0.5:
            for place in range(len(into)):
                into[place] = other[place] + weight * (own[place] - other[place])
        else:
            for place in range(len(into)):
                into[place] = own[place] + (weight - 1) * (own[place] - other[place])


def interpolate_places(
    out: Any, x: Any, pool: Any, at: Any, own: Any, first: int, last: int
) -> None:
    """Interpolate floats by a weight a place. Arrays (B, C, N); own (B, N)."""
    for row in range(first, last):
        weights = own[row]
        for channel in range(out.shape[1]):
            into, mine = out[row, channel], x[row, channel]
            other = pool[at[row], channel]
            for place in range(len(into)):
                weight = weights[place]
                near = weight < 0.5
                base = other[place] if near else mine[place]
                share = weight if near else weight - 1
                into[place] = base + share * (mine[place] - other[place])


def interpolate_bytes(
    out: Any, x: Any, pool: Any, at: Any, kept: Any, first: int, last: int
) -> None:
    """Interpolate uint8 by a weight a row, to the nearest. Arrays (B, N); kept (B,) float32."""
    for row in range(first, last):
        weight = kept[row]
        rest = np.float32(1) - weight
        into, own, other = out[row], x[row], pool[at[row]]
        for place in range(len(into)):
            mixed = np.float32(own[place]) * weight + np.float32(other[place]) * rest
            into[place] = np.uint8(mixed + np.float32(0.5))


def interpolate_byte_places(
    out: Any, x: Any, pool: Any, at: Any, own: Any, first: int, last: int
) -> None:
    """Interpolate uint8 by a weight a place, to the nearest. Arrays (B, C, N); own (B, N)."""
    for row in range(first, last):
        weights = own[row]
        for channel in range(out.shape[1]):
            into, mine = out[row, channel], x[row, channel]
            other = pool[at[row], channel]
            for place in range(len(into)):
                weight = weights[place]
                mixed = np.float32(mine[place]) * weight
                mixed += np.float32(other[place]) * (np.float32(1) - weight)
                into[place] = np.uint8(mixed + np.float32(0.5))
