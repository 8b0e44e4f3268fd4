"""Scenes mirrored, turned and stretched about the origin.

Directions that points may have, a feature named `normal` of (N, 3), go along with a mirroring and a
turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.ragged import Ragged
from vicinal.core.scenes import positions


@dataclass(frozen=True)
class FlipParams(Params):
    """One row per scene. flipped: (B, 2) bool, along x and along y."""

    flipped: Tensor


class FlipPoints(Transform):
    """Mirror scenes along x and along y, each by a coin of its own.

    Source: Nekrasov et al., Mix3D, 3DV 2021, the authors' code.

    Args:
        prob: how often a scene is mirrored along either axis, in [0, 1].

    Raises:
        ValueError: prob is out of range.
    """

    card = Card(
        name="flip_points",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Mirrors scenes of points along x and y.",
        systems=("mix3d",),
        parameters={
            "prob": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often, along either axis"
            )
        },
        targets=("elements",),
        differs=("x becomes -x, where the authors' code has max(x) - x: the same but for a shift",),
        example="x, target = vicinal.FlipPoints()(x, target)",
    )

    def __init__(self, prob: float = 0.5) -> None:
        self.card.check(prob=prob)
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        return FlipParams(draws.bernoulli("flipped", self.prob, shape=(2,)))

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        flipped = torch.nn.functional.pad(params.flipped, (0, 1))  # never upside down
        return _with_directions(
            batch, lambda rows: torch.where(flipped[rows.row], -rows.values, rows.values)
        )


@dataclass(frozen=True)
class RotateParams(Params):
    """One row per scene. angle: (B, 3) float32, about x, y and z in degrees."""

    angle: Tensor


class RotatePoints(Transform):
    """Turn scenes about the vertical axis, and tilt them a little.

    The turn about z and the tilts about y and x follow each other, each by a coin and an angle of
    its own, about the origin.

    Source: Nekrasov et al., Mix3D, 3DV 2021, the authors' code.

    Args:
        turn: the largest angle about z, in degrees, in [0, 180].
        tilt: the largest angle about x and about y, in degrees, in [0, 180].
        prob: how often a scene is turned about each axis, in [0, 1].

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="rotate_points",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Turns scenes of points about the vertical axis, and tilts them a little.",
        systems=("mix3d",),
        parameters={
            "turn": Range(
                0.0, 180.0, default=180.0, valid="[0, 180]", meaning="largest angle about z, °"
            ),
            "tilt": Range(
                0.0, 15.0, default=7.5, valid="[0, 180]", meaning="largest angle about x and y, °"
            ),
            "prob": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often, about each axis"
            ),
        },
        targets=("elements",),
        example="x, target = vicinal.RotatePoints()(x, target)",
    )

    def __init__(self, turn: float = 180.0, *, tilt: float = 7.5, prob: float = 0.5) -> None:
        self.card.check(turn=turn, tilt=tilt, prob=prob)
        self.turn = turn
        self.tilt = tilt
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> RotateParams:
        unit = draws.uniform("angle", -1.0, 1.0, shape=(3,))
        angle = unit * unit.new_tensor([self.tilt, self.tilt, self.turn])
        return RotateParams(angle * draws.bernoulli("turned", self.prob, shape=(3,)))

    def apply(self, batch: Batch, params: RotateParams) -> Batch:
        angle = params.angle * (math.pi / 180)
        return _with_directions(batch, lambda rows: turned(rows.values, angle[rows.row]))


def turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points turned about z, then y, then x; those with angle 0 stay as they are to the bit.

    Args:
        points: (N, 3).
        angle: (N, 3), about x, y and z in radians, against the clock as seen from the axis's tip.

    Returns:
        (N, 3) of the type of the points.
    """
    cos, sin = angle.cos().to(points.dtype), angle.sin().to(points.dtype)
    columns = list(points.unbind(1))
    for axis in (2, 1, 0):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        a, b = columns[first], columns[second]
        columns[first] = cos[:, axis] * a - sin[:, axis] * b
        columns[second] = sin[:, axis] * a + cos[:, axis] * b
    return torch.stack(columns, dim=1)


@dataclass(frozen=True)
class ScaleParams(Params):
    """One row per scene. factor: (B, 3) float32, of each axis."""

    factor: Tensor


class ScalePoints(Transform):
    """Stretch or shrink scenes a little, each axis by a factor of its own.

    Normals are left as they are.

    Source: Nekrasov et al., Mix3D, 3DV 2021, the authors' code.

    Args:
        amount: factors lie in [1 - amount, 1 + amount]; in [0, 1).
        prob: how often a scene is scaled, in [0, 1].

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="scale_points",
        kind="transform",
        family="geometry",
        modality=("points",),
        summary="Stretches or shrinks scenes of points along each axis.",
        systems=("mix3d",),
        parameters={
            "amount": Range(
                0.0, 0.5, default=0.1, valid="[0, 1)", meaning="how far factors are from 1"
            ),
            "prob": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often a scene is scaled"
            ),
        },
        targets=("elements",),
        example="x, target = vicinal.ScalePoints()(x, target)",
    )

    def __init__(self, amount: float = 0.1, *, prob: float = 0.5) -> None:
        self.card.check(amount=amount, prob=prob)
        self.amount = amount
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> ScaleParams:
        factor = draws.uniform("factor", 1 - self.amount, 1 + self.amount, shape=(3,))
        scaled = draws.bernoulli("scaled", self.prob)
        return ScaleParams(torch.where(scaled[:, None], factor, 1.0))

    def apply(self, batch: Batch, params: ScaleParams) -> Batch:
        position = positions(batch)
        values = position.values * params.factor[position.row].to(position.dtype)
        return batch.replace(x={**batch.x, "position": position.with_values(values)})


def _with_directions(batch: Batch, change: Callable[[Ragged], Tensor]) -> Batch:
    """The batch with its positions changed, and its normals alike."""
    x = {**batch.x, "position": positions(batch)}
    for name in ("position", "normal"):
        if name in x:
            x[name] = x[name].with_values(change(x[name]))
    return batch.replace(x=x)
