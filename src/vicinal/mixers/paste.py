"""Mixing by pasting: a part of another sample replaces the same part of the own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask, inside_boxes, need_boxes_inside
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers import compiled
from vicinal.mixers.blocks import fresh_like, may_be_written
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class PasteParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is pasted in.
    start, stop: (B, R) int64, the box along each of the R axes of space or time; stop is exclusive.
        An empty box leaves the sample as it is.
    """

    partner: Tensor
    start: Tensor
    stop: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """1 inside the boxes and 0 outside, as `vicinal.core.partner_share` has it."""
        return inside_boxes(self.start, self.stop, places).float()


class CutMix(PairMixer):
    """Paste a random box of another sample, and mix the labels by area.

    Works on series (B, C, T), images (B, C, H, W) and volumes (B, C, D, H, W).

    Source: Yun et al., CutMix, ICCV 2019, algorithm 1, and the authors' train.py: a box that hangs
    over the border is clipped, and the labels' weights are the shares of what is left. Box and
    partner are drawn per sample; the authors' code draws one box for the whole batch.

    Args:
        alpha: both shapes of the Beta distribution of the share kept, before clipping; > 0. At 1
            every share is equally likely, towards 0 a sample is kept or replaced nearly whole.
        prob: how often a sample is mixed at all, in [0, 1]; with `scope="batch"`, how often a
            batch.
        minmax: the least and the largest side of the box, as shares of the image's, 0 < least <
            largest <= 1: both sides are drawn evenly between them, and the box lies inside, as in
            timm. `alpha` has no say then. None for the paper's boxes.
        scope: `sample` draws a box for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="cutmix",
        kind="mixer",
        family="paste",
        modality=("image", "series", "audio", "volume"),
        summary="Pastes a box of another sample and mixes the labels by area.",
        systems=("cutmix", "openmixup", "openmixup-mixers"),
        paper=Paper(
            "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
            authors="Yun, Han, Oh, Chun, Choe, Yoo",
            venue="ICCV",
            year=2019,
            arxiv="1905.04899",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the share kept",
            ),
            "prob": Range(
                0.0, 1.0, default=1.0, valid="[0, 1]", meaning="how often a sample is mixed"
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one box"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code, bit for bit, for one box a batch",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="ImageNet-1k, ResNet-50, 300 epochs",
            metric="top-1 error, %",
            baseline=23.68,
            value=21.40,
            note="best epoch; no seeds given",
        ),
        differs=("one box per sample, where the authors' code has one per batch",),
        example="x, target = vicinal.CutMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    writes_out = True

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        prob: float = 1.0,
        minmax: tuple[float, float] | None = None,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, prob=prob, scope=scope)
        if minmax is not None and not (len(minmax) == 2 and 0 < minmax[0] < minmax[1] <= 1):
            raise ValueError(f"minmax must be 0 < least < largest <= 1, got {minmax!r}")
        super().__init__(pairing)
        self.minmax = minmax
        self.alpha = alpha
        self.prob = prob
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        sizes = spatial_sizes(batch.tensor)
        partner = self.pairing.partner(batch, draws)
        source = draws.shared() if self.scope == "batch" else draws
        if self.minmax is None:
            kept = source.beta("share kept", self.alpha, self.alpha)
            centre = source.below("centre", sizes, shape=(len(sizes),))
            start, stop = boxes(kept, centre, sizes)
        else:
            start, stop = boxes_inside(source, sizes, self.minmax)
        if self.prob < 1:
            active = source.bernoulli("active", self.prob)
            stop = torch.where(active[:, None], stop, start)
        return PasteParams(partner, start, stop)

    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        x = batch.tensor
        need_boxes_inside(params.start, params.stop, spatial_sizes(x))
        pool, at = batch.partners(params.partner)
        target = batch.target
        if target is not None and pool.target is not None:
            if target.placed:
                own = ~box_mask(params.start, params.stop, spatial_sizes(x))
                target = target.mix_places(pool.target[at], own)
            else:
                given = pasted_share(params, spatial_sizes(x))
                target = target.mix(pool.target[at], 1 - given, given)
        mixed = paste(x, pool.tensor, at, start=params.start, stop=params.stop, out=batch.out)
        return batch.replace(x=mixed, target=target)


def spatial_sizes(x: Tensor) -> tuple[int, ...]:
    """The sizes of the axes after batch and channels. x: (B, C, ...) with one to three more axes.

    Raises:
        ValueError: x has no such axis, or more than three.
    """
    if not 3 <= x.dim() <= 5:
        raise ValueError(
            "x must be a series (B, C, T), images (B, C, H, W) or volumes (B, C, D, H, W), "
            f"got shape {tuple(x.shape)}"
        )
    return tuple(x.shape[2:])


def image_sizes(x: Tensor) -> tuple[int, int]:
    """Height and width of images. Raises ValueError if x are none."""
    if x.dim() != 4:
        raise ValueError(f"x must be images (B, C, H, W), got shape {tuple(x.shape)}")
    return x.shape[2], x.shape[3]


def paste(
    x: Tensor,
    pool: Tensor,
    at: Tensor,
    *,
    start: Tensor,
    stop: Tensor,
    out: Tensor | None = None,
) -> Tensor:
    """Replace a box of each row by the same box of a row of the pool.

    Args:
        x: (B, C, ...).
        pool: (P, C, ...), of x's type.
        at: (B,) int64, positions in the pool.
        start: (B, R) int64, where the boxes begin.
        stop: (B, R) int64, where they end.
        out: memory for the result, which may be x's own; not where gradients are wanted.

    Returns:
        (B, C, ...), new memory in x's memory format, or `out`.
    """
    if not may_be_written(x, pool):
        inside = box_mask(start, stop, spatial_sizes(x))[:, None]  # (B, 1, ...)
        return torch.where(inside, pool[at], x)
    over = out is not None and out.data_ptr() == x.data_ptr()
    kept = out is not None and _same_memory(out, pool)  # what is pasted is read before it is lost
    if out is None:
        out = fresh_like(x)
    if len(x) and start.stride(0) == stop.stride(0) == 0:  # as `scope="batch"` has them
        place = (slice(None), slice(None), *map(slice, start[0].tolist(), stop[0].tolist()))
        box = pool[place].index_select(0, at)
        if not over:
            out.copy_(x)
        out[place] = box
        return out
    if not kept and compiled.paste(out, x, pool, at, start=start, stop=stop):
        return out
    # On a CPU a loop over the boxes, by NumPy's views, takes two thirds of the time of gather
    # and `where` for 256 images of 32 x 32 and half of it for 64 of 224 x 224: it touches the boxes
    # alone. By torch's views it takes three times as long for the small ones.
    source = _array(pool)
    sides = (map(slice, *axis) for axis in zip(start.T.tolist(), stop.T.tolist(), strict=True))
    places = list(zip(repeat(...), *sides, strict=False))
    pasted = [source[row][place] for row, place in zip(at.tolist(), places, strict=True)]
    if kept:
        pasted = [box.copy() for box in pasted]
    if not over:
        out.copy_(x)
    for row, place, box in zip(_array(out), places, pasted, strict=True):
        row[place] = box
    return out


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _array(x: Tensor) -> Any:
    """A tensor's memory as an array. NumPy lacks bfloat16: it sees whole numbers of that size."""
    return (x.detach().view(torch.int16) if x.dtype == torch.bfloat16 else x.detach()).numpy()


