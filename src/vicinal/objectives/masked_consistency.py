"""Consistency between two views of a sample, as far as the guess for the first one is confident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskedConsistency:
    """Pull the prediction for one view of a sample to the confident, fixed guess for another.

    Two methods are two settings of it. Xie et al., UDA, NeurIPS 2020, section 2.4 and image/main.py
    of the authors: a temperature of 0.4, a threshold of 0.8, `kl`. Sohn et al., FixMatch, NeurIPS
    2020, equation 4: a threshold of 0.95 and `pseudo_label`.

    temperature: the guess is the softmax of its logits over this; > 0. Towards 0 it comes down to
        one class; 1 leaves it as it is. The confidence is that of the guess before it is sharpened,
        and the student's prediction is not sharpened. A pseudo-label does not depend on it.
    threshold: a sample counts if its largest probability is above; in [0, 1]. At 0 all do, at 1
        none.
    divergence: `kl`, the Kullback-Leibler divergence of the prediction from the guess, or
        `pseudo_label`, the cross-entropy of the likeliest class.
    reduce: the mean over `all` samples, where those that do not count are zeros, or over the `kept`
        ones; it is 0 if there are none.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float = 0.4
    threshold: float = 0.8
    divergence: Literal["kl", "pseudo_label"] = "kl"
    reduce: Literal["all", "kept"] = "all"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.divergence not in ("kl", "pseudo_label"):
            raise ValueError(f"divergence must be kl or pseudo_label, got {self.divergence!r}")
        if self.reduce not in ("all", "kept"):
            raise ValueError(f"reduce must be all or kept, got {self.reduce!r}")

    def __call__(self, guess: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """How far the predictions for second views are from what was guessed on first ones.

        Args:
            guess: (B, C) logits of the first views; no gradient goes there.
            output: (B, C) logits of the second views.

        Returns:
            The loss in nats, and the share of samples that count; scalars.
        """
        if guess.shape != output.shape:
            raise ValueError(f"guess is {tuple(guess.shape)}, and output {tuple(output.shape)}")
        guess, output = _wide(guess.detach()), _wide(output)
        counted = guess.softmax(dim=1).amax(dim=1) > self.threshold
        each = self._divergence(guess, output).masked_fill(~counted, 0)
        loss = each.mean() if self.reduce == "all" else each.sum() / counted.sum().clamp(min=1)
        return loss, counted.float().mean()

    def _divergence(self, guess: Tensor, output: Tensor) -> Tensor:
        """Of each sample. Returns (B,)."""
        logs = output.log_softmax(dim=1)
        if self.divergence == "pseudo_label":
            return -logs.gather(1, guess.argmax(dim=1, keepdim=True))[:, 0]
        sharp = (guess / self.temperature).log_softmax(dim=1)
        return (sharp.exp() * (sharp - logs)).sum(dim=1)


def entropy(output: Tensor) -> Tensor:
    """The entropy of each prediction. output: (B, C) logits. Returns (B,) in nats."""
    logs = _wide(output).log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
