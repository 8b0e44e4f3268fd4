"""A twin of a network that follows it slowly: an exponential moving average of its weights."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

Statistics = Literal["average", "copy", "own"]


class EMATwin(nn.Module):
    """A copy of a network whose weights are an exponential moving average of the network's.

    It takes no gradients. How fast it follows is said at every update, so that any schedule will
    do: `twin.update(model, warming_momentum(step, highest=0.9999))`.

    Args:
        model: the network, left as it is.
        statistics: what an update does to floating buffers, those of batch normalisation:
            `average` them as weights are, `copy` them, or leave the twin its `own`, which it
            gathers where it runs in training mode. Buffers of whole numbers are copied, but for
            `own`.

    Attributes:
        network: the copy itself, with the layer names that the model has.
    """

    def __init__(self, model: nn.Module, *, statistics: Statistics = "average") -> None:
        super().__init__()
        self.network = copy.deepcopy(model).requires_grad_(False)
        self.statistics = statistics

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    @torch.no_grad()
    def update(self, model: nn.Module, momentum: float) -> None:
        """Move towards the model: every weight becomes `momentum * own + (1 - momentum) * its`.

        Args:
            model: of the same architecture.
            momentum: share of the own weights that stays, in [0, 1]; 0 copies the model, 1 leaves
                the twin as it is.

        Raises:
            ValueError: momentum is out of range.
        """
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {momentum}")
        pairs = list(zip(self.network.parameters(), model.parameters(), strict=True))
        for own, its in zip(self.network.buffers(), model.buffers(), strict=True):
            if self.statistics == "average" and own.is_floating_point():
                pairs.append((own, its))  # type: ignore[arg-type]
            elif self.statistics != "own":
                own.copy_(its)
        if pairs:
            mine, theirs = (list(side) for side in zip(*pairs, strict=True))
            _lerp(mine, theirs, 1 - momentum)


def _lerp(mine: list[Any], theirs: list[Any], share: float) -> None:
    """Move tensors in place, those of one type together in a few kernels."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for own, its in zip(mine, theirs, strict=True):
        group = by_type.setdefault(own.dtype, ([], []))
        group[0].append(own)
        group[1].append(its)
    for owns, others in by_type.values():
        torch._foreach_lerp_(owns, others, share)


def warming_momentum(step: int, *, highest: float) -> float:
    """A momentum that lets the twin forget its random beginning: min(highest, (1+t) / (10+t)).

    Source: `tf.train.ExponentialMovingAverage` with `num_updates`, as google-research/uda has it.

    Args:
        step: updates before this one, >= 0.
        highest: what the momentum rises to, in [0, 1].
    """
    return min(highest, (1 + step) / (10 + step))


def cosine_momentum(done: float, *, start: float, end: float) -> float:
    """A momentum that goes from one value to another along half a cosine.

    Source: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, section 3.2, where it ends at 1.

    Args:
        done: share of training that is over, in [0, 1].
        start: the momentum at 0.
        end: the momentum at 1.
    """
    return end - (end - start) * (math.cos(math.pi * done) + 1) / 2