def boxes(kept: Tensor, centre: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Boxes that would leave a share of the space uncovered, clipped at its borders.

    Args:
        kept: (B,) float, the share, in [0, 1].
        centre: (B, R) int64, in [0, size) along each axis.
        sizes: R sizes.

    Returns:
        start and stop, both (B, R) int64.
    """
    # The authors' code cuts the side to whole pixels, and then each half again; that is the half of
    # the side, cut once. In float64: where it comes close to a whole number, float32 rounds as the
    # device likes.
    if len(kept) > 1 and kept.stride(0) == centre.stride(0) == 0:  # one box for all rows
        one = boxes(kept[:1], centre[:1], sizes)
        return one[0].expand_as(centre), one[1].expand_as(centre)
    halves = [size / 2 for size in sizes]
    if kept.device.type == "cpu":  # in NumPy, as in `Draws`: in half of torch's time
        side = (1 - kept.numpy().astype(np.float64)) ** (1 / len(sizes))
        half = (np.array(halves)[:, None] * side).astype(np.int64).T
        middle = centre.numpy()
        start, stop = np.maximum(middle - half, 0), np.minimum(middle + half, sizes)
        return torch.from_numpy(start), torch.from_numpy(stop)
    sides = (1 - kept.double()[:, None]) ** (1 / len(sizes))
    reach = (sides * torch.tensor(halves, device=kept.device)).long()
    end = torch.tensor(sizes, device=kept.device)
    return (centre - reach).clamp(min=0), (centre + reach).minimum(end)


def boxes_inside(
    draws: Draws, sizes: tuple[int, ...], minmax: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Boxes whose sides are drawn evenly, anywhere inside.

    Source: timm's `rand_bbox_minmax`, which leaves the largest side out.

    Args:
        draws: of the batch.
        sizes: R sizes.
        minmax: the least and the largest side, as shares of the sizes.

    Returns:
        start and stop, both (B, R) int64.
    """
    least = [int(size * minmax[0]) for size in sizes]
    reach = [max(1, int(size * minmax[1]) - low) for size, low in zip(sizes, least, strict=True)]
    shape = (len(sizes),)
    side = draws.below("side", reach, shape=shape)
    side = side + torch.tensor(least, device=side.device)
    places = torch.tensor(sizes, device=side.device) - side + 1
    start = draws.below("start", places, shape=shape)
    return start, start + side


def pasted_share(params: PasteParams, sizes: tuple[int, ...]) -> Tensor:
    """The share of the space that each box covers. Returns (B,) float32, exact to its rounding."""
    start, stop = params.start, params.stop
    if len(start) > 1 and start.stride(0) == stop.stride(0) == 0:
        covered = math.prod((stop[0] - start[0]).tolist())
        return torch.full((), covered / math.prod(sizes)).expand(len(start))
    if params.stop.device.type == "cpu":
        covered = np.prod(stop.numpy() - start.numpy(), axis=1)
        return torch.from_numpy((covered / math.prod(sizes)).astype(np.float32))
    return (params.stop - params.start).prod(dim=1) / math.prod(sizes)
