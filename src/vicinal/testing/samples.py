"""Batches to try an augmentation on, for each modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.element_target import ElementTarget
from vicinal.core.placed_target import BoxTarget, MaskTarget
from vicinal.core.ragged import Ragged
from vicinal.core.target import (
    ClassTarget,
    MultiLabelTarget,
    RegressionTarget,
    SoftTarget,
    Target,
)

#: One sample of each modality. Sizes are odd and unequal, so that a mix-up of axes shows.
SHAPES: dict[str, tuple[int, ...]] = {
    "image": (3, 13, 9),
    "series": (2, 17),
    "audio": (1, 65),
    "volume": (2, 5, 7, 3),
    "tabular": (6,),
    "embedding": (8,),
    "points": (3,),
    "text": (9,),
}
#: One of each rank stands for `any`.
ANY = ("image", "series", "volume", "tabular")
CLASSES = 11


def modalities(card: Card) -> tuple[str, ...]:
    """The modalities of a card that there are samples of."""
    if "any" in card.modality:
        return ANY
    return tuple(modality for modality in card.modality if modality in SHAPES)


def make_batch(
    modality: str,
    size: int,
    *,
    kind: str = "classes",
    dtype: torch.dtype = torch.float32,
    stage: str = "prepared",
    shape: Sequence[int] = (),
) -> Batch:
    """Samples of a modality, always the same ones.

    Args:
        modality: one of SHAPES.
        size: number of samples.
        kind: of target.
        dtype: of x.
        stage: `raw` images are levels of 0 to 255, or shares of the largest where they are
            floating; texts are word ids, filled up with zeros; everything else is standard normal.
        shape: of one sample; of SHAPES by default.

    Returns:
        A batch whose rows in the dataset are neither sorted nor consecutive.
    """
    generator = np.random.default_rng(20_240_229)
    if modality == "points":
        return _scenes(size, generator, dtype)
    shape = (size, *(shape or SHAPES[modality]))
    if modality == "text":
        x = _documents(shape, generator).to(dtype)
    elif dtype == torch.uint8:
        x = torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))
    elif stage == "raw" and modality == "image":
        levels = generator.integers(0, 256, shape, dtype=np.uint8)
        x = (torch.from_numpy(levels) / 255).to(dtype)
    else:
        x = torch.from_numpy(generator.standard_normal(shape)).to(dtype)
    index = torch.from_numpy(generator.permutation(1000)[:size])
    return Batch(x=x, target=make_target(kind, size, x.shape[2:]), index=index)


def _documents(shape: tuple[int, ...], generator: np.random.Generator) -> Tensor:
    """Word ids from 1 on, some far more frequent than others. Returns (B, L) int64."""
    ids = torch.from_numpy(generator.geometric(0.2, shape))
    length = torch.from_numpy(generator.integers(1, shape[1] + 1, (shape[0], 1)))
    return ids.masked_fill(torch.arange(shape[1]) >= length, 0)


def _scenes(size: int, generator: np.random.Generator, dtype: torch.dtype) -> Batch:
    """Scenes of unequal numbers of points, one of them without any, each with a colour."""
    lengths = torch.tensor([(5 * row + 3) % 11 for row in range(size)])
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    points = int(offsets[-1])
    x = {
        name: Ragged(torch.from_numpy(generator.standard_normal((points, 3))).to(dtype), offsets)
        for name in ("position", "colour")
    }
    labels = torch.from_numpy(generator.integers(-1, CLASSES, points))
    index = torch.from_numpy(generator.permutation(1000)[:size])
    return Batch(x=x, target=ElementTarget(Ragged(labels, offsets)), index=index)


def make_target(kind: str, size: int, space: Sequence[int] = ()) -> Target:
    """Targets of a kind: row i has the class i modulo CLASSES, or the value i.

    Args:
        kind: of target.
        size: number of samples.
        space: sizes of the axes of space, for the kinds that say something of places.
    """
    rows = torch.arange(size)
    if kind == "classes":
        return ClassTarget((rows % CLASSES)[:, None])
    one_hot = torch.nn.functional.one_hot(rows % CLASSES, CLASSES).float()
    if kind == "soft":
        return SoftTarget(0.9 * one_hot + 0.1 / CLASSES)
    if kind == "multilabel":
        return MultiLabelTarget(one_hot + one_hot.roll(1, dims=1))
    if kind == "regression":
        return RegressionTarget(rows.float())
    if kind == "masks":
        places = (size, *space)
        return MaskTarget.of_masks((rows % CLASSES).view(-1, *(1,) * len(space)).expand(places))
    if kind == "boxes":  # every second row has a box, in its first quarter
        height, width = space
        box = torch.tensor([[0.0, 0.0, width / 2, height / 2]])
        return BoxTarget.of_boxes(
            [box[: row % 2] for row in range(size)],
            [rows[row : row + row % 2] % CLASSES for row in range(size)],
        )
    raise ValueError(f"no samples of targets of kind {kind!r}")


def joined(first: Batch, second: Batch) -> Batch:
    """The samples of both, as one batch of its own."""
    target = None
    if first.target is not None and second.target is not None:
        target = type(first.target).concatenate([first.target, second.target])
    return Batch(
        x=pytree.tree_map(_stacked, first.x, second.x),
        target=target,
        index=_stacked(first.index, second.index),
        evidence={
            probe: _stacked(found, second.evidence[probe])
            for probe, found in first.evidence.items()
        },
    )


def _stacked(first: Any, second: Any) -> Any:
    if isinstance(first, Ragged):
        return Ragged.concatenate([first, second])
    return torch.cat([first, second])
