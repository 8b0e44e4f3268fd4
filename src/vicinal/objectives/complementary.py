"""Losses of complementary labels: what it costs to give probability to an excluded class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.complementary_target import (
    ComplementaryTarget,
    negative_log_exclusion,
    uniform_transition,
)
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe

Loss = Literal["scl_nl", "scl_exp", "scl_lin", "forward", "lw"]

#: Transitions of probability 0 have this logarithm, as in the code of ICM's authors.
LEAST = 1e-8
#: A matrix that was typed or counted sums to 1 but for this.
ROUNDING = 1e-4


class ComplementaryLoss(Objective):
    """Push probability away from the classes that samples are not of.

    Source: surrogate complementary losses (SCL) by Chou et al., Unbiased Risk Estimators Can
    Mislead, ICML 2020; forward correction by Yu et al., Learning with Biased Complementary Labels,
    ECCV 2018; weighted loss (LW) by Feng et al., Learning with Multiple Complementary Labels, ICML
    2020, and the code of Mai and Lin, Intra-Cluster Mixup, 2025, whose train.py has all five for
    mixed labels.

    Args:
        kind: `scl_nl` is -log(1 - p), `scl_exp` exp(p), `scl_lin` p, for the probability p of an
            excluded class; `forward` is -log of the chance that the class is excluded, given the
            prediction; `lw` treats 1 - p as logits, and counts what is far from excluded for more.
        transition: (C, C), the chance of each class (a column) to be the complementary label of
            samples of a class (a row), for `forward`; every wrong class is as likely by default.

    Raises:
        ValueError: the kind is unknown, or the transition is none or is not asked for.
    """

    def __init__(self, kind: Loss = "scl_nl", *, transition: Tensor | None = None) -> None:
        if kind not in get_args(Loss):
            raise ValueError(f"kind must be one of {', '.join(get_args(Loss))}, got {kind!r}")
        if transition is not None:
            if kind != "forward":
                raise ValueError(f"{kind} knows no transition: leave it out, or take forward")
            check_transition(transition)
        self.kind = kind
        self.transition = transition

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if not isinstance(batch.target, ComplementaryTarget):
            kind = "no targets" if batch.target is None else f"targets of kind {batch.target.kind}"
            raise TypeError(f"a complementary loss needs complementary labels, got {kind}")
        return batch.target.weigh(self.costs(output)).mean()

    def costs(self, output: Tensor) -> Tensor:
        """What it costs to exclude each class. output: (B, C) logits. Returns (B, C) float32."""
        if self.kind == "scl_nl":
            return negative_log_exclusion(output)
        probabilities = output.float().softmax(dim=1)
        if self.kind == "scl_lin":
            return probabilities
        if self.kind == "scl_exp":
            return probabilities.exp()
        if self.kind == "forward":
            return forward_costs(probabilities, self.transition)
        return weighted_costs(probabilities)


def forward_costs(probabilities: Tensor, transition: Tensor | None = None) -> Tensor:
    """-log of the chance that each class is the one that is excluded.

    Args:
        probabilities: (B, C) float32, of the classes.
        transition: (C, C), see `ComplementaryLoss`.

    Returns:
        (B, C) float32.

    Raises:
        ValueError: the transition is of another number of classes.
    """
    classes = probabilities.shape[1]
    if transition is None:
        transition = uniform_transition(classes)
    if len(transition) != classes:
        raise ValueError(f"a transition of {len(transition)} classes, for {classes} outputs")
    excluded = probabilities @ transition.to(probabilities)
    return -excluded.clamp(LEAST, 1 - LEAST).log()


def weighted_costs(probabilities: Tensor) -> Tensor:
    """LW: -(1 + w) log softmax(1 - p), w = (1 - p) / (C - 1). probabilities: (B, C) float32."""
    free = 1 - probabilities
    return -(1 + free / (probabilities.shape[1] - 1)) * free.log_softmax(dim=1)


def check_transition(transition: Tensor) -> None:
    """Raise ValueError unless it is (C, C), at least 0, and its rows sum to 1."""
    if transition.dim() != 2 or transition.shape[0] != transition.shape[1] or len(transition) < 2:
        raise ValueError(
            f"a transition must be (C, C) for at least 2 classes, got {tuple(transition.shape)}"
        )
    sums = transition.double().sum(dim=1)
    # Turned round, so that NaN is refused too.
    if not (bool((transition >= 0).all()) and bool(((sums - 1).abs() <= ROUNDING).all())):
        raise ValueError("a transition must be at least 0, and each of its rows must sum to 1")
