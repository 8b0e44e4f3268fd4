"""Mixing by masks: every place shows the own sample, its partner, or some of both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.mixers.blend import chosen, interpolated, need_shares
from vicinal.mixers.pairing import PairMixer


class MaskMixer(PairMixer):
    """A mixer of two samples that says where each is shown; the labels are weighed by area.

    A subclass draws who is mixed and where, and makes the mask of it. Its params have a field
    `partner`, (B,) int64.
    """

    writes_out = True

    @abstractmethod
    def own_share(self, batch: Batch, params: Any) -> Tensor:
        """How much of the own sample each place shows.

        Returns:
            (B, ...) over the axes of space or time: bool, or float32 in [0, 1].
        """

    def apply(self, batch: Batch, params: Any) -> Batch:
        return mix_by_mask(batch, params.partner, self.own_share(batch, params))


def mix_by_mask(
    batch: Batch,
    partner: Tensor,
    own: Tensor,
    *,
    kept: Tensor | None = None,
    given: Tensor | None = None,
) -> Batch:
    """Every sample mixed with its partner, inputs and targets.

    Args:
        batch: x (B, C, ...).
        partner: (B,) int64, rows of the dataset.
        own: (B, ...) over the axes of space or time: bool, true where the own sample is shown, or
            float32 in [0, 1], its share.
        kept: (B,) float32, weight of the own label; the area that is shown of the own sample by
            default.
        given: (B,) float32, weight of the partner's; 1 - kept by default.

    Raises:
        ValueError: the mask is not of the batch's size, or a weight not in [0, 1].
        TypeError: the mask shows some of both, and x is neither floating point nor uint8.
    """
    x = batch.tensor
    if own.shape != (len(x), *x.shape[2:]):
        raise ValueError(
            f"the mask of x {tuple(x.shape)} must be {(len(x), *x.shape[2:])}, "
            f"got {tuple(own.shape)}"
        )
    for name, weights in (("the weight kept", kept), ("the weight given", given)):
        if weights is not None:
            need_shares(name, weights)
    pool, at = batch.partners(partner)
    target = batch.target
    if target is not None and pool.target is not None:
        if target.placed:
            target = target.mix_places(pool.target[at], own)
        else:
            kept = shown_area(own) if kept is None else kept
            target = target.mix(pool.target[at], kept, given)
    return batch.replace(x=blended(x, pool.tensor, at, own, out=batch.out), target=target)


def blended(
    x: Tensor, pool: Tensor, at: Tensor, own: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """Show each row where its mask says so, and a row of the pool elsewhere.

    Args:
        x: (B, C, ...).
        pool: (P, C, ...), of x's type.
        at: (B,) int64, positions in the pool.
        own: (B, ...) without the channels: bool, or float in [0, 1].
        out: memory for the result, as `vicinal.mixers.blocks.room` takes it.

    Returns:
        (B, C, ...), new memory in x's memory format, or `out`.

    Raises:
        TypeError: the mask is floating point, and x is neither that nor uint8.
    """
    by_place = chosen if own.dtype == torch.bool else interpolated
    return by_place(x, pool, at, own, out=out)


def shown_area(own: Tensor) -> Tensor:
    """The mean of each mask. own: (B, ...) bool or float. Returns (B,) float32."""
    flat = own.flatten(1)
    if own.dtype == torch.bool:
        return (flat.sum(dim=1).double() / flat.shape[1]).float()
    return flat.mean(dim=1, dtype=torch.float64).float()


def made_once(make: Callable[..., Tensor], *columns: Tensor) -> Tensor:
    """What is made of each row of params, made only once where all rows are alike.

    They are with `scope="batch"`. Only on a CPU: elsewhere the host would wait to know.

    Args:
        make: from some columns of params, (M, ...) each, makes (M, ...).
        columns: (B, ...) each.

    Returns:
        (B, ...), one row's memory seen B times where it was made once.
    """
    here = all(column.device.type == "cpu" for column in columns)
    if torch.compiler.is_compiling() or not here or len(columns[0]) < 2:
        return make(*columns)
    if not all(torch.equal(column, column[:1].expand_as(column)) for column in columns):
        return make(*columns)
    made = make(*(column[:1] for column in columns))
    return made.expand(len(columns[0]), *made.shape[1:])


def upsampled(cells: Tensor, sizes: Sequence[int]) -> Tensor:
    """A grid of cells made as large as the samples: each place has the value of its nearest cell.

    Args:
        cells: (B, ...), with as many axes after the batch as there are sizes.
        sizes: of the axes of space or time; cells differ by one place where they do not divide it.

    Returns:
        (B, *sizes), of the cells' type.
    """
    for axis, size in enumerate(sizes, start=1):
        count = cells.shape[axis]
        if count != size:
            place = torch.arange(size, device=cells.device) * count // size
            cells = cells.index_select(axis, place)
    return cells
