"""The probe of a model's last features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.classifier import classifier_of
from vicinal.core.probe import Probe, answered_by_listening


@dataclass(frozen=True)
class Penultimate(Probe):
    """What goes into a model's classifier: its features of each sample."""

    def require(self, model: nn.Module) -> None:
        classifier_of(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, D)."""
        return answered_by_listening(self, model, batch)

    def listen(
        self, model: nn.Module, heard: dict[Probe, Tensor]
    ) -> Iterable[torch.utils.hooks.RemovableHandle]:
        def hear(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            heard[self] = inputs[0]

        return [classifier_of(model).register_forward_pre_hook(hear)]
