"""Mixing any number of samples at once, by a weight or a mask for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import Target
from vicinal.mixers.blend import need_shares
from vicinal.mixers.blocks import BLOCK_BYTES, fresh_like, may_be_written
from vicinal.mixers.interpolate import Mixup, MixupParams

Scope = Literal["sample", "batch"]
Weights = Literal["beta", "dirichlet"]


@dataclass(frozen=True)
class KWayParams(Params):
    """One row per output sample, which is mixed of N samples: its own, and N - 1 partners.

    partner: (B, N - 1) int64, the rows of the dataset that are mixed in.
    weights: (B, N) float32, of the own sample and of its partners, in [0, 1]; rows sum to 1.
    """

    partner: Tensor
    weights: Tensor


class KWayMixup(Mixer):
    """Interpolate every sample with several others, and their labels with the same weights.

    Source: for `dirichlet`, d-Mixup of Chidambaram and Ge, On the Limitations of Temperature
    Scaling for Distributions with Overlaps, ICLR 2024, and the authors' mixup_utils.py: mixtures
    and losses agree to 1e-6 on the same weights and permutations. For `beta`, the plain mixture in
    Qin et al., Adversarial AutoMixup, ICLR 2024, section 3.2, and the authors' AdAutoMix.py: one
    Beta-distributed number a sample, divided by their sum. Two samples share a single number with
    both, as in mixup, whose results they are bit for bit.

    Args:
        images: samples in a mixture, >= 2; 2 is mixup. With d + 1 of them d-Mixup teaches a network
            about the space between its data in d directions; on images the authors found more than
            two to make it too unsure.
        alpha: shape of the distribution of the weights; > 0. Towards 0 one sample has all of it,
            towards infinity all have equal shares. With `dirichlet` every set of weights is equally
            likely at 1; with `beta` sets of equal shares are likelier than that.
        weights: `beta` or `dirichlet`, the distribution of the weights.
        scope: `sample` draws weights for every sample, `batch` one set for all of them.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="k_way_mixup",
        kind="mixer",
        family="interpolation",
        modality=("any",),
        summary="Interpolates several samples and their labels with random weights.",
        systems=("adautomix", "mixup-calibration"),
        paper=Paper(
            "Adversarial AutoMixup",
            authors="Qin, Jin, Jiang, Zhang, Wen, Wang, Liu",
            venue="ICLR",
            year=2024,
            arxiv="2312.11954",
        ),
        parameters={
            "images": Range(
                2, 5, default=3, valid="[2, inf)", integer=True, meaning="samples in a mixture"
            ),
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="shape of the weights' distribution, both of a Beta",
            ),
            "weights": Options(
                ("beta", "dirichlet"), "beta", meaning="AdAutoMix's weights, or d-Mixup's"
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one set"),
        },
        agrees="with the authors' code of d-Mixup and of AdAutoMix, to 1e-6",
        labels="mixed",
        keeps_meaning=False,
        differs=("one set of weights per sample, where the authors' code has one per batch",),
        example="x, target = vicinal.KWayMixup()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        images: int = 3,
        *,
        alpha: float = 1.0,
        weights: Weights = "beta",
        scope: Scope = "sample",
    ) -> None:
        self.card.check(images=images, alpha=alpha, weights=weights, scope=scope)
        self.images = int(images)
        self.alpha = alpha
        self.weights: Weights = weights
        self.scope: Scope = scope

    def sample(self, batch: Batch, draws: Draws) -> KWayParams:
        partner = batch.index[partner_positions(draws, self.images)]
        if self.weights == "dirichlet":
            source = draws.shared() if self.scope == "batch" else draws
            return KWayParams(partner, source.dirichlet("weights", [self.alpha] * self.images))
        return KWayParams(partner, drawn_weights(draws, self.images, self.alpha, self.scope))

    def apply(self, batch: Batch, params: KWayParams) -> Batch:
        if params.partner.shape[1] == 1:
            two = MixupParams(params.partner[:, 0], params.weights[:, 0])
            return _MIXUP.apply(batch, two)
        return mix_many(batch, params.partner, weights=params.weights)


