"""Scenes in another light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.scenes import positions


@dataclass(frozen=True)
class JitterParams(Params):
    """One row per scene.

    gain: (B,) float32, what colours are multiplied with.
    offset: (B, 3) float32, what is added to each channel then.
    """

    gain: Tensor
    offset: Tensor


class JitterPointColours(Transform):
    """Change brightness, contrast and tint of scenes: all points of a scene alike.

    Colours are the feature `colour`, (N, 3) in [0, 1], and stay in that range. Scenes without
    colours are left as they are.

    Source: Nekrasov et al., Mix3D, 3DV 2021, the authors' code.

    Args:
        brightness: the most that is added to all channels, in [0, 1].
        contrast: colours are multiplied by 1 plus or minus at most this; in [0, 1].
        shift: the most that is added to each channel besides, in [0, 1].
        prob: how often brightness and contrast change, and how often the tint; in [0, 1].

    Raises:
        ValueError: a value is out of range.
        TypeError: in `apply`, colours are not (N, 3).
    """

    card = Card(
        name="jitter_point_colours",
        kind="transform",
        family="colour",
        modality=("points",),
        summary="Changes brightness, contrast and tint of scenes of points.",
        systems=("mix3d",),
        parameters={
            "brightness": Range(0.0, 0.5, default=0.2, valid="[0, 1]", meaning="most added to all"),
            "contrast": Range(0.0, 0.5, default=0.2, valid="[0, 1]", meaning="how far from 1"),
            "shift": Range(
                0.0, 0.5, default=20 / 255, valid="[0, 1]", meaning="most added to a channel"
            ),
            "prob": Range(0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often, each"),
        },
        targets=("elements",),
        differs=("colours are cut to [0, 1] once, not after each change",),
        example="x, target = vicinal.JitterPointColours()(x, target)",
    )

    def __init__(
        self,
        brightness: float = 0.2,
        *,
        contrast: float = 0.2,
        shift: float = 20 / 255,
        prob: float = 0.5,
    ) -> None:
        self.card.check(brightness=brightness, contrast=contrast, shift=shift, prob=prob)
        self.brightness = brightness
        self.contrast = contrast
        self.shift = shift
        self.prob = prob

    def sample(self, batch: Batch, draws: Draws) -> JitterParams:
        lit, tinted = draws.bernoulli("changed", self.prob, shape=(2,)).unbind(1)
        gain = draws.uniform("contrast", 1 - self.contrast, 1 + self.contrast)
        light = draws.uniform("brightness", -self.brightness, self.brightness) * lit
        tint = draws.uniform("shift", -self.shift, self.shift, shape=(3,)) * tinted[:, None]
        return JitterParams(torch.where(lit, gain, 1.0), light[:, None] + tint)

    def apply(self, batch: Batch, params: JitterParams) -> Batch:
        positions(batch)  # refuses what is no scene
        colour = batch.x.get("colour")
        if colour is None:
            return batch
        if colour.values.shape[1:] != (3,):
            raise TypeError(f"colours must be rows of (N, 3), got {tuple(colour.values.shape)}")
        gain = params.gain[colour.row, None].to(colour.dtype)
        offset = params.offset[colour.row].to(colour.dtype)
        values = (colour.values * gain + offset).clamp(0, 1)
        return batch.replace(x={**batch.x, "colour": colour.with_values(values)})
