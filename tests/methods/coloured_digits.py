"""Digits on coloured backgrounds, whose colour tells the class in training and lies in the test."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from vicinal.core.task import Task

#: A dim colour for every class.
COLOURS = (
    torch.tensor(
        [
            [120, 0, 0],
            [0, 120, 0],
            [0, 0, 120],
            [110, 110, 0],
            [0, 110, 110],
            [110, 0, 110],
            [60, 0, 120],
            [120, 60, 0],
            [0, 120, 60],
            [70, 70, 70],
        ]
    )
    .float()
    .view(10, 3, 1, 1)
)


def coloured_digits(count: int, *, classes: int = 10, agreement: float = 0.95) -> Task:
    """White digits of 16 pixels a side; the last third of the rows is the test part.

    Args:
        count: rows.
        classes: the first so many digits.
        agreement: how often the background has the colour of the class in training; in the test
            any colour is as likely.
    """
    generator = torch.Generator().manual_seed(0)
    digits = load_digits()
    y = torch.from_numpy(digits.target).long()
    rows = (y < classes).nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator)[:count]]
    y = y[rows]
    ink = torch.from_numpy(digits.images[rows.numpy()]).float()[:, None] / 16
    ink = F.pad(F.interpolate(ink, size=(16, 12), mode="bilinear"), (2, 2)).clamp(0, 1)
    ink = ((ink - 0.3) * 2.5).clamp(0, 1)
    test = torch.arange(count) >= count * 2 // 3
    chance = torch.where(test, 0.0, agreement)
    anything = torch.randint(classes, (count,), generator=generator)
    colour = torch.where(torch.rand(count, generator=generator) < chance, y, anything)
    x = torch.lerp(background(colour, generator), torch.tensor(255.0), ink)
    return Task(
        name="coloured digits",
        modality="image",
        kind="classification",
        x=x.round().to(torch.uint8),
        y=y,
        classes=tuple(str(one) for one in range(classes)),
        test_rows=test.nonzero()[:, 0],
    )


def background(colour: Tensor, generator: torch.Generator) -> Tensor:
    """Noisy grounds. colour: (N,) int64. Returns (N, 3, 16, 16) float of levels."""
    noise = torch.randn(len(colour), 3, 16, 16, generator=generator) * 6
    return (COLOURS[colour] + noise).clamp(0, 255)
