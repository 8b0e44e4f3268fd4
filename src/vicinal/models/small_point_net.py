"""A network for scenes of points: what is near each point, and what the scene holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from vicinal.core.card import Range
from vicinal.core.ragged import Ragged


class SmallPointNet(nn.Module):
    """Classifies points: two layers of edge convolutions, a pooled scene, and a linear head.

    Source: Wang et al., Dynamic Graph CNN for Learning on Point Clouds, TOG 2019, small, and with
    neighbours found once, by position; Qi et al., PointNet, CVPR 2017, for the pooled scene that
    every point sees.

    Args:
        input_shape: (F,), features of a point beside its position; 0 for none.
        outputs: classes.
        width: channels.
        neighbours: of a point, itself among them.
    """

    settings: ClassVar[Mapping[str, Range]] = {
        "width": Range(16, 128, default=32, valid="[1, inf)", integer=True),
        "neighbours": Range(4, 32, default=24, valid="[1, inf)", integer=True),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 32,
        neighbours: int = 24,
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "neighbours": neighbours}.items():
            self.settings[name].check(name, value)
        self.neighbours = neighbours
        if len(input_shape) != 1:
            raise ValueError(f"it takes scenes of points, not samples of shape {input_shape}")
        features = input_shape[0]
        self.first = _edge(3 + 2 * features, width)
        self.second = _edge(2 * width, width)
        self.scene = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU())
        self.local = nn.Sequential(nn.Linear(4 * width, 2 * width), nn.ReLU())
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: Mapping[str, Ragged]) -> Tensor:
        """The logits of all points, one after another.

        Args:
            x: scenes with `position`, rows of (N, 3); all else are features of the points.

        Returns:
            (N, outputs).
        """
        position = x["position"]
        near = nearest_points(position, self.neighbours)  # (N, K)
        place = position.values
        offset = place[near] - place[:, None]
        features = [rows.values for name, rows in sorted(x.items()) if name != "position"]
        if features:
            own = torch.cat(features, dim=1)
            beside = own[:, None].expand(-1, near.shape[1], -1)
            offset = torch.cat([offset, beside, own[near] - beside], dim=2)
        first = self.first(offset).amax(dim=1)
        beside = first[:, None].expand(-1, near.shape[1], -1)
        second = self.second(torch.cat([beside, first[near] - beside], dim=2)).amax(dim=1)
        local = torch.cat([first, second], dim=1)
        row = position.row
        pooled = self.scene(local)
        scene = pooled.new_zeros(len(position), pooled.shape[1]).scatter_reduce(
            0, row[:, None].expand_as(pooled), pooled, reduce="amax", include_self=True
        )
        output: Tensor = self.head(self.local(torch.cat([local, scene[row]], dim=1)))
        return output


def _edge(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


def nearest_points(position: Ragged, count: int) -> Tensor:
    """The nearest points of the same scene, the point itself first.

    Scenes of fewer points repeat the point itself.

    Returns:
        (N, count) int64, places among all points.
    """
    lengths, row = position.lengths, position.row
    most = int(lengths.max()) if len(lengths) else 0
    within = torch.arange(len(row), device=row.device) - position.offsets[:-1][row]
    padded = position.values.new_full((len(lengths), most, 3), torch.inf)
    padded[row, within] = position.values
    square = (padded[:, :, None] - padded[:, None]).square().sum(dim=3).nan_to_num(nan=torch.inf)
    order = square.topk(min(count, most), dim=2, largest=False).indices[row, within]  # (N, K)
    missing = order >= lengths[row][:, None]
    places = torch.where(missing, within[:, None], order) + position.offsets[:-1][row][:, None]
    short = count - places.shape[1]
    own = torch.arange(len(row), device=row.device)[:, None].expand(-1, max(0, short))
    return torch.cat([places, own], dim=1)
