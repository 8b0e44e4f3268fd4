"""Mixing by union: the points of several scenes make one scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.params import Params
from vicinal.core.ragged import Ragged
from vicinal.core.scenes import extent, positions

Placement = Literal["overlap", "beside", "far"]
Second = Literal["labelled", "ignored"]

#: How far scenes are thrown apart on each axis, in units of the positions.
FAR = 2000.0


@dataclass(frozen=True)
class UnionParams(Params):
    """One row per output scene.

    group: (M, K) int64, the rows of the dataset that are joined, -1 behind the last of them.
    shift: (M, K, 3) float32, what is added to the positions of each.
    """

    group: Tensor
    shift: Tensor


class SceneUnion(Mixer):
    """Join scenes of points, each centred and moved at random, with all their labels.

    There are fewer scenes out than in. Samples are dicts of rows of unequal lengths (`Ragged`) with
    `position` (N, 3) among them; targets have a class for each point.

    Source: Nekrasov et al., Mix3D: Out-of-Context Data Augmentation for 3D Scenes, 3DV 2021,
    section 3: consecutive scenes of the batch are joined, and a last odd one stays alone.

    Args:
        scenes: how many make one; >= 2.
        prob: how often a group is joined at all, in [0, 1]; scenes of others pass one by one.
        placement: `overlap` moves each centred scene by at most half of its extremes; `beside`
            puts scenes next to each other along the first axis; `far` throws them apart.
        second: whether points of all but the first scene are `labelled`, or `ignored` by the loss.

    Raises:
        ValueError: a value is out of range, or an option unknown.
    """

    card = Card(
        name="mix3d",
        kind="mixer",
        family="union",
        modality=("points",),
        summary="Joins scenes of points into one, all points and labels kept.",
        systems=("mix3d",),
        paper=Paper(
            "Mix3D: Out-of-Context Data Augmentation for 3D Scenes",
            authors="Nekrasov, Schult, Litany, Leibe, Engelmann",
            venue="3DV",
            year=2021,
            arxiv="2110.02210",
        ),
        parameters={
            "scenes": Range(
                2, 4, default=2, valid="[2, inf)", integer=True, meaning="scenes that make one"
            ),
            "prob": Range(
                0.0, 1.0, default=1.0, valid="[0, 1]", meaning="how often a group is joined"
            ),
            "placement": Options(
                ("overlap", "beside", "far"), "overlap", meaning="where the scenes lie"
            ),
            "second": Options(
                ("labelled", "ignored"), "labelled", meaning="labels of all but the first scene"
            ),
        },
        agrees="on cases made by hand: the authors' code needs a GPU",
        labels="mixed",
        targets=("elements",),
        keeps_meaning=True,
        controls=("mix3d:placement=far",),
        example="x, target = vicinal.SceneUnion()(x, target); loss = target.loss(model(x))",
        stage="prepared",
    )

    def __init__(
        self,
        scenes: int = 2,
        *,
        prob: float = 1.0,
        placement: Placement = "overlap",
        second: Second = "labelled",
    ) -> None:
        self.card.check(scenes=scenes, prob=prob, placement=placement, second=second)
        self.scenes = scenes
        self.prob = prob
        self.placement = placement
        self.second = second

    def sample(self, batch: Batch, draws: Draws) -> UnionParams:
        place = torch.arange(len(batch), device=batch.index.device)
        member = place % self.scenes
        active = draws.bernoulli("active", self.prob)[place - member]  # of its group's first scene
        first = (member == 0) | ~active
        row = first.cumsum(0) - 1
        slot = torch.where(active, member, 0)
        size = (int(first.sum()), self.scenes)
        group = torch.full(size, -1, device=batch.index.device)
        group[row, slot] = batch.index
        shift = torch.zeros(*size, 3, device=batch.index.device)
        shift[row, slot] = self._shift(positions(batch), slot, draws)
        return UnionParams(group, shift)

    def partners(self, params: UnionParams) -> Tensor:
        return params.group[params.group >= 0]

    def apply(self, batch: Batch, params: UnionParams) -> Batch:
        joined = params.group >= 0
        pool, at = batch.partners(params.group[joined])
        counts = joined.sum(dim=1)
        picked = {name: rows[at] for name, rows in pool.x.items()}
        position = picked["position"]
        shift = params.shift[joined][position.row].to(position.dtype)
        picked["position"] = position.with_values(position.values + shift)
        target = batch.target
        if target is not None and pool.target is not None:
            labels = pool.target[at]
            if not isinstance(labels, ElementTarget):
                raise TypeError(f"scenes need a class for each point, not {labels.kind}")
            target = ElementTarget(self._labels(labels.labels, joined).joined(counts))
        lead = at[torch.nn.functional.pad(counts.cumsum(0), (1, 0))[:-1]]
        return batch.replace(
            x={name: rows.joined(counts) for name, rows in picked.items()},
            target=target,
            index=pool.index[lead],
            evidence={},
            extras={name: rows[lead] for name, rows in pool.extras.items()},
        )

    def _labels(self, labels: Ragged, joined: Tensor) -> Ragged:
        if self.second == "labelled":
            return labels
        behind = joined.nonzero()[:, 1] > 0
        return labels.with_values(labels.values.masked_fill(behind[labels.row], IGNORED))

    def _shift(self, position: Ragged, slot: Tensor, draws: Draws) -> Tensor:
        """What moves each scene to its place. Returns (B, 3) float32."""
        mean, low, high = extent(position)
        if self.placement == "beside":
            # The scenes of a group stand side by side: each as far on as those before it are wide.
            width = (high - low)[:, 0]
            before = width.cumsum(0) - width
            start = before - before[torch.arange(len(slot), device=slot.device) - slot]
            return torch.stack([start - low[:, 0], -mean[:, 1], -mean[:, 2]], dim=1)
        unit = draws.uniform("shift", shape=(3,)).to(mean)
        if self.placement == "far":
            return (2 * unit - 1) * FAR - mean
        return (low - mean + unit * (high - low)) / 2 - mean
