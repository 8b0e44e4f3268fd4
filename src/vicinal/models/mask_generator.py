"""Networks that say, from the features of images, which of them is shown where."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Standard deviation of the weights at the start, so that all images are shown alike.
START = 0.01


class MaskGenerator(nn.Module):
    """Scores for every place of any number of images, by attention of each to the others.

    The scores of an image are its values, weighted by the attention of its places to those of all
    other images. All images go through the same weights, so that the order does not matter.

    Source: Qin et al., Adversarial AutoMixup, ICLR 2024, section 3.1, and `co_mix` in the authors'
    Ada_mix_pine.py, where queries and keys are rectified, which the paper does not say. They
    project every image of every mixture; a projection of one place at a time commutes with picking
    images, so that here each image is projected once.

    Args:
        channels: of the features.
        embed_weights: whether the weight of an image is one more channel of its features.
    """

    def __init__(self, channels: int, *, embed_weights: bool = False) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query = Projection(channels, inner, embed_weights=embed_weights, rectified=True)
        self.key = Projection(channels, inner, embed_weights=embed_weights, rectified=True)
        self.value = Projection(channels, 1, embed_weights=embed_weights)

    def forward(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        """The scores of the images in every mixture.

        Args:
            features: (M, C, h, w) of all images.
            at: (B, N) int64, which of them are mixed.
            weights: (B, N) of each image in its mixture.

        Returns:
            (B, N, h, w) float32.
        """
        query, key, value = (
            project(features, at, weights) for project in (self.query, self.key, self.value)
        )
        others = key.sum(dim=1, keepdim=True) - key
        return _attend(query, others, value).view(*at.shape, *features.shape[-2:])


class PairMaskGenerator(nn.Module):
    """Scores for every place of two images, by attention of the own image to its partner.

    The partner's scores are its values, weighted by the attention of the own image's places to the
    partner's. The own scores are 0, so that the partner's mask is the sigmoid of its scores.

    Source: Liu et al., AutoMix, ECCV 2022, section 4.1, and `PixelMixBlock` in OpenMixup: query and
    key are one projection.

    Args:
        channels: of the features.
        embed_weights: whether the weight of an image is one more channel of its features.
    """

    def __init__(self, channels: int, *, embed_weights: bool = False) -> None:
        super().__init__()
        self.query = Projection(channels, max(channels // 2, 1), embed_weights=embed_weights)
        self.value = Projection(channels, 1, embed_weights=embed_weights)

    def forward(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        """The scores of the images in every pair.

        Args:
            features: (M, C, h, w) of all images.
            at: (B, 2) int64, which of them are mixed.
            weights: (B, 2) of each image in its mixture.

        Returns:
            (B, 2, h, w) float32.
        """
        own, partner = self.query(features, at, weights).unbind(1)
        value = self.value(features, at[:, 1:], weights[:, 1:])[:, 0]
        scores = _attend(own, partner, value).view(len(at), *features.shape[-2:])
        return torch.stack([torch.zeros_like(scores), scores], dim=1)


class JointMaskGenerator(nn.Module):
    """Scores for every place of two images, by attention between what both are together.

    The weights scale the features: the own by 1 + w, the partner's by 2 - w. Query and key each
    read the features of both; values are a small network of the partner's. The own scores are 0, so
    that the partner's mask is the sigmoid of its scores.

    Source: Li et al., Boosting Discriminative Visual Representation Learning with
    Scenario-Agnostic Mixup, arXiv 2021, and `PixelMixBlock` with `x_qk_concat`, `lam_mul`,
    `lam_residual` and a `ConvNeck` for the values in OpenMixup.

    Args:
        channels: of the features.
        curvature: how little the weight is flattened around one half, >= 0: see `flattened_weight`.
        dropout: of values in training, in [0, 1).
    """

    def __init__(self, channels: int, *, curvature: float = 0.25, dropout: float = 0.0) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.query = nn.Linear(2 * channels, inner)
        self.key = nn.Linear(2 * channels, inner)
        self.value = nn.Sequential(
            nn.Linear(channels, inner, bias=False),
            # By the statistics of the mixtures at hand: none are kept, so that asking for masks
            # changes nothing.
            nn.BatchNorm1d(inner, track_running_stats=False),
            nn.ELU(),
            nn.Linear(inner, 1, bias=False),
            nn.Dropout(dropout),
        )
        self.curvature = curvature
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=START)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        """The scores of the images in every pair.

        Args:
            features: (M, C, h, w) of all images.
            at: (B, 2) int64, which of them are mixed.
            weights: (B, 2) of each image in its mixture.

        Returns:
            (B, 2, h, w) float32.
        """
        places = features.flatten(2).transpose(1, 2)  # (M, h * w, C)
        # In half precision the scores of attention overflow.
        with torch.autocast(features.device.type, enabled=False):
            share = flattened_weight(weights.float(), self.curvature)
            scaled = places.float()[at] * (1 + share)[:, :, None, None]  # (B, 2, h * w, C)
            both = torch.cat(scaled.unbind(1), dim=2)
            partner = scaled[:, 1]
            value = self.value(partner.flatten(0, 1)).view(*partner.shape[:2], 1)
            scores = _attend(self.query(both), self.key(both), value)
        scores = scores.view(len(at), *features.shape[-2:])
        return torch.stack([torch.zeros_like(scores), scores], dim=1)


def flattened_weight(weight: Tensor, curvature: float) -> Tensor:
    """A weight bent towards one half, so that it changes less in the middle than at the ends.

    0, 1/2 and 1 stay where they are.

    Args:
        weight: (...) in [0, 1].
        curvature: >= 0; at infinity the weight is left as it is.

    Returns:
        (...), of weight's type.
    """
    if math.isinf(curvature):
        return weight
    slope = curvature + 1
    bent: Tensor = 4 / 3 * weight**3 - 2 * weight**2 + slope * weight
    return bent / (slope - 2 / 3)


class Projection(nn.Module):
    """A linear map of the channels at every place, for the images in every mixture.

    Args:
        channels: of the features.
        projected: channels of the result.
        embed_weights: whether the weight of an image is one more channel of its features.
        rectified: whether negative results are set to 0.
    """

    def __init__(
        self, channels: int, projected: int, *, embed_weights: bool, rectified: bool = False
    ) -> None:
        super().__init__()
        self.features = nn.Linear(channels, projected)
        self.weight = nn.Linear(1, projected, bias=False) if embed_weights else None
        for module in (self.features, self.weight):
            if module is not None:
                nn.init.normal_(module.weight, std=START)
        nn.init.zeros_(self.features.bias)
        self.rectified = rectified

    def forward(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        """Project, pick, and add what the weights do.

        Args:
            features: (M, C, h, w).
            at: (B, N) int64.
            weights: (B, N).

        Returns:
            (B, N, h * w, projected) float32.
        """
        places = features.flatten(2).transpose(1, 2)  # (M, h * w, C)
        # In half precision the scores of attention overflow.
        with torch.autocast(features.device.type, enabled=False):
            projected: Tensor = self.features(places.float())[at]
            if self.weight is not None:
                projected = projected + self.weight(weights.float()[:, :, None, None])
            return projected.relu() if self.rectified else projected


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with one channel of values. Each (..., L, D). Returns (..., L).

    Written out: torch's own takes four times as long for values narrower than keys.
    """
    with torch.autocast(query.device.type, enabled=False):
        attention = ((query * query.shape[-1] ** -0.5) @ key.mT).softmax(dim=-1)  # (..., L, L)
        attended: Tensor = (attention @ value)[..., 0]
    return attended
