"""A network for the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import Tensor, nn

from vicinal.core.card import Range


class MLP(nn.Module):
    """Hidden layers, each linear, normalised, GELU and dropout, and a linear head.

    Layer norm, because a batch of one row must train too.

    Args:
        input_shape: of a sample; other than (D,), it is flattened.
        outputs: classes, or numbers to predict.
        width: features of a hidden layer.
        depth: hidden layers.
        dropout: share of hidden features that are dropped in training, in [0, 1).

    Raises:
        ValueError: a setting is out of range.
    """

    settings: ClassVar[Mapping[str, Range]] = {
        "width": Range(16, 512, default=128, scale="log", valid="[1, inf)", integer=True),
        "depth": Range(1, 4, default=2, valid="[1, inf)", integer=True),
        "dropout": Range(0.0, 0.5, default=0.0, valid="[0, 1)"),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "depth": depth, "dropout": dropout}.items():
            self.settings[name].check(name, value)
        sizes = [prod(input_shape)] + [width] * depth
        self.hidden = nn.ModuleList(
            nn.Sequential(
                nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout)
            )
            for before, after in pairwise(sizes)
        )
        self.head = nn.Linear(width, outputs)
        #: Where hidden states may be mixed: after every hidden layer.
        self.mixable_layers = tuple(f"hidden.{layer}" for layer in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """The outputs for rows. x: (B, ...) float. Returns (B, outputs)."""
        state = x.flatten(1)
        for layer in self.hidden:
            state = layer(state)
        output: Tensor = self.head(state)
        return output
