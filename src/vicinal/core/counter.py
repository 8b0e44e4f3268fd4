"""Random 64-bit numbers that are a pure function of a key: the ground `Draws` stands on.

The function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014; constants of
Stafford's variant 13), applied to well-mixed keys plus multiples of the golden ratio. It needs
seven integer operations,
against some eighty of Philox, and is the same on every device: NumPy carries it on the CPU, where
a call of a small torch operation costs more than its work, and torch on accelerators, where
nothing may wait for the host.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Words = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = (1 << 64) - 1

_U_FIRST, _U_SECOND, _U_GOLDEN = np.uint64(_FIRST), np.uint64(_SECOND), np.uint64(GOLDEN)
_U27, _U30, _U31 = np.uint64(27), np.uint64(30), np.uint64(31)


def mix_int(word: int) -> int:
    """The finaliser for one Python integer, 0 <= word < 2**64."""
    word &= _MASK
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)


def mix_words(words: Words) -> Words:
    """The finaliser for an array, which it overwrites. words: any shape, uint64."""
    words ^= words >> _U30
    words *= _U_FIRST
    words ^= words >> _U27
    words *= _U_SECOND
    words ^= words >> _U31
    return words


def mix_tensor(words: Tensor) -> Tensor:
    """The finaliser for a tensor. words: any shape, int64 holding the 64 bits. Returns the same."""
    # torch shifts int64 arithmetically: the sign bits that come in are masked away.
    words = (words ^ ((words >> 30) & ((1 << 34) - 1))) * signed(_FIRST)
    words = (words ^ ((words >> 27) & ((1 << 37) - 1))) * signed(_SECOND)
    return words ^ ((words >> 31) & ((1 << 33) - 1))


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned word."""
    return word - (1 << 64) if word >= 1 << 63 else word


@functools.lru_cache(maxsize=4096)
def name_key(name: str) -> int:
    """64 bits of a name, the same in every process (Python's own hash is salted)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


@functools.lru_cache(maxsize=4096)
def name_keys(names: tuple[str, ...]) -> Words:
    """The keys of some names as a column. Returns (K, 1), not to be written."""
    return np.array([name_key(name) for name in names], dtype=np.uint64)[:, None]


def steps(count: int) -> Words:
    """What sets the numbers of one row apart. Returns (count, 1)."""
    return (np.arange(count, dtype=np.uint64) * _U_GOLDEN)[:, None]


def seed_key(seed: int, epoch: int) -> int:
    """64 bits of a seed and an epoch."""
    return mix_int(mix_int(seed * GOLDEN) + mix_int(epoch + 1))


def row_words(index: npt.NDArray[np.int64], key: int) -> Words:
    """One word for each row. index: (B,) int64."""
    return mix_words(index.astype(np.uint64) * _U_GOLDEN + np.uint64(key))


def row_tensor(index: Tensor, key: int) -> Tensor:
    """One word for each row. index: (B,) int64. Returns (B,) int64, the bits of `row_words`."""
    return mix_tensor(index.to(torch.int64) * signed(GOLDEN) + signed(key))
