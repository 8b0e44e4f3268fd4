"""A loss that knows how the batch was augmented."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.params import Params
from vicinal.core.probe import Probe


class Objective(ABC):
    """Judges a model's output for an augmented batch."""

    #: What it needs to hear during the forward pass.
    probes: tuple[Probe, ...] = ()

    @abstractmethod
    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        """The loss.

        Args:
            output: (B, C) or (B, 1), the model's output for the batch.
            batch: as it went into the model.
            params: of the last augmentation that made it; None if nothing did.
            heard: answers of `during` probes from the forward pass that gave the output.

        Returns:
            A scalar.
        """
