"""Mixing maps of features whose places are first brought into correspondence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer
from vicinal.mixers.sinkhorn import squared_distances, transport_plan

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class AlignMixParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    kept: (B,) float32, the weight of the own sample, in [0, 1].
    towards_own: (B,) bool: true where the partner's places are moved to match the own, false where
        the own are moved to match the partner's.
    """

    partner: Tensor
    kept: Tensor
    towards_own: Tensor


class AlignMix(PairMixer):
    """Interpolate the features of two samples after one has been aligned with the other.

    A plan of transport between the places of both maps says which of them look alike; each place of
    one map is interpolated with the mean of the places of the other that it goes to. No gradient
    flows through the plan. It is meant for a hidden layer, by `AtLayer`, and has no card: at the
    input, where places are pixels, it says nothing and costs their square.

    Source: Venkataramanan et al., AlignMixup: Improving Representations by Interpolating Aligned
    Features, CVPR 2022, section 3; OpenMixup's alignmix.py, which agrees to 1e-5 on plans and
    mixtures of single pairs.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        epsilon: weight of the entropy in the transport, in squared units of the features; > 0.
        iterations: of the transport at most, >= 1.
        tolerance: of its changes, see `transport_plan`; >= 0.
        scope: `sample` draws a weight and a direction for every sample, `batch` one for all.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range or the scope is unknown; or, when applied, the features
            are no map.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        *,
        epsilon: float = 0.1,
        iterations: int = 100,
        tolerance: float = 0.1,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        for name, value in (("alpha", alpha), ("epsilon", epsilon)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {iterations}")
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {tolerance}")
        if scope not in ("sample", "batch"):
            raise ValueError(f"scope must be sample or batch, got {scope!r}")
        super().__init__(pairing)
        self.alpha = alpha
        self.epsilon = epsilon
        self.iterations = iterations
        self.tolerance = tolerance
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> AlignMixParams:
        partner = self.pairing.partner(batch, draws)
        source = draws.shared() if self.scope == "batch" else draws
        kept = source.beta("kept", self.alpha, self.alpha)
        return AlignMixParams(partner, kept, source.bernoulli("towards own", 0.5))

    def apply(self, batch: Batch, params: AlignMixParams) -> Batch:
        x = batch.tensor
        if x.dim() < 3 or not x.is_floating_point():
            raise ValueError(
                f"places are aligned in maps of features (B, C, ...), got {x.dtype} "
                f"{tuple(x.shape)}"
            )
        pool, at = batch.partners(params.partner)
        target = batch.target
        if target is not None and pool.target is not None:
            target = target.mix(pool.target[at], params.kept)
        own, partner = x.flatten(2), pool.tensor.index_select(0, at).flatten(2)
        towards_own = params.towards_own[:, None, None]
        # One stays, and the places of the other are moved to match it.
        fixed = torch.where(towards_own, own, partner)
        free = torch.where(towards_own, partner, own)
        plan = self.plan(own, partner)
        moved = free @ torch.where(towards_own, plan.mT, plan).to(free.dtype)
        kept = params.kept.to(x.dtype)[:, None, None]
        mixed = torch.lerp(moved, fixed, torch.where(towards_own, kept, 1 - kept))
        mixed = mixed.view(x.shape)
        if not x.is_contiguous():  # channels last, say
            mixed = torch.empty_like(x).copy_(mixed)
        return batch.replace(x=mixed, target=target)

    def plan(self, own: Tensor, partner: Tensor) -> Tensor:
        """Which places of the partners belong to which of the own.

        Args:
            own: (B, C, N) features.
            partner: (B, C, N).

        Returns:
            (B, N, N) float32: for each own place the weights of the partner's, and the other way
            round, which sum to 1 as far as the transport has converged.
        """
        plan = transport_plan(
            squared_distances(own.detach(), partner.detach()),
            epsilon=self.epsilon,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        return plan * own.shape[2]
