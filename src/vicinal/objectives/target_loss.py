"""The plain objective: the target's own loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe


class TargetLoss(Objective):
    """The loss of the batch's target as it stands: soft-label cross-entropy for mixed classes."""

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if batch.target is None:
            raise ValueError("a batch without a target has no loss")
        return batch.target.loss(output)
