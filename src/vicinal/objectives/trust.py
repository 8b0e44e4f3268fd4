"""How far labels by attention are to be trusted, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vicinal.core.target import ClassTarget


class Trust(Protocol):
    """Decides how much the attention counts for a label, beside the area."""

    def __call__(self, output: Tensor | None, target: ClassTarget, attention: Tensor) -> Tensor:
        """The weight of the attention's share.

        Args:
            output: (B, C) logits for the mixed images, or None where they are not known.
            target: by area.
            attention: (B, h, w) float32, on the mixed images.

        Returns:
            (B,) in [0, 1].
        """
        ...


@dataclass(frozen=True)
class CosineTrust:
    """Trust attention as far as the prediction agrees with the target by area.

    Source: Zhao et al., MixPro, ICLR 2023, and the authors' main.py: the cosine of the angle
    between the smoothed target and the predicted probabilities.

    smoothing: of the target, in [0, 1).
    differentiable: whether gradients flow through the prediction, as in the authors' code.
    """

    smoothing: float = 0.1
    differentiable: bool = False

    def __call__(self, output: Tensor | None, target: ClassTarget, attention: Tensor) -> Tensor:
        """Returns (B,). Raises ValueError without an output."""
        if output is None:
            raise ValueError("trust by the prediction needs the model's output")
        logits = output.float() if self.differentiable else output.detach().float()
        wanted = target.smooth(self.smoothing).dense(logits.shape[1])
        return torch.cosine_similarity(wanted, logits.softmax(dim=1), dim=1)
