"""Scenes warped by smooth noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core import counter
from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.ragged import Ragged
from vicinal.core.scenes import extent, positions

#: Box blurs of three nodes along each axis, each of which needs a node more on either side.
BLURS = 2
#: Nodes of the grids of a batch: their noise takes a few GB.
MOST_NODES = 2**27


@dataclass(frozen=True)
class ElasticParams(Params):
    """One row per scene.

    key: (B,) int64, decides the noise of all nodes.
    active: (B,) bool, whether the scene is warped.
    """

    key: Tensor
    active: Tensor


class ElasticDistortion(Transform):
    """Move points by smooth noise, neighbours alike.

    Every node of a cubic grid has normal noise, smoothed by box blurs of three nodes along each
    axis; points between nodes move by trilinear interpolation. A point moves by 0.105 `magnitude`
    along each axis (root mean square).

    Source: Nekrasov et al., Mix3D, 3DV 2021, the authors' code, which is that of Choy et al., 4D
    Spatio-Temporal ConvNets, CVPR 2019. Theirs is one at (0.2, 0.4) and one at (0.8, 1.6).

    Cost: noise for the box about each scene, all boxes as large as the largest in the batch.

    Args:
        granularity: distance of the nodes, in units of the positions; > 0.
        magnitude: what the smoothed noise is multiplied with, in units of the positions; >= 0.
        prob: how often a scene is warped, in [0, 1].

    Raises:
        ValueError: a value is out of range; in `apply`, scenes are too large for the granularity.
    """

    card = Card(
        name="elastic_distortion",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Warps scenes of points by smooth noise.",
        systems=("mix3d",),
        parameters={
            "granularity": Range(
                0.1, 2.0, 0.2, scale="log", valid="(0, inf)", meaning="distance of noise nodes"
            ),
            "magnitude": Range(
                0.0, 3.0, default=0.4, valid="[0, inf)", meaning="how far points move"
            ),
            "prob": Range(
                0.0, 1.0, default=0.95, valid="[0, 1]", meaning="how often a scene is warped"
            ),
        },
        targets=("elements",),
        differs=(
            "nodes lie at multiples of the granularity, not from the scene's lowest point on",
            "there is noise beyond the scene too, where the authors' code blurs with zeros",
            "of two in a row each draws whether it acts; the authors draw once for both",
        ),
        example="x, target = vicinal.ElasticDistortion(0.2, magnitude=0.4)(x, target)",
    )

    def __init__(
        self, granularity: float = 0.2, *, magnitude: float = 0.4, prob: float = 0.95
    ) -> None:
        self.card.check(granularity=granularity, magnitude=magnitude, prob=prob)
        self.granularity = granularity
        self.magnitude = magnitude
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> ElasticParams:
        return ElasticParams(draws.keys("noise"), draws.bernoulli("active", self.prob))

    def apply(self, batch: Batch, params: ElasticParams) -> Batch:
        position = positions(batch)
        if not len(position.values):
            return batch
        moved = position.values + self.magnitude * self._noise(position, params.key)
        active = params.active[position.row][:, None]
        values = torch.where(active, moved.to(position.dtype), position.values)
        return batch.replace(x={**batch.x, "position": position.with_values(values)})

    def _noise(self, position: Ragged, key: Tensor) -> Tensor:
        """Smooth noise where the points are. Returns (N, 3) float32."""
        _, low, high = extent(position)
        first = (low / self.granularity).floor().long()
        last = (high / self.granularity).floor().long() + 1
        size = (last - first + 1).amax(dim=0).tolist()
        nodes = len(position) * size[0] * size[1] * size[2]
        if nodes > MOST_NODES:
            raise ValueError(
                f"scenes of up to {size} nodes are too large for granularity {self.granularity}: "
                "take a larger one, fewer scenes at a time, or look for points far off"
            )
        field = smooth_noise(key, first, size=size).movedim(1, -1)  # (B, X, Y, Z, 3)

        scaled = position.values.float() / self.granularity
        row, cell = position.row, scaled.floor()
        share = scaled - cell
        corner = torch.tensor(list(itertools.product((0, 1), repeat=3)), device=row.device)
        place = (cell.long() - first[row])[:, None] + corner  # (N, 8, 3)
        x, y, z = place.unbind(2)
        between = field[row[:, None], x, y, z].view(-1, 2, 2, 2, 3)
        for axis in range(3):
            weight = share[:, axis].view(-1, *[1] * (3 - axis))
            between = torch.lerp(between[:, 0], between[:, 1], weight)
        return between


def smooth_noise(key: Tensor, first: Tensor, *, size: list[int]) -> Tensor:
    """Blurred normal noise at the nodes of grids: a function of the key and the node alone.

    Args:
        key: (B,) int64.
        first: (B, 3) int64, the lowest node of each grid.
        size: nodes along each axis.

    Returns:
        (B, 3, *size) float32, three numbers a node.
    """
    words = key
    for axis in range(3):
        node = torch.arange(-BLURS, size[axis] + BLURS, device=key.device) + first[:, axis, None]
        node = node.view(len(key), *[1] * axis, -1)
        words = counter.mix_tensor(words[..., None] + node * counter.signed(counter.GOLDEN))
    number = torch.arange(3, device=key.device).view(3, 1, 1, 1)
    words = counter.mix_tensor(words[:, None] + number * counter.signed(counter.GOLDEN))
    # 23 bits and a half are exact in float32, and never 0 or 1, whose quantiles are infinite.
    unit = (((words >> 41) & ((1 << 23) - 1)).float() + 0.5) * 2.0**-23
    noise: Tensor = torch.special.ndtri(unit)
    for _ in range(BLURS):
        noise = F.avg_pool3d(noise, kernel_size=3, stride=1)
    return noise