#: What a mixture of two samples is made by.
_MIXUP = Mixup()


def partner_positions(draws: Draws, images: int) -> Tensor:
    """Who is mixed with whom: a permutation of the batch for every partner.

    Returns:
        (B, images - 1) int64, positions in the batch.
    """
    return torch.stack([draws.permutation(f"partner {place}") for place in range(1, images)], dim=1)


def drawn_weights(draws: Draws, images: int, alpha: float, scope: Scope) -> Tensor:
    """Weights of the samples in a mixture. Returns (B, images) float32, rows sum to 1."""
    source = draws.shared() if scope == "batch" else draws
    if images == 2:
        kept = source.beta("weights", alpha, alpha)
        return torch.stack([kept, 1 - kept], dim=1)
    numbers = source.beta("weights", alpha, alpha, shape=(images,))
    # Under a small alpha all numbers of a row can round to 0; they have equal shares then.
    numbers = numbers.clamp(min=torch.finfo(numbers.dtype).tiny)
    return numbers / numbers.sum(dim=1, keepdim=True)


def mix_many(
    batch: Batch, partner: Tensor, *, weights: Tensor, shares: Tensor | None = None
) -> Batch:
    """Every sample mixed with its partners, inputs and targets.

    Args:
        batch: floating point x.
        partner: (B, N - 1) int64, rows of the dataset.
        weights: (B, N) of the targets, the own one first.
        shares: of the inputs; (B, N, ...) masks over all axes but the channels. The weights by
            default.

    Raises:
        TypeError: x is not floating point.
        ValueError: a weight is not in [0, 1].
    """
    x = batch.tensor
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point to be interpolated, got {x.dtype}")
    need_shares("weights", weights)
    pool, at = batch.partners(partner.reshape(-1))
    at = at.view(partner.shape)
    if shares is None:
        shares = weights.view(*weights.shape, *(1,) * (x.dim() - 1))
    else:
        shares = shares.unsqueeze(2)  # (B, N, 1, ...), the same for all channels
    target = batch.target
    if target is not None and pool.target is not None:
        target = mixed_targets(target, pool.target, at, weights)
    return batch.replace(x=_mixed_inputs(x, pool.tensor, at, shares.to(x.dtype)), target=target)


def _mixed_inputs(x: Tensor, pool: Tensor, at: Tensor, shares: Tensor) -> Tensor:
    """The sum of all samples by their shares: (B, N, ...), each broadcast over a sample."""
    if not may_be_written(x, pool, shares):
        mixed = x * shares[:, 0]
        for place, rows in enumerate(at.unbind(1), start=1):
            # In place is right for gradients too: a product remembers its factors, not the sum.
            mixed.addcmul_(pool.index_select(0, rows), shares[:, place])
        return mixed
    # Some rows at a time, so that what is summed up stays in the cache until all are in it.
    out = fresh_like(x)
    step = max(1, BLOCK_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        mixed = torch.mul(x[block], shares[block, 0], out=out[block])
        for place, rows in enumerate(at[block].unbind(1), start=1):
            mixed.addcmul_(pool.index_select(0, rows), shares[block, place])
    return out


def mixed_targets(target: Target, pool: Target, at: Tensor, weights: Tensor) -> Target:
    """One mixture of the labels of all samples, whatever kind of target they are.

    Args:
        target: of the own samples.
        pool: of the partners, of the same kind.
        at: (B, N - 1) int64, the partners' positions in the pool.
        weights: (B, N), the own one first.
    """
    mixed = target.mix(pool[at[:, 0]], weights[:, 0], weights[:, 1])
    whole = torch.ones_like(weights[:, 0])
    for place in range(1, at.shape[1]):
        mixed = mixed.mix(pool[at[:, place]], whole, weights[:, place + 1])
    return mixed
