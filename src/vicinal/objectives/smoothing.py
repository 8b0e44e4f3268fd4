"""Label smoothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget


class SmoothedLoss(Objective):
    """Cross-entropy with a share of every target spread evenly over all classes.

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
    section 7.

    Args:
        smoothing: the share, in [0, 1).

    Raises:
        ValueError: the share is out of range.
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
        self.smoothing = smoothing

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if not isinstance(batch.target, ClassTarget):
            kind = "no target" if batch.target is None else f"a {batch.target.kind} target"
            raise TypeError(f"label smoothing needs class labels, got {kind}")
        return batch.target.smooth(self.smoothing).loss(output)
