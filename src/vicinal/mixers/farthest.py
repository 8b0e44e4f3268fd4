"""Pairing samples that differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.mixers.pairing import Pairing


@dataclass(frozen=True)
class FarthestCycle(Pairing):
    """All samples of the batch in one cycle, each with the farthest that is not in it yet.

    It begins at one of the two that are farthest from each other, drawn at random. Distances are
    Euclidean, between the inputs as the mixer hands them over: the images by themselves, or maps of
    them. No sample meets itself, unless it is alone.

    Source: Kang and Kim, GuidedMixup, AAAI 2023, section 3, and `onecycle_cover` in the authors'
    pairing.pyx.

    Raises:
        ValueError: when it pairs: distances are not finite.
    """

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        # By keys of the rows' own first, so that the order they came in leaves no trace.
        order = draws.keys("partner/order").argsort(stable=True)
        rows = batch.tensor.detach()[order].flatten(1).float()
        partner = torch.empty_like(order)
        partner[order] = order[farthest_cycle(torch.cdist(rows, rows))]
        return batch.index[partner]


def farthest_cycle(distances: Tensor) -> Tensor:
    """Where each sample is followed in a cycle that always goes on to the farthest one left.

    A step depends on the last, so that they are taken one by one, on the host: about 2
    microseconds each, and B comparisons.

    Args:
        distances: (B, B).

    Returns:
        (B,) int64, positions: one cycle through all of them.

    Raises:
        ValueError: a distance is not finite.
    """
    array = distances.double().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("distances between samples must be finite: are there NaN in the inputs?")
    count = len(array)
    follower = np.empty(count, dtype=np.int64)
    if count:
        taken = np.zeros(count)  # or minus infinity
        first = here = int(array.max(axis=1).argmax())
        for _ in range(count - 1):
            taken[here] = -np.inf
            follower[here] = here = int((array[here] + taken).argmax())
        follower[here] = first
    return torch.from_numpy(follower).to(distances.device)
