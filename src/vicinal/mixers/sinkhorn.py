"""Entropic optimal transport between the places of two maps of features, a batch at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: By how much, as a logarithm, what underflows in single precision (87) may grow unseen.
UNDERFLOW = 45.0


def transport_plan(
    cost: Tensor, *, epsilon: float = 0.1, iterations: int = 100, tolerance: float = 0.1
) -> Tensor:
    """How much of each place goes to each place of another map, with equal weight on all places.

    Sinkhorn's iteration on the logarithms of the scalings, so that costs many times `epsilon` do
    not underflow. Every pair of maps stops by itself, whatever else is in the batch: once an
    iteration has moved the potentials of its rows by less than `tolerance` in all.

    Source: Cuturi, Sinkhorn Distances, NeurIPS 2013, algorithm 1; its stopping rule and defaults
    are those of the authors of AlignMix (Venkataramanan et al., CVPR 2022), whose code stops all
    pairs of a batch by their mean.

    Args:
        cost: (B, N, M), at least 0.
        epsilon: weight of the entropy, in units of the cost; > 0. Towards 0 each place goes to one.
        iterations: at most, >= 1.
        tolerance: of the sum of the changes, in units of the cost; at 0 no pair stops early.

    Returns:
        (B, N, M) of cost's type, without gradients; columns sum to 1 / M, and rows to 1 / N as far
        as it has converged.
    """
    with torch.no_grad(), torch.autocast(cost.device.type, enabled=False):
        wide = cost.to(torch.promote_types(cost.dtype, torch.float32))
        plan = _scaled(wide / -epsilon, iterations, tolerance / epsilon)
    return plan.to(cost.dtype)


def _scaled(kernel: Tensor, iterations: int, tolerance: float) -> Tensor:
    """The exponential of a kernel with its rows and columns scaled in turn.

    The first iteration is done on logarithms. From then on an iteration multiplies no element by
    more than N M, so that some of them can be done on the plan itself, without a logarithm or an
    exponential of a matrix, before what underflowed could matter: it is computed anew then.
    """
    rows, columns = (1 / size for size in kernel.shape[1:])
    moved = math.log(rows) - kernel.logsumexp(dim=2, keepdim=True)
    going = moved.abs().sum(dim=1, keepdim=True) >= tolerance  # (B, 1, 1)
    kernel = kernel + moved
    kernel = kernel + (math.log(columns) - kernel.logsumexp(dim=1, keepdim=True))
    together = max(1, int(UNDERFLOW / math.log(max(2, kernel.shape[1] * kernel.shape[2]))))
    # Asking whether all have stopped would make the host wait for a GPU.
    may_ask = kernel.device.type == "cpu" and not torch.compiler.is_compiling()
    done = 1
    while done < iterations and not (may_ask and not bool(going.any())):
        plan = kernel.exp()
        across = plan.mT.contiguous()
        left = torch.ones_like(plan[:, :, :1])
        right = torch.ones_like(across[:, :, :1])
        for _ in range(min(together, iterations - done)):
            found = torch.where(going, rows / (plan @ right), left)
            shift = (found / left).log_().abs_().sum(dim=1, keepdim=True)
            left = found
            right = torch.where(going, columns / (across @ left), right)
            going = going & (shift >= tolerance)
            done += 1
            if may_ask and not bool(going.any()):
                break
        kernel = kernel + left.log() + right.log().mT
    return kernel.exp()


def squared_distances(one: Tensor, other: Tensor) -> Tensor:
    """The squared distances of all features of one map to all of another.

    Args:
        one: (B, C, N).
        other: (B, C, M).

    Returns:
        (B, N, M) float32, or float64 for float64; at least 0.
    """
    with torch.autocast(one.device.type, enabled=False):
        wide = torch.promote_types(one.dtype, torch.float32)
        one, other = one.to(wide), other.to(wide)
        # About the own mean, so that what all places have in common costs no digits.
        centre = one.mean(dim=2, keepdim=True)
        one, other = one - centre, other - centre
        lengths = one.square().sum(dim=1)[:, :, None] + other.square().sum(dim=1)[:, None, :]
        return torch.baddbmm(lengths, one.mT, other, alpha=-2).clamp(min=0)
