"""Noise on images along the gradient of a loss, which a pass is done for anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

#: The largest level of an image of 8 bits.
WHITE = 255.0
#: The step along the gradient's sign is so much longer than the radius, in levels.
BEYOND = 2.0


@dataclass(frozen=True)
class AdversarialNoise:
    """A step up the loss from a random place near the image, cut to a box around the image.

    Source: the authors' code of Kim et al., Puzzle Mix, ICML 2020, which follows Wong et al., Fast
    is Better than Free, ICLR 2020; the noise found is made weaker by a random factor.

    start: (B, C, H, W) float32, in levels: where the gradient is to be taken; 0 for images that get
        no noise.
    own: (B,) bool, whether the image gets the noise where it is the own of a mixture.
    partner: (B,) bool, whether it does where it is the partner.
    strength: (B,) float32, the share of the noise that is added.
    radius: the largest that a pixel may change, in levels.
    """

    start: Tensor
    own: Tensor
    partner: Tensor
    strength: Tensor
    radius: float

    @classmethod
    def drawn(
        cls, levels: Tensor, draws: Draws, *, common: Draws, share: float, radius: float
    ) -> Self:
        """Which images get noise, and where each of them starts.

        Args:
            levels: (B, C, H, W) float32 in [0, 255].
            draws: of the starts.
            common: of all else; the same where there is one draw for every sample.
            share: how often an image gets it, in each of both places; in [0, 1].
            radius: in levels, > 0.
        """
        own, partner = common.bernoulli("own", share), common.bernoulli("partner", share)
        noisy = (own | partner).nonzero()[:, 0]
        start = torch.zeros_like(levels)
        if len(noisy):
            image = levels[noisy]
            near = draws[noisy].uniform("start", -radius, radius, shape=image.shape[1:])
            start[noisy] = (image + near).clamp_(0, WHITE) - image
        return cls(start, own, partner, common.uniform("strength"), radius)

    def added(self, levels: Tensor, gradient: Tensor) -> Tensor:
        """All images with the noise. gradient: (B, C, H, W), where they started. In [0, 255]."""
        noise = self.start + (self.radius + BEYOND) * gradient.sign()
        noise = noise.clamp_(-self.radius, self.radius) * self.strength[:, None, None, None]
        return noise.add_(levels).clamp_(0, WHITE)
