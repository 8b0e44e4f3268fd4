"""Learning a teacher's distribution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget, SoftTarget, Target


class DistillKL(Objective):
    """The Kullback-Leibler divergence of the model's distribution from the target's, at
    temperature 1; the mean of the batch.

    Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, section 3, and the authors'
    trainers.py: no term for the hard label, no label smoothing.

    Raises:
        TypeError: the target is no distribution over classes.
    """

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if not isinstance(batch.target, ClassTarget | SoftTarget):
            kind = "no target" if batch.target is None else f"a {batch.target.kind} target"
            raise TypeError(f"distillation needs a distribution over classes, got {kind}")
        return kl_divergence(batch.target, output).mean()


def kl_divergence(target: Target, output: Tensor) -> Tensor:
    """How far the model's distribution is from the target's, for each row.

    The cross-entropy less the entropy of the target, which has no gradient.

    Args:
        target: a distribution over classes; a row's weights sum to 1.
        output: (B, C) logits.

    Returns:
        (B,) in nats, at least 0 but for rounding.

    Raises:
        TypeError: the target is of another kind.
    """
    return target.loss(output, reduction="none") - entropy(target, output.shape[1])


def entropy(target: Target, classes: int) -> Tensor:
    """The entropy of each row of a target. Returns (B,) in nats. See `kl_divergence`."""
    if isinstance(target, SoftTarget):
        return _entr(target.probabilities).sum(dim=1)
    if not isinstance(target, ClassTarget):
        raise TypeError(f"only distributions over classes have an entropy, not {target.kind}")
    merged = target.merged()
    weights = merged.weights
    if weights is None:
        raise AssertionError("merging gives every label a weight")
    uniform = torch.zeros_like(weights[:, 0]) if merged.uniform is None else merged.uniform
    each = uniform[:, None] / classes
    # A label without weight of its own is like the classes that are not named.
    named = weights != 0
    own = torch.where(named, _entr(weights + each), 0).sum(dim=1)
    return own + (classes - named.sum(dim=1)) * _entr(each[:, 0])


def _entr(share: Tensor) -> Tensor:
    """-p log p, 0 where p is 0 or, by rounding, below."""
    value: Tensor = torch.special.entr(share.clamp(min=0))
    return value
