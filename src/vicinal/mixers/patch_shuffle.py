"""Several images made into one, each of them in its own patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.cells import cells_area, cells_at, shown
from vicinal.mixers.k_way import mixed_targets
from vicinal.mixers.masks import blended
from vicinal.mixers.paste import spatial_sizes

Images = Literal["one", "all"]


@dataclass(frozen=True)
class PatchShuffleParams(Params):
    """One row per output sample, of which there are fewer than went in, or as many.

    group: (M, G) int64, the rows of the dataset that are mixed; where a group is smaller, its first
        row fills it up, and those places show nothing.
    source: (M, ...) int64 in [0, G), an axis of the grid for each axis of space: the place in the
        group of the sample that each cell shows.
    extent: (M, R) int64, what the grid covers along each of the R axes: the sample.
    """

    group: Tensor
    source: Tensor
    extent: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """1 where not the first of the group is, as `vicinal.core.partner_share` has it."""
        return cells_at(self.source > 0, self.extent, places).float()


class PatchShuffleMix(Mixer):
    """Make one sample of a group, by patches that each show one of them in its own place.

    All samples of a group show equally many patches, up to one where they do not come out even. The
    samples that are left over at the end of a batch make a smaller group. `params.source` says what
    every patch shows: what a model may be asked to find out.

    Source: Chen et al., Mixed Autoencoder for Self-supervised Visual Representation Learning, CVPR
    2023, of which this is the mixing; no code of the authors is public.

    Args:
        group: samples that make one; >= 2.
        cells: patches along each axis; the shares are equal where `group` divides their number.
        images: `one` makes one sample of a group, `all` as many as are in it, which together show
            every patch of every sample.

    Raises:
        ValueError: a value is out of range, or an option unknown.
    """

    card = Card(
        name="patch_shuffle_mix",
        kind="mixer",
        family="grid",
        modality=("image", "series", "audio", "volume"),
        summary="Makes one image of a group of them, each shown in as many patches of its own.",
        systems=("mixed-autoencoder",),
        paper=Paper(
            "Mixed Autoencoder for Self-supervised Visual Representation Learning",
            authors="Chen, Liu, Hong, Xu, Li, Yeung",
            venue="CVPR",
            year=2023,
            arxiv="2303.17152",
        ),
        parameters={
            "group": Range(
                2, 4, default=2, valid="[2, inf)", integer=True, meaning="samples that make one"
            ),
            "cells": Range(
                2, 14, default=8, valid="[1, inf)", integer=True, meaning="patches along each axis"
            ),
            "images": Options(("one", "all"), "one", meaning="made of each group"),
        },
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "there is no authors' code; whether they make one image of a group or all is not "
            "known, both are here",
            "labels mix by area, where the paper has none",
        ),
        example="x, target = vicinal.PatchShuffleMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(self, group: int = 2, *, cells: int = 8, images: Images = "one") -> None:
        self.card.check(group=group, cells=cells, images=images)
        self.group = int(group)
        self.cells = int(cells)
        self.images = images

    def sample(self, batch: Batch, draws: Draws) -> PatchShuffleParams:
        sizes = spatial_sizes(batch.tensor)
        size, device = len(batch), batch.index.device
        order = draws.keys("order").argsort()  # who meets whom does not depend on who came first
        place = torch.empty_like(order).scatter_(0, order, torch.arange(size, device=device))
        member = place % self.group
        first = place - member
        members = (size - first).clamp(max=self.group)
        slots = torch.arange(self.group, device=device)
        turn = torch.where(
            slots < members[:, None], (member[:, None] + slots) % members[:, None], 0
        )
        # What fills up is the own sample: slot 0 of its own turn.
        turn = torch.where(slots < members[:, None], turn, member[:, None])
        group = batch.index[order[first[:, None] + turn]]
        # As many of each as there can be: the ranks of random numbers, counted off.
        keys = draws.keys("cells", shape=(self.cells ** len(sizes),))[order[first]]
        rank = keys.argsort(dim=1).argsort(dim=1)
        source = (rank % members[:, None]).view(size, *[self.cells] * len(sizes))
        params = PatchShuffleParams(
            group, source, torch.tensor(sizes, device=device).expand(size, -1)
        )
        return params if self.images == "all" else params[member == 0]

    def partners(self, params: PatchShuffleParams) -> Tensor:
        return params.group.reshape(-1)

    def readdressed(self, params: PatchShuffleParams, rows: Tensor) -> PatchShuffleParams:
        return replace(params, group=rows.view_as(params.group))

    def apply(self, batch: Batch, params: PatchShuffleParams) -> Batch:
        sizes = spatial_sizes(batch.tensor)
        pool, at = batch.partners(params.group.reshape(-1))
        at = at.view(params.group.shape)
        lead = at[:, 0]
        x = pool.tensor[lead]
        source = shown_source(params, sizes)
        for slot in range(1, self.group):
            x = blended(x, pool.tensor, at[:, slot], source != slot)
        target = batch.target
        if target is not None and pool.target is not None:
            shares = [cells_area(params.source == s, sizes, sizes) for s in range(self.group)]
            weights = torch.stack(shares, dim=1)
            target = mixed_targets(pool.target[lead], pool.target, at[:, 1:], weights)
        return batch.replace(
            x=x,
            target=target,
            index=pool.index[lead],
            evidence={},
            extras={name: rows[lead] for name, rows in pool.extras.items()},
        )


def shown_source(params: PatchShuffleParams, sizes: Sequence[int]) -> Tensor:
    """The place in its group of the sample that each pixel shows.

    Args:
        params: of some samples.
        sizes: of the samples' axes.

    Returns:
        (M, *sizes) int64.
    """
    return shown(params.source, sizes, sizes)
