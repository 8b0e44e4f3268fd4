"""Scenes moved as a whole: to the origin, and off it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.scenes import extent, positions


@dataclass(frozen=True)
class ShiftParams(Params):
    """One row per scene. shift: (B, 3) float32, added to the positions, in their units."""

    shift: Tensor


class _Shift(Transform):
    """What carries a shift out."""

    def apply(self, batch: Batch, params: ShiftParams) -> Batch:
        position = positions(batch)
        values = position.values + params.shift[position.row].to(position.dtype)
        return batch.replace(x={**batch.x, "position": position.with_values(values)})


class CentrePoints(_Shift):
    """Move scenes so that the mean of their points is the origin.

    Source: Nekrasov et al., Mix3D, 3DV 2021, section 3.
    """

    card = Card(
        name="centre_points",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Moves the mean of a scene's points to the origin.",
        systems=("mix3d",),
        targets=("elements",),
        example="x, target = vicinal.CentrePoints()(x, target)",
    )

    def sample(self, batch: Batch, draws: Draws) -> ShiftParams:
        # Kept, though it is no draw: a mean taken again may differ in its last bit.
        return ShiftParams(-extent(positions(batch))[0])


class ShiftPoints(_Shift):
    """Move scenes by a share of a place within their extremes, meant for centred ones.

    Source: Nekrasov et al., Mix3D, 3DV 2021, section 3: P + U(min P, max P) / 2 for each axis.

    Args:
        share: of a place drawn between the lowest and the highest point; in [0, 1].

    Raises:
        ValueError: share is out of range.
    """

    card = Card(
        name="shift_points",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Moves scenes of points by up to half of their extremes.",
        systems=("mix3d",),
        parameters={
            "share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="of the extremes: 0 moves nothing"
            )
        },
        targets=("elements",),
        example="x, target = vicinal.ShiftPoints()(x, target)",
    )

    def __init__(self, share: float = 0.5) -> None:
        self.card.check(share=share)
        self.share = share

    def sample(self, batch: Batch, draws: Draws) -> ShiftParams:
        _, low, high = extent(positions(batch))
        unit = draws.uniform("place", shape=(3,)).to(low)
        return ShiftParams(self.share * (low + unit * (high - low)))
