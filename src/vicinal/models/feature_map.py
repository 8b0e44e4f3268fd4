"""The features of a layer as a map over the image, however the model lays them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vicinal.core.probe import Features, Probe

#: Tokens beside the patches that a vision transformer may have: class, distillation, registers.
PREFIX = 8


@dataclass(frozen=True)
class FeatureMap(Features):
    """The output of a layer as (B, C, h, w).

    Convolutional models give it as it is, others with channels last or as a row of tokens, some of
    which belong to no place and are left out.
    """

    def listen(
        self, model: nn.Module, heard: dict[Probe, Tensor]
    ) -> Iterable[torch.utils.hooks.RemovableHandle]:
        size: list[int] = []

        def see(_model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            size[:] = inputs[0].shape[-2:]

        def hear(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            heard[self] = as_map(output, *size)

        layer = model.get_submodule(self.layer)
        return [model.register_forward_pre_hook(see), layer.register_forward_hook(hear)]


def as_map(output: Tensor, height: int, width: int) -> Tensor:
    """What a layer put out, as a map with the image's proportions.

    Args:
        output: (B, C, h, w), (B, h, w, C), or (B, T, C) tokens, those of places last.
        height: of the image.
        width: of the image.

    Returns:
        (B, C, h, w).

    Raises:
        ValueError: it is no map.
    """
    if isinstance(output, Tensor) and output.dim() == 4:
        _, first, second, third = output.shape
        # |h / w - height / width| of both layouts, multiplied out.
        channels_first = abs(second * width - third * height) * second
        channels_last = abs(first * width - second * height) * third
        return output if channels_first <= channels_last else output.permute(0, 3, 1, 2)
    if isinstance(output, Tensor) and output.dim() == 3:
        for prefix in range(min(PREFIX, output.shape[1])):
            places = output.shape[1] - prefix
            rows = max(1, round((places * height / width) ** 0.5))
            columns = max(1, round((places * width / height) ** 0.5))
            if rows * columns == places:
                patches = output[:, prefix:].transpose(1, 2)  # (B, C, T)
                return patches.reshape(*patches.shape[:2], rows, columns)
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(f"the layer puts out no map of features over the image, but {found}")
