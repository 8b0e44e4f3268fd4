"""Pasting the whole of another image, made small."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask, need_boxes_inside
from vicinal.core.card import Card, Options, Paper, Result
from vicinal.core.draws import Draws
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer
from vicinal.mixers.paste import PasteParams, Scope, image_sizes, pasted_share
from vicinal.mixers.resized import Interpolation, paste_resized

Boundary = Literal["shift", "clip"]


class ResizeMix(PairMixer):
    """Paste the whole of another image as a thumbnail at a random place; labels mix by area.

    The thumbnail always holds what the other image shows, so that its label's weight is never that
    of a piece of background.

    Source: Qin et al., ResizeMix, 2020, section 3, and the authors' run_apis/trainer.py and
    tools/utils.py; with `boundary="clip"`, OpenMixup's resizemix.py. It agrees with both bit for
    bit, where the authors' call of `interpolate` goes by the size of the thumbnail.

    Args:
        scale: least and largest side of the thumbnail, as a share of the image's, in (0, 1]; drawn
            uniformly. It has at least one pixel.
        interpolation: of the thumbnail's pixels.
        boundary: a thumbnail that would hang over the border is moved inside by `shift`; by `clip`
            the box is cut, and the thumbnail made as large as what is left of it.
        scope: `sample` draws a thumbnail's size for every sample. `batch` draws one size for all,
            each at a place of its own; if they are cut, where the place decides on the size, one
            place too.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none, or scale no two numbers.
        ValueError: a value is out of range or unknown.
    """

    card = Card(
        name="resizemix",
        kind="mixer",
        family="paste",
        modality=("image",),
        summary="Pastes another image, made small, at a random place.",
        systems=("resizemix", "openmixup", "openmixup-mixers"),
        paper=Paper(
            "ResizeMix: Mixing Data with Preserved Object Information and True Labels",
            authors="Qin, Fang, Zhang, Liu, Wang, Wang",
            venue="Computational Visual Media",
            year=2023,
            arxiv="2012.11101",
        ),
        parameters={
            "interpolation": Options(
                ("nearest", "bilinear"), "nearest", meaning="of the thumbnail's pixels"
            ),
            "boundary": Options(
                ("shift", "clip"),
                "shift",
                meaning="what becomes of a thumbnail that hangs over the border",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one size"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code and OpenMixup's, bit for bit",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-100, WRN-28-10",
            metric="accuracy, %",
            baseline=81.20,
            value=84.31,
            note="as in the authors' repository",
        ),
        differs=(
            "one size per sample, where the authors' code has one per batch",
            "a thumbnail shows the image to its last row and column, where the authors' call of "
            "interpolate, since torch 1.6, leaves out what the rounding of its size cuts off",
            "a thumbnail has at least one pixel",
        ),
        controls=("cutmix",),
        example="x, target = vicinal.ResizeMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        scale: tuple[float, float] = (0.1, 0.8),
        *,
        interpolation: Interpolation = "nearest",
        boundary: Boundary = "shift",
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(interpolation=interpolation, boundary=boundary, scope=scope)
        super().__init__(pairing)
        if not isinstance(scale, tuple | list) or len(scale) != 2:
            raise TypeError(f"scale must be two numbers, least and largest, got {scale!r}")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be two numbers in (0, 1], the least first, got {scale}")
        self.scale = scale
        self.interpolation: Interpolation = interpolation
        self.boundary: Boundary = boundary
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        sizes = image_sizes(batch.tensor)
        source = draws.shared() if self.scope == "batch" else draws
        side = source.uniform("side", *self.scale)
        placed = source if self.boundary == "clip" else draws
        centre = placed.below("centre", sizes, shape=(2,))
        start, stop = thumbnail_boxes(side, centre, sizes, boundary=self.boundary)
        return PasteParams(self.pairing.partner(batch, draws), start, stop)

    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        x = batch.tensor
        sizes = image_sizes(x)
        need_boxes_inside(params.start, params.stop, sizes)
        pool, at = batch.partners(params.partner)
        target, source = batch.target, image_sizes(pool.tensor)
        if target is not None and pool.target is not None:
            partner = pool.target[at]
            if target.placed:
                box = params.start, params.stop
                partner = partner.resized_into(*box, sizes=sizes, source=source)
                target = target.mix_places(partner, ~box_mask(*box, sizes))
            else:
                given = pasted_share(params, sizes)
                target = target.mix(partner, 1 - given, given)
        whole = torch.tensor(source, device=at.device).expand_as(params.stop)
        mixed = paste_resized(
            x,
            pool.tensor,
            at,
            start=params.start,
            stop=params.stop,
            source_start=torch.zeros_like(whole),
            source_stop=whole,
            interpolation=self.interpolation,
            align_corners=False,
        )
        return batch.replace(x=mixed, target=target)


def thumbnail_boxes(
    side: Tensor, centre: Tensor, sizes: tuple[int, int], *, boundary: Boundary
) -> tuple[Tensor, Tensor]:
    """Boxes of a size around a place, moved inside the image or cut at its border.

    Args:
        side: (B,) float, a share of the image's side, in [0, 1].
        centre: (B, 2) int64, row and column in the image.
        sizes: height and width of the image.
        boundary: whether they are moved or cut.

    Returns:
        start and stop, both (B, 2) int64; a box is never empty.
    """
    end = torch.tensor(sizes, device=side.device)
    size = (side.double()[:, None] * end).long()
    if boundary == "shift":
        size = size.clamp(min=1)
        start = (centre - size // 2).clamp(min=0).minimum(end - size)
        return start, start + size
    half = (size // 2).clamp(min=1)
    return (centre - half).clamp(min=0), (centre + half).minimum(end)
