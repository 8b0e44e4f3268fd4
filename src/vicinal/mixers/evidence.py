"""What a mixer knows of its samples, and of their partners, from a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget
from vicinal.mixers.pairing import Pairing


def asked(batch: Batch, probe: Probe, name: str) -> Tensor:
    """What a probe found for the samples of a batch.

    Args:
        batch: with evidence.
        probe: that was asked.
        name: of the mixer, for the message.

    Raises:
        ValueError: it was not asked.
    """
    found = batch.evidence.get(probe)
    if found is None:
        raise ValueError(
            f"{name} needs what {type(probe).__name__} finds: batch = ask(mix.probes, networks, "
            "batch) first, from vicinal.core.probe"
        )
    return found


def of_partners(batch: Batch, probe: Probe, partner: Tensor, name: str) -> Tensor:
    """What a probe found for the partners, where it found it for the batch.

    Args:
        batch: with evidence.
        probe: that was asked.
        partner: (B,) int64, rows of the dataset that are in the batch itself: of the rest of its
            pool no model was asked.
        name: of the mixer, for the message.
    """
    found = asked(batch, probe, name)
    _, at = batch.replace(pool=None).partners(partner)
    return found[at]


def need_partners_in_batch(pairing: Pairing, name: str) -> None:
    """Raise ValueError if partners come from where no model is asked."""
    if pairing.pooled:
        raise ValueError(f"{name} asks the model about the batch: pair within it, not {pairing!r}")


def need_classes(batch: Batch, name: str) -> None:
    """Raise TypeError unless the targets are class labels."""
    if not isinstance(batch.target, ClassTarget):
        kind = "none" if batch.target is None else f"targets of kind {batch.target.kind}"
        raise TypeError(f"{name} needs class labels, the batch has {kind}")


def on_grid(maps: Tensor, grid: Sequence[int]) -> Tensor:
    """Maps at the size of a grid: the mean over each cell, or the value that a cell lies in.

    Args:
        maps: (B, h, w).
        grid: rows and columns.

    Returns:
        (B, *grid) float32.
    """
    maps = maps.detach().float()
    size = (int(grid[0]), int(grid[1]))
    return maps if maps.shape[1:] == size else F.adaptive_avg_pool2d(maps, size)


def shares(maps: Tensor) -> Tensor:
    """Maps of at least 0 scaled to sum to 1, an empty one even. maps: (B, h, w)."""
    total = maps.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 0, maps / total, 1 / maps[0].numel())
