"""One point for each voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core import counter
from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Range
from vicinal.core.draws import Draws
from vicinal.core.element_target import ElementTarget
from vicinal.core.params import Params
from vicinal.core.ragged import Ragged

Keep = Literal["first", "random"]


@dataclass(frozen=True)
class VoxelParams(Params):
    """key: (B,) int64, decides which point of a voxel stays, where that is left to chance."""

    key: Tensor


class Voxelise(Transform):
    """Keep one point of each voxel, with its own features and label.

    Source: Choy et al., 4D Spatio-Temporal ConvNets, CVPR 2019; Nekrasov et al., Mix3D, 3DV 2021,
    where points of several scenes may meet in a voxel.

    Args:
        size: side of a voxel, in units of the positions; > 0.
        keep: the `first` point of a voxel stays, or a `random` one.
    """

    card = Card(
        name="voxelise",
        kind="transform",
        family="sampling",
        modality=("points",),
        summary="Keeps one point of each voxel.",
        systems=("mix3d",),
        parameters={
            "size": Range(
                0.01, 0.5, default=0.05, scale="log", valid="(0, inf)", meaning="side of a voxel"
            ),
            "keep": Options(("first", "random"), "random", meaning="which point stays"),
        },
        targets=("elements",),
        example="x, target = vicinal.Voxelise(size=0.05)(x, target)",
        stage="prepared",
    )

    def __init__(self, size: float = 0.05, *, keep: Keep = "random") -> None:
        self.card.check(size=size, keep=keep)
        self.size = size
        self.keep = keep

    def sample(self, batch: Batch, draws: Draws) -> VoxelParams:
        return VoxelParams(draws.keys("voxels"))

    def apply(self, batch: Batch, params: VoxelParams) -> Batch:
        position: Ragged = batch.x["position"]
        kept = self._kept(position, params.key)
        target = batch.target
        if target is not None:
            if not isinstance(target, ElementTarget):
                raise TypeError(f"scenes need a class for each point, not {target.kind}")
            target = target.select(kept)
        return batch.replace(x={n: rows.select(kept) for n, rows in batch.x.items()}, target=target)

    def _kept(self, position: Ragged, key: Tensor) -> Tensor:
        """True for the point of each voxel that stays. Returns (N,) bool."""
        cell = (position.values / self.size).floor().long()
        places = torch.cat([position.row[:, None], cell], dim=1)
        voxel = torch.unique(places, dim=0, return_inverse=True)[1]
        number = torch.arange(len(voxel), device=voxel.device)
        rank = number
        if self.keep == "random":
            within = number - position.offsets[:-1][position.row]
            words = key[position.row] + within * counter.signed(counter.GOLDEN)
            # Ties of 62 bits go to the first point.
            rank = counter.mix_tensor(words) >> 2
        least = rank.new_full(
            (int(voxel.max()) + 1 if len(voxel) else 0,), torch.iinfo(torch.int64).max
        )
        least = least.scatter_reduce(0, voxel, rank, reduce="amin")
        best = rank == least[voxel]
        owner = number.new_full((len(least),), len(voxel)).scatter_reduce(
            0, voxel[best], number[best], reduce="amin"
        )
        return torch.zeros_like(best).index_fill_(0, owner, True)
