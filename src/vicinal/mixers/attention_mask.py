"""Mixing by masks that a network makes of the samples' features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.mixers.k_way import Scope, drawn_weights, mix_many, partner_positions

Upsampling = Literal["bilinear", "nearest"]

#: Scores (B, N, h, w) of features (M, C, h, w), positions (B, N) in them, and weights (B, N).
MaskNetwork = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AttentionMaskParams(Params):
    """One row per output sample, which is mixed of N samples: its own, and N - 1 partners.

    partner: (B, N - 1) int64, the rows of the dataset that are mixed in.
    weights: (B, N) float32, of the labels, the own one first; rows sum to 1.
    scores: (B, N, h, w) float32, at the resolution of the features: the masks are the softmax over
        the N samples, once the scores are as large as the image. They carry gradients if the
        network's parameters do.
    matched: (B,) bool, rows whose masks are then changed so that their means are the weights; None
        if there are none.
    """

    partner: Tensor
    weights: Tensor
    scores: Tensor
    matched: Tensor | None = None


class AttentionMask(Mixer):
    """Mix images by masks that a network makes of their features, and the labels by drawn weights.

    The masks of the N images sum to one at every pixel. The labels' weights are those drawn, not
    the areas of the masks. The network is trained by a method; there is no card, since an untrained
    one is of no use. `apply` does without it, so that stored params replay.

    Source: Qin et al., Adversarial AutoMixup, ICLR 2024, section 3.1; Liu et al., AutoMix, ECCV
    2022, section 4.1, with two images.

    Args:
        generator: makes the scores.
        probe: asks for the features (B, C, h, w) of every image.
        images: in a mixture, >= 2.
        alpha: both shapes of the Beta distribution of the weights; > 0.
        scope: `sample` draws weights for every sample, `batch` one set for all of them.
        upsampling: how scores become as large as the image.
    """

    def __init__(
        self,
        generator: MaskNetwork,
        probe: Probe,
        *,
        images: int = 3,
        alpha: float = 1.0,
        scope: Scope = "sample",
        upsampling: Upsampling = "bilinear",
    ) -> None:
        self.generator = generator
        self.probe = probe
        self.probes = (probe,)
        self.images = images
        self.alpha = alpha
        self.scope = scope
        self.upsampling = upsampling

    def sample(self, batch: Batch, draws: Draws) -> AttentionMaskParams:
        positions = partner_positions(draws, self.images)
        own = torch.arange(len(batch), device=positions.device)
        weights = drawn_weights(draws, self.images, self.alpha, self.scope)
        at = torch.cat([own[:, None], positions], dim=1)
        scores = self.generator(batch.evidence[self.probe], at, weights)
        return AttentionMaskParams(batch.index[positions], weights, scores)

    def apply(self, batch: Batch, params: AttentionMaskParams) -> Batch:
        height, width = batch.tensor.shape[-2:]
        masks = masks_of_scores(params.scores, height, width, upsampling=self.upsampling)
        if params.matched is not None:
            rows = params.matched[:, None, None, None]
            masks = torch.where(rows, matched_to_weights(masks, params.weights), masks)
        return mix_many(batch, params.partner, weights=params.weights, shares=masks)


def masks_of_scores(scores: Tensor, height: int, width: int, *, upsampling: Upsampling) -> Tensor:
    """The share of every image at every pixel.

    Args:
        scores: (B, N, h, w).
        height: of the image.
        width: of the image.
        upsampling: how scores become as large as the image.

    Returns:
        (B, N, height, width), which sum to one over the N images.
    """
    # By two matrices: the gradient of torch's own upsampling is not deterministic on a GPU.
    down, across = (
        _resizing(old, new, upsampling=upsampling, like=scores)
        for old, new in zip(scores.shape[-2:], (height, width), strict=True)
    )
    with torch.autocast(scores.device.type, enabled=False):
        return (down @ scores @ across.T).softmax(dim=1)


def _resizing(old: int, new: int, *, upsampling: Upsampling, like: Tensor) -> Tensor:
    """The matrix (new, old) that resizes a row of numbers."""
    mode = "linear" if upsampling == "bilinear" else "nearest"
    rows = torch.eye(old, dtype=like.dtype, device=like.device)[None]
    return functional.interpolate(rows, size=new, mode=mode)[0].T


def matched_to_weights(masks: Tensor, weights: Tensor) -> Tensor:
    """Masks changed so that their means are the weights.

    A mask with too large a mean is scaled down; what it shows less of, each place gives to those
    with too small a mean, by what they lack.

    Source: Li et al., Scenario-Agnostic Mixup, arXiv 2021; `mask_adjust` in OpenMixup's automix.py,
    for two images, which takes the weight of another mixture for it.

    Args:
        masks: (B, N, H, W) in [0, 1], which sum to one over the N images.
        weights: (B, N), rows sum to one.

    Returns:
        (B, N, H, W), as the masks given.
    """
    weights = weights.to(masks.dtype)
    means = masks.mean(dim=(2, 3))
    tiny = torch.finfo(masks.dtype).tiny
    scale = torch.where(means > weights, weights / means.clamp(min=tiny), 1)
    lacking = (weights - means).clamp(min=0)
    lacking = lacking / lacking.sum(dim=1, keepdim=True).clamp(min=tiny)
    scaled = masks * scale[:, :, None, None]
    freed = 1 - scaled.sum(dim=1, keepdim=True)
    return scaled + freed * lacking[:, :, None, None]


def constant_near_ends(params: AttentionMaskParams, margin: float) -> AttentionMaskParams:
    """The same params, with plain mixup where the own weight is near an end.

    Args:
        params: of a batch.
        margin: rows whose own weight is at most this, or at least 1 - this, get masks that are
            their weights at every pixel; in [0, 1/2].
    """
    own = params.weights[:, 0]
    near = (own <= margin) | (own >= 1 - margin)
    weights = params.weights.to(params.scores.dtype)
    constant = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()[:, :, None, None]
    scores = torch.where(near[:, None, None, None], constant, params.scores)
    return replace(params, scores=scores)
