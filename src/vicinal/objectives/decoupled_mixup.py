"""Losses of mixtures in which the classes that are mixed do not compete with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget

Kind = Literal["ce", "bce"]
Side = Literal["both", "more", "less"]


@dataclass(frozen=True)
class Rescale:
    """What a label counts for its share of a mixture: `(share / threshold) ** power`, at most 1.

    threshold: the share from which on a label counts whole, in (0, 1].
    power: how fast less counts less, >= 0; at 0 every label that is there counts whole.

    Raises:
        ValueError: a value is out of range.
    """

    threshold: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {self.threshold}")
        if not self.power >= 0:
            raise ValueError(f"power must be at least 0, got {self.power}")

    def __call__(self, share: Tensor) -> Tensor:
        """Of each share, at least 0. What is not there counts 0."""
        counted = (share / self.threshold).clamp(max=1).pow(self.power)
        return torch.where(share > 0, counted, 0)


class DecoupledMixup(Objective):
    """The loss of a mixture, and that each of its classes wins against all that are not in it.

    In the mixture's cross-entropy its classes take probability from each other, so that a model
    hedges on mixtures that are hard. The term that is added judges each of them by a softmax
    without the others: their logits get no gradient from it. With `kind="bce"` every class is
    judged for itself, by a label for what it is counted in the mixture. Where both samples have one
    class, nothing is mixed, and the loss is the ordinary one.

    Source: Liu et al., Harnessing Hard Mixed Samples with Decoupled Regularizer, NeurIPS 2023,
    sections 4.1 and 4.2; `soft_mix_cross_entropy` and `ClsMixupHead` in OpenMixup, which agree to
    1e-6 where a batch has one weight. They find the classes by comparing weights with those of the
    first row: weights of a half, or of each sample's own, are lost to them.

    Args:
        eta: of the term that is added, >= 0; of `ce` alone.
        rescale: what a label counts for its share: the term of each label is multiplied by it, and
            with `bce` it is the label. By default every label that is there counts whole.
        kind: `ce`, or `bce` for classes that are judged by a sigmoid each.
        side: whose terms are added: of `both` (all) labels, of the one with `more` weight, or of
            that with `less`; equal ones share it. Of `ce` alone.
        negatives: weight of the classes that are not in the mixture, in [0, 1]; of `bce` alone.

    Raises:
        ValueError: a setting is unknown or out of range; or, when called, a smoothed target with
            `bce`.
        TypeError: when called, the target has no class labels.
    """

    def __init__(
        self,
        eta: float = 0.1,
        rescale: Rescale | None = None,
        *,
        kind: Kind = "ce",
        side: Side = "both",
        negatives: float = 1.0,
    ) -> None:
        for name, value, known in (("kind", kind, get_args(Kind)), ("side", side, get_args(Side))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not eta >= 0:
            raise ValueError(f"eta must be at least 0, got {eta}")
        if not 0 <= negatives <= 1:
            raise ValueError(f"negatives must be in [0, 1], got {negatives}")
        self.eta = eta
        self.rescale = Rescale(power=0.0) if rescale is None else rescale
        self.kind = kind
        self.side = side
        self.negatives = negatives

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if not isinstance(batch.target, ClassTarget):
            came = "no target" if batch.target is None else f"a {batch.target.kind} target"
            raise TypeError(f"decoupled mixup needs class labels, got {came}")
        if self.kind == "bce":
            return binary_loss(
                output, batch.target, rescale=self.rescale, negatives=self.negatives
            ).mean()
        loss = batch.target.loss(output, reduction="none")
        if self.eta:
            labels, weights = present(batch.target)
            counted = self.rescale(weights) * on_side(weights, self.side)
            alone = (weights > 0).sum(dim=1, keepdim=True) < 2
            counted = torch.where(alone, 0, counted)
            loss = loss - self.eta * (counted * decoupled(output, labels)).sum(dim=1)
        return loss.mean()


def present(target: ClassTarget) -> tuple[Tensor, Tensor]:
    """The labels of each row, each once, and their weights.

    Returns:
        (B, K) int64 and (B, K): where a label is there again, or has no weight, the heaviest one
        of its row stands in its place with weight 0.
    """
    merged = target.merged()
    weights = merged.weights
    assert weights is not None
    heaviest = merged.labels.gather(1, weights.argmax(dim=1, keepdim=True))
    return torch.where(weights > 0, merged.labels, heaviest), weights


def decoupled(output: Tensor, labels: Tensor) -> Tensor:
    """The logarithm of each label's probability were the row's other labels no classes.

    Its gradient in the logits of the others is exactly 0.

    Args:
        output: (B, C) logits.
        labels: (B, K) int64; a label may be there several times.

    Returns:
        (B, K) float32, or float64 for float64; 0 where no other class is left.
    """
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    own = output.gather(1, labels)
    others = output.scatter(1, labels, -torch.inf).logsumexp(dim=1, keepdim=True)
    return F.logsigmoid(own - others)


def on_side(weights: Tensor, side: Side) -> Tensor:
    """Which of the labels in a mixture count.

    Args:
        weights: (B, K), 0 where there is no label.
        side: all of them, the heaviest or the lightest.

    Returns:
        (B, K) float: 1 for those that count; several that are equal share it.
    """
    there = weights > 0
    if side == "both":
        return there.to(weights.dtype)
    if side == "more":
        extreme = weights.amax(dim=1, keepdim=True)
    else:
        extreme = torch.where(there, weights, torch.inf).amin(dim=1, keepdim=True)
    found = there & (weights == extreme)
    return found / found.sum(dim=1, keepdim=True).clamp(min=1)


def binary_loss(
    output: Tensor, target: ClassTarget, *, rescale: Rescale, negatives: float = 1.0
) -> Tensor:
    """Binary cross-entropy of every class, with labels that are rescaled shares.

    Args:
        output: (B, C) logits.
        target: of classes, without smoothing.
        rescale: from the share of a class to its label.
        negatives: weight of the classes that are not in a row's mixture.

    Returns:
        (B,), the sum over all classes.

    Raises:
        ValueError: the target is smoothed.
    """
    if target.uniform is not None:
        raise ValueError("a smoothed target has no classes that are not in the mixture")
    labels, weights = present(target)
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    cost = F.softplus(output)  # of a class that is not there
    own, there = output.gather(1, labels), weights > 0
    loss = negatives * cost.sum(dim=1)
    loss = loss + (1 - negatives) * (there * cost.gather(1, labels)).sum(dim=1)
    return loss - (rescale(weights) * own).sum(dim=1)
