"""How a reader knows that an augmentation still does what it did when its params were stored.

The first params of every shard are applied to made-up samples, and the results are kept as a number
each. A reader applies them again: an operation that was changed, renumbered or lost gives other
numbers. Another machine may round otherwise, and is forgiven that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget

#: Params of a shard that are tried.
TRIED = 32
#: Share of the samples' range by which a number may differ.
TOLERANCE = 1e-4


def prove(
    augmentation: Augmentation, params: Params, index: Tensor, *, shape: Sequence[int], dtype: str
) -> list[float]:
    """A number for each of the first rows: the weighted mean of what the params make.

    Args:
        augmentation: applies the params.
        params: some stored ones.
        index: the rows of the dataset that they are of.
        shape: of a raw sample.
        dtype: of it, as torch names it.

    Raises:
        Exception: whatever the augmentation raises for params that it no longer understands.
    """
    params, index = params[:TRIED], index[:TRIED]
    rows = index
    if isinstance(augmentation, Mixer):
        rows = torch.cat([index, augmentation.partners(params)])
    pool = _made_up(torch.unique(rows), shape, dtype)
    batch = pool.take(index).replace(pool=pool)
    result = augmentation.apply(batch, params).tensor.double().flatten(1)
    # Every value has a weight of its own, so that moving values about changes the sum.
    place = torch.arange(result.shape[1])
    weight = Draws(0, place).within("proof").uniform("weight").double()
    return [float(one) for one in (result * weight).mean(dim=1)]


def agree(found: Sequence[float], wanted: Sequence[float], *, dtype: str) -> bool:
    """Whether two proofs are the same but for rounding. dtype: of a raw sample."""
    most = TOLERANCE * (255 if dtype == "uint8" else 1)
    return len(found) == len(wanted) and all(
        math.isclose(one, other, rel_tol=0.0, abs_tol=most)
        for one, other in zip(found, wanted, strict=True)
    )


def _made_up(rows: Tensor, shape: Sequence[int], dtype: str) -> Batch:
    """Samples that are functions of their row: noise that does not fill the range."""
    noise = 0.2 + 0.6 * Draws(0, rows).within("proof").uniform("sample", shape=shape)
    whole = not getattr(torch, dtype).is_floating_point
    x = (noise * 255).to(getattr(torch, dtype)) if whole else noise.to(getattr(torch, dtype))
    return Batch(x=x, target=ClassTarget(torch.zeros(len(rows), 1).long()), index=rows)
