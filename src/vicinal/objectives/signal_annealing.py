"""Training-signal annealing: labelled samples that are known already do not count, for now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vicinal.core.target import ClassTarget

Schedule = Literal["linear", "exp", "log"]
#: How sharply `exp` and `log` bend.
_SCALE = 5


@dataclass(frozen=True)
class SignalAnnealing:
    """Leave out the labelled samples whose class is predicted with more than a rising threshold.

    A few labels are learnt by heart long before the unlabelled rows have taught anything. The
    threshold rises from 1 / C to 1, so that a sample counts as long as the model is less sure of
    it than it may be at this time.

    Source: Xie et al., UDA, NeurIPS 2020, section 2.3 and `anneal_sup_loss` of the authors.

    schedule: `linear`; `exp`, which keeps back most until the end, for few labels that are easily
        learnt by heart; `log`, which lets go of most early on.
    """

    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            known = ", ".join(get_args(Schedule))
            raise ValueError(f"schedule must be one of {known}, got {self.schedule!r}")

    def threshold(self, done: float, classes: int) -> float:
        """The probability above which a sample does not count.

        Args:
            done: share of training that is over, in [0, 1].
            classes: how many there are.
        """
        released = {
            "linear": done,
            "exp": math.exp(_SCALE * (done - 1)),
            "log": 1 - math.exp(-_SCALE * done),
        }[self.schedule]
        return released * (1 - 1 / classes) + 1 / classes

    def __call__(self, output: Tensor, target: ClassTarget, done: float) -> tuple[Tensor, Tensor]:
        """The mean loss of the samples that count.

        Args:
            output: (B, C) logits.
            target: of B samples; of a mixture it is the weighted probability that is asked for.
            done: share of training that is over, in [0, 1].

        Returns:
            The loss, 0 if no sample counts, and the share of those that do; scalars.
        """
        classes = output.shape[1]
        with torch.no_grad():
            predicted = output.to(torch.promote_types(output.dtype, torch.float32)).softmax(dim=1)
            known = (predicted * target.dense(classes).to(predicted.dtype)).sum(dim=1)
            counted = known <= self.threshold(done, classes)
        each = target.loss(output, reduction="none").masked_fill(~counted, 0)
        return each.sum() / counted.sum().clamp(min=1), counted.float().mean()
