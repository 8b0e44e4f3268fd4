"""Where numbers come from: `Draws` gives every sample random numbers of its own.

A number is a function of (seed, epoch, row of the dataset, name of the draw) and of nothing else:
not of the batch the sample came in, the worker that loaded it, or what was drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vicinal.core import counter, quantiles

if TYPE_CHECKING:
    from typing_extensions import Self

_U12, _U40 = np.uint64(12), np.uint64(40)
_SINGLE = np.float32(2.0**-24)
_DOUBLE = 2.0**-52


class Draws:
    """Random numbers for the rows of one batch.

    Every method takes the name of the draw first; two draws of one name are the same numbers.
    Results lie on the device of `index` and have shape (B, *shape).

    Args:
        seed: any integer.
        index: (B,) int64, the rows of the dataset that the samples are. Rows may repeat, and then
            get the same numbers: tell copies of a sample apart with `within`.
        epoch: a counter that makes every pass over the data draw anew; >= 0.

    Raises:
        TypeError: index is not a one-dimensional tensor of integers.
        ValueError: epoch is negative.
    """

    __slots__ = ("_device", "_key", "_own", "_rows", "_size", "_space")

    def __init__(self, seed: int, index: Tensor, epoch: int = 0) -> None:
        if index.dim() != 1 or index.is_floating_point() or index.is_complex():
            raise TypeError(
                f"index must be (B,) integers, got {index.dtype} of shape {tuple(index.shape)}"
            )
        if epoch < 0:
            raise ValueError(f"epoch must not be negative, got {epoch}")
        self._device = index.device
        self._key = counter.seed_key(seed, epoch)
        self._size = len(index)
        self._space = ""
        self._rows: Any = (
            counter.row_words(index.numpy(), self._key)
            if index.device.type == "cpu"
            else counter.row_tensor(index, self._key)
        )
        self._own = self._rows

    @classmethod
    def from_generator(cls, generator: torch.Generator | None, index: Tensor) -> Self:
        """Draws whose seed is the next number of a generator.

        Args:
            generator: advanced by one number; None takes torch's global generator, for calls that
                name no source of randomness at all.
            index: (B,) int64, rows of the dataset.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        seed = torch.randint(1 << 62, (), generator=generator, device=device)
        return cls(int(seed), index)

    def __len__(self) -> int:
        return self._size

    def within(self, space: str) -> Self:
        """The same rows, drawing anew: for the parts of a whole and the copies of a sample."""
        return self._derive(self._rows, self._space + space + "/")

    def shared(self) -> Self:
        """One draw for the whole batch: every row gets the same numbers.

        They depend on which rows are in the batch, not on their order. `permutation` still pairs
        the rows at random. On the CPU the rows of a result are one row, expanded: it cannot be
        written to.
        """
        rows: Any = self._rows
        if isinstance(rows, Tensor):
            rows = counter.mix_tensor(rows.sum()).expand(self._size)
        else:
            total = rows * self._size if isinstance(rows, int) else int(rows.sum())
            rows = counter.mix_int(total)
        return self._derive(rows, self._space + "shared/")

    def grouped(self, group: Tensor) -> Self:
        """One draw for all rows of a group, the frames of a video say. group: (B,) integers."""
        if group.shape != (self._size,):
            raise ValueError(f"group must be ({self._size},), got {tuple(group.shape)}")
        rows: Any = (
            counter.row_tensor(group, self._key)
            if isinstance(self._rows, Tensor)
            else counter.row_words(group.numpy(), self._key)
        )
        return self._derive(rows, self._space + "grouped/")

    def __getitem__(self, rows: Tensor) -> Self:
        """The numbers of some of the rows, as they have them. rows: (M,) int64, positions."""
        at = rows if isinstance(self._own, Tensor) else rows.numpy()
        words = self._rows if isinstance(self._rows, int) else self._rows[at]
        other = self._derive(words, self._space)
        other._own, other._size = self._own[at], len(rows)
        return other

    def _derive(self, rows: Any, space: str) -> Self:
        other = object.__new__(type(self))
        other._device, other._key, other._size = self._device, self._key, self._size
        other._own, other._rows, other._space = self._own, rows, space
        return other

    def _words(self, name: str, shape: Sequence[int]) -> Any:
        """Words: uint64 in NumPy on the CPU, int64 in torch elsewhere.

        Of shape (B, *shape); (1, *shape) in NumPy if all rows share them, which `_rows_of` expands.
        """
        return self._named(self._rows, name, shape)

    def _rows_of(self, numbers: Any) -> Tensor:
        """What was made of words, for every row. numbers: an array."""
        tensor = torch.from_numpy(numbers)
        if isinstance(self._rows, int):
            return tensor.expand(self._size, *tensor.shape[1:])
        return tensor

    def _named(self, rows: Any, name: str, shape: Sequence[int] = ()) -> Any:
        key = counter.name_key(self._space + name)
        count = math.prod(shape)
        if isinstance(rows, Tensor):
            keyed = rows + counter.signed(key)
            if shape:
                steps = torch.arange(count, device=self._device) * counter.signed(counter.GOLDEN)
                keyed = (keyed[:, None] + steps).view(self._size, *shape)
            return counter.mix_tensor(keyed)
        if isinstance(rows, int):
            # A handful of numbers: Python is done before NumPy has started.
            one = [counter.mix_int(rows + key + step * counter.GOLDEN) for step in range(count)]
            return np.array(one, dtype=np.uint64).reshape(1, *shape)
        words: counter.Words = rows + np.uint64(key)
        if not shape:
            return counter.mix_words(words)
        # Row by row NumPy would start a loop for each; the other way round it starts one a number.
        # What is made of them is laid out row by row again.
        words = counter.mix_words(counter.steps(count) + words)  # (count, B)
        return words.T.reshape(self._size, *shape)

    def _open(self, name: str, shape: Sequence[int]) -> Any:
        """Uniform float64 strictly between 0 and 1, so that logarithms and quantiles are finite."""
        words = self._words(name, shape)
        if isinstance(words, Tensor):
            return (((words >> 12) & ((1 << 52) - 1)).double() + 0.5) * _DOUBLE
        return ((words >> _U12) + 0.5) * _DOUBLE

    def uniform(
        self, name: str, low: float = 0.0, high: float = 1.0, *, shape: Sequence[int] = ()
    ) -> Tensor:
        """Uniform on [low, high), where `high` itself can come of rounding unless `low` is 0.

        Returns:
            (B, *shape) float32.
        """
        words = self._words(name, shape)
        if isinstance(words, Tensor):
            unit = ((words >> 40) & ((1 << 24) - 1)).float() * float(_SINGLE)
            return unit if (low, high) == (0.0, 1.0) else unit.mul_(high - low).add_(low)
        numbers = (words >> _U40).astype(np.float32, order="C") * _SINGLE
        if (low, high) != (0.0, 1.0):
            numbers = numbers * np.float32(high - low) + np.float32(low)
        return self._rows_of(numbers)

    def normal(self, name: str, *, shape: Sequence[int] = ()) -> Tensor:
        """Standard normal. Returns (B, *shape) float32."""
        unit = self._open(name, shape)
        if isinstance(unit, Tensor):
            normal: Tensor = torch.special.ndtri(unit)
            return normal.float()
        from scipy.special import ndtri

        return self._rows_of(ndtri(unit).astype(np.float32, order="C"))

    def below(
        self, name: str, bound: int | Sequence[int] | Tensor, *, shape: Sequence[int] = ()
    ) -> Tensor:
        """Integers uniform on 0 .. bound - 1.

        Args:
            name: of the draw.
            bound: > 0 and at most 2**31; or one for each number of a row, or (B, *shape) of such.
            shape: numbers a row.

        Returns:
            (B, *shape) int64.
        """
        if isinstance(bound, int) and bound < 1:
            raise ValueError(f"bound must be positive, got {bound}")
        unit = self._open(name, shape)
        if isinstance(unit, np.ndarray):
            scale: Any = bound.numpy() if isinstance(bound, Tensor) else bound
            return self._rows_of((unit * scale).astype(np.int64, order="C"))
        if isinstance(bound, Sequence):
            bound = torch.tensor(bound, device=unit.device)
        scaled: Tensor = unit * bound
        return scaled.long()

    def bernoulli(self, name: str, probability: float, *, shape: Sequence[int] = ()) -> Tensor:
        """True with the given probability, in [0, 1]. Returns (B, *shape) bool."""
        return self.uniform(name, shape=shape) < probability

    def beta(self, name: str, a: float, b: float, *, shape: Sequence[int] = ()) -> Tensor:
        """Beta(a, b), right down to shapes of 0.01; both > 0. Returns (B, *shape) float32."""
        if not (a > 0 and b > 0):
            raise ValueError(
                f"both shapes of a Beta distribution must be positive, got {a} and {b}"
            )
        if a == b == 1:
            return self.uniform(name, shape=shape)
        unit = self._open(name, shape)
        if isinstance(unit, Tensor):
            return _beta_quantile_tensor(unit.logit(), float(a), float(b)).float()
        logit = np.log(unit) - np.log1p(-unit)
        return self._rows_of(
            quantiles.beta_quantile(logit, float(a), float(b)).astype(np.float32, order="C")
        )

    def dirichlet(self, name: str, concentration: Sequence[float]) -> Tensor:
        """Dirichlet with one positive concentration a part, by breaking a stick.

        Returns:
            (B, K) float32, rows sum to 1.
        """
        left = torch.ones(self._size, device=self._device)
        parts = []
        for place, shape in enumerate(concentration[:-1]):
            share = self.beta(f"{name}/{place}", shape, sum(concentration[place + 1 :]))
            parts.append(left * share)
            left = left * (1 - share)
        return torch.stack([*parts, left], dim=1)

    def choice(self, name: str, weights: Sequence[float], *, shape: Sequence[int] = ()) -> Tensor:
        """An index of `weights`, as often as its weight says. Returns (B, *shape) int64."""
        edges = np.cumsum(np.asarray(weights, dtype=np.float64))
        if not len(edges) or not edges[-1] > 0 or min(weights) < 0:
            raise ValueError(f"weights must be non-negative and not all zero, got {list(weights)}")
        unit = self._open(name, shape)
        inner = edges[:-1] / edges[-1]
        if isinstance(unit, Tensor):
            return torch.bucketize(unit, torch.from_numpy(inner).to(self._device), right=True)
        return self._rows_of(np.searchsorted(inner, unit, side="right").astype(np.int64, order="C"))

    def permutation(self, name: str) -> Tensor:
        """Positions in the batch in random order: row i is paired with row `permutation[i]`.

        Which row meets which depends on the rows in the batch, not on the order they came in. A
        row may meet itself, as in a random permutation.

        Returns:
            (B,) int64, every position once.
        """
        # Two orders by keys of the rows' own; the r-th row of one meets the r-th row of the other.
        names = (name + "/from", name + "/to")
        if isinstance(self._own, Tensor):
            first, second = (self._order(own) for own in names)
            return torch.empty_like(first).scatter_(0, first, second)
        keys = counter.name_keys(tuple(self._space + own for own in names))
        first, second = counter.mix_words(keys + self._own).argsort(kind="stable")
        partner = np.empty(self._size, dtype=np.int64)
        partner[first] = second
        return torch.from_numpy(partner)

    def keys(self, name: str, *, shape: Sequence[int] = ()) -> Tensor:
        """Keys for `apply` to expand into a field of noise, say. Returns (B, *shape) int64."""
        words = self._words(name, shape)
        return (
            words if isinstance(words, Tensor) else self._rows_of(words.astype(np.int64, order="C"))
        )

    def _order(self, name: str) -> Tensor:
        words: Tensor = self._named(self._own, name)
        # With the sign bit turned, signed numbers lie in the order of the unsigned ones.
        return (words ^ counter.signed(1 << 63)).argsort(stable=True)


def _beta_quantile_tensor(logit: Tensor, a: float, b: float) -> Tensor:
    """`quantiles.beta_quantile` on an accelerator. logit: (...) float64."""
    table = _table_on(a, b, logit.device)
    place = (logit + quantiles.REACH) / quantiles.SPACING
    knot = place.long()
    return torch.lerp(table[knot], table[knot + 1], place - knot).sigmoid()


_TABLES: dict[tuple[float, float, torch.device], Tensor] = {}


def _table_on(a: float, b: float, device: torch.device) -> Tensor:
    """The table, copied to the device once: a copy for every batch would wait for the host."""
    key = (a, b, device)
    if key not in _TABLES:
        _TABLES[key] = torch.from_numpy(quantiles.beta_logit_table(a, b)).to(device)
    return _TABLES[key]
