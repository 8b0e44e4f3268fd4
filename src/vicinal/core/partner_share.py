"""Params that say where in a sample its partner is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class PartnerShare(Protocol):
    """What a mixer's params offer if the partner's part of a mixed sample can be told by place.

    An objective that weighs the labels by what the model looks at asks for it: it knows then
    where the partner is, and need not know which mixer put it there.
    """

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """The partner's share of single places of the mixed samples.

        Args:
            places: for each axis of space or time, (N,) int64 positions along it, in pixels or
                steps.

        Returns:
            (B, N1, N2, ...) float32 in [0, 1], for each combination of the positions.
        """
        ...
