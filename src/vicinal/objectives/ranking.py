"""Losses on the order of confidence: of samples and of mixtures of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from vicinal.core.target import ClassTarget

Kind = Literal["mrl", "ndcg"]
Scale = Literal["logit", "prob"]

#: A mixture of two samples of one class has relevance 1, but for the rounding of its weights.
ROUNDING = 1e-6


class MixRank:
    """Ask for less confidence in a mixture than in its own sample, and the less the more is mixed.

    The labels of the mixtures are not used: their largest weight, the relevance, only says how sure
    a prediction may be.

    Source: Noh et al., RankMixup, ICCV 2023, sections 3.2 and 3.3, and the authors' rankmixup.py.

    Args:
        kind: `mrl`, the margin ranking loss, compares every mixture with its sample; `ndcg`
            compares all mixtures of a sample with each other too.
        weight: of the loss, >= 0.
        margin: by how much confidence should fall, in units of `on`; of `mrl` alone.
        on: the confidence that `mrl` compares: the largest `logit`, as the authors' code has it, or
            the largest probability, `prob`. A constant added to all logits of one sample changes
            the first and not the second. `ndcg` takes probabilities.

    Raises:
        ValueError: a setting is unknown or out of range.
    """

    def __init__(
        self, kind: Kind = "mrl", *, weight: float = 0.1, margin: float = 2.0, on: Scale = "logit"
    ) -> None:
        for name, value, known in (("kind", kind, get_args(Kind)), ("on", on, get_args(Scale))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not weight >= 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        self.kind = kind
        self.weight = weight
        self.margin = margin
        self.on = on

    def __call__(self, output: Tensor, mixed: Tensor, targets: Sequence[ClassTarget]) -> Tensor:
        """The loss, times its weight.

        Args:
            output: (B, C) logits of the samples.
            mixed: (N, B, C) logits of N mixtures of every sample.
            targets: of the N batches of mixtures, B rows each.

        Returns:
            A scalar.
        """
        relevance = torch.stack([target.top_weight() for target in targets], dim=1)  # (B, N)
        mixed = mixed.transpose(0, 1)  # (B, N, C)
        if self.kind == "ndcg":
            sure, unsure = _probability(output), _probability(mixed)
            confidence = torch.cat([sure[:, None], unsure], dim=1)
            relevance = torch.cat([torch.ones_like(relevance[:, :1]), relevance], dim=1)
            return self.weight * (1 - ndcg(confidence, relevance)).mean()
        top = _probability if self.on == "prob" else _logit
        return self.weight * margin_ranking(top(output), top(mixed), relevance, self.margin).mean()


def margin_ranking(sure: Tensor, unsure: Tensor, relevance: Tensor, margin: float) -> Tensor:
    """By how much mixtures lack the margin to the confidence in their own sample.

    Source: Noh et al., RankMixup, ICCV 2023, equation 5. A mixture of one class is no mixture: it
    counts as 0.

    Args:
        sure: (B,) confidence in the samples.
        unsure: (B, N) confidence in their mixtures.
        relevance: (B, N) the largest weight of a class in each mixture.
        margin: in the unit of the confidences.

    Returns:
        (B, N), at least 0.
    """
    mixes = relevance < 1 - ROUNDING
    return mixes * (unsure - sure[:, None] + margin).relu()


def ndcg(confidence: Tensor, relevance: Tensor) -> Tensor:
    """The discounted cumulative gain of confidences over that of relevances, or the inverse.

    Source: Noh et al., RankMixup, ICCV 2023, equations 6 to 9. It is 1 where each confidence is
    its relevance, and less as their discounted sums differ, in either direction: it asks for values
    as well as for an order. Gains are discounted in the order of relevance, which passes no
    gradient. Among equal relevances the larger confidence comes first, so that the order in which
    the mixtures are given does not matter.

    Args:
        confidence: (B, 1 + N) in (0, 1], the sample's own first.
        relevance: (B, 1 + N) in (0, 1], the sample's own, 1, first.

    Returns:
        (B,) in (0, 1].
    """
    # The sample keeps its first place whatever is mixed; sorted by the second key first.
    by_confidence = confidence[:, 1:].detach().argsort(dim=1, descending=True, stable=True)
    ranked = relevance[:, 1:].gather(1, by_confidence)
    by_relevance = ranked.argsort(dim=1, descending=True, stable=True)
    order = 1 + by_confidence.gather(1, by_relevance)
    order = torch.cat([torch.zeros_like(order[:, :1]), order], dim=1)
    places = torch.arange(2, order.shape[1] + 2, device=order.device, dtype=confidence.dtype)
    discount = places.log2()
    gained = (confidence.gather(1, order) / discount).sum(dim=1)
    ideal = (relevance.gather(1, order) / discount).sum(dim=1)
    return torch.where(ideal > gained, gained / ideal, ideal / gained)


def _logit(output: Tensor) -> Tensor:
    return _wide(output).amax(dim=-1)


def _probability(output: Tensor) -> Tensor:
    return _wide(output).softmax(dim=-1).amax(dim=-1)


def _wide(output: Tensor) -> Tensor:
    """At least single precision."""
    return output.to(torch.promote_types(output.dtype, torch.float32))
