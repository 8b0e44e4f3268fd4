"""Beside the transforms of torchvision v2: mixing after a batch is collated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from vicinal.core.augmentation import Augmentation
from vicinal.core.target import ClassTarget, MultiLabelTarget, SoftTarget, Target


class Mix(nn.Module):
    """Any mixer where `torchvision.transforms.v2.CutMix(num_classes=...)` stands.

    Args:
        mixer: which is called as `mixer(x, y)`.
        num_classes: length of the labels.
        generator: where numbers come from; torch's global generator by default, which has its own
            seed in each worker of a loader.
    """

    def __init__(
        self, mixer: Augmentation, *, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.num_classes = num_classes
        self.generator = generator

    def forward(self, x: Tensor, labels: Tensor | Target) -> tuple[Tensor, Tensor]:
        """Mix a batch. Returns x and (B, num_classes) float32 labels for a soft cross-entropy."""
        mixed, target = self.mixer(x, labels, generator=self.generator)
        return mixed, dense(target, self.num_classes)


class MixingCollate:
    """A `collate_fn` that collates, and then mixes.

    Args:
        mixer: which is called as `mixer(x, y)`.
        num_classes: length of the labels.
        collate: makes a batch (x, y) of samples.
    """

    def __init__(
        self,
        mixer: Augmentation,
        *,
        num_classes: int,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> None:
        self.mix = Mix(mixer, num_classes=num_classes)
        self.collate = collate

    def __call__(self, samples: list[Any]) -> tuple[Tensor, Tensor]:
        """A mixed batch of samples (x, y). Returns x and (B, num_classes) float32 labels."""
        x, labels = self.collate(samples)
        mixed: tuple[Tensor, Tensor] = self.mix(x, labels)
        return mixed


def dense(target: Target, num_classes: int) -> Tensor:
    """Labels as frameworks take them.

    Args:
        target: classes, mixed or not.
        num_classes: length of the labels.

    Returns:
        (B, num_classes) float.

    Raises:
        TypeError: the target has no classes.
    """
    if not isinstance(target, ClassTarget | SoftTarget | MultiLabelTarget):
        raise TypeError(f"a {target.kind} target has no labels of classes")
    return target.dense(num_classes)
