"""A mixer of your own: stripes of another image, of random width.

vicinal compare photos/ --components examples/stripe_mix.py --methods none,stripe_mix
"""

from dataclasses import dataclass

import torch

from vicinal import Card, Params
from vicinal.mixers.masks import MaskMixer


@dataclass(frozen=True)
class StripeMixParams(Params):
    partner: torch.Tensor  # (B,) int64, rows of the dataset
    width: torch.Tensor  # (B,) int64, columns of a stripe


class StripeMix(MaskMixer):
    card = Card(
        name="stripe_mix",
        kind="mixer",
        family="grid",
        modality=("image",),
        labels="mixed",
        summary="Shows another image in every other stripe.",
        stage="prepared",
        keeps_meaning=False,
        differentiable=True,
        example="x, target = StripeMix()(x, y)",
    )

    def sample(self, batch, draws):
        half = batch.tensor.shape[-1] // 2
        return StripeMixParams(self.pairing.partner(batch, draws), 1 + draws.below("width", half))

    def own_share(self, batch, params):
        columns = torch.arange(batch.tensor.shape[-1], device=params.width.device)
        own = columns // params.width[:, None] % 2 == 0  # (B, W)
        return own[:, None].expand(-1, batch.tensor.shape[-2], -1)
