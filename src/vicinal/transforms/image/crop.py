"""Random crops of padded images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.chunks import in_chunks

Mode = Literal["zero", "reflect"]


@dataclass(frozen=True)
class CropParams(Params):
    """One row per sample.

    corner: (B, 2) int64, row and column of the crop's top left corner in the padded image; where
        they equal the padding, the image stays where it is.
    """

    corner: Tensor


class PadCrop(Transform):
    """Pad images, and cut out a piece of the original size at a random place.

    Images are (B, C, H, W) of any type.

    Source: Lee et al., Deeply-Supervised Nets, AISTATS 2015; He et al., ResNet, CVPR 2016, 4.2,
    for images of 32 pixels padded by 4.

    Args:
        padding: pixels added on each side, >= 0; None takes an eighth of each side of the image,
            which is 4 for 32.
        mode: `zero` pads with zeros, which are black in 8 bits and the mean colour in standardised
            images; `reflect` mirrors the image at its border, and needs padding below its size.

    Raises:
        ValueError: padding is out of range or too large for `reflect`, or the mode is unknown.
    """

    card = Card(
        name="pad_crop",
        kind="transform",
        family="geometry",
        modality=("image",),
        summary="Pads images and cuts out a piece of the original size at a random place.",
        paper=Paper(
            "Deep Residual Learning for Image Recognition",
            authors="He, Zhang, Ren, Sun",
            venue="CVPR",
            year=2016,
            arxiv="1512.03385",
        ),
        parameters={
            "padding": Range(
                0,
                32,
                default=None,
                valid="[0, inf)",
                integer=True,
                meaning="pixels added on each side; by default an eighth of the image's side",
            ),
            "mode": Options(("zero", "reflect"), "zero", meaning="what is added"),
        },
        differs=("pixels are padded before they are standardised: black, where the mean was",),
        example="x = vicinal.PadCrop(padding=4)(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
        differentiable=True,
    )

    def __init__(self, padding: int | None = None, *, mode: Mode = "zero") -> None:
        self.card.check(padding=padding, mode=mode)
        self.padding = padding
        self.mode = mode

    def sample(self, batch: Batch, draws: Draws) -> CropParams:
        places = [2 * pad + 1 for pad in self._padding(batch.tensor)]
        return CropParams(draws.below("corner", places, shape=(2,)))

    def apply(self, batch: Batch, params: CropParams) -> Batch:
        x = batch.tensor
        vertical, horizontal = self._padding(x)
        around = (horizontal, horizontal, vertical, vertical)

        def pad_and_crop(images: Tensor, corner: Tensor) -> Tensor:
            mode = "constant" if self.mode == "zero" else "reflect"
            return crops(F.pad(images, around, mode=mode), corner, *x.shape[2:])

        return batch.replace(x=in_chunks(pad_and_crop, x, params.corner))

    def _padding(self, x: Tensor) -> tuple[int, int]:
        """Pixels added above and below, and on the left and right."""
        if x.dim() != 4:
            raise ValueError(f"x must be images (B, C, H, W), got shape {tuple(x.shape)}")
        height, width = x.shape[2:]
        if self.padding is None:
            return height // 8, width // 8
        if self.mode == "reflect" and self.padding >= min(height, width):
            raise ValueError(
                f"padding must be below the size of the images to reflect them, "
                f"got {self.padding} for {height} x {width}"
            )
        return self.padding, self.padding


def crops(images: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """A piece of each image.

    Args:
        images: (B, C, H, W).
        corner: (B, 2) int64, row and column of the piece's top left corner; the piece must lie
            inside the image.
        height: of the piece, in pixels.
        width: of the piece, in pixels.

    Returns:
        (B, C, height, width), contiguous.

    Raises:
        IndexError: a piece lies outside its image. Not checked on accelerators.
    """
    batch, channels, full_height, full_width = images.shape
    if corner.device.type == "cpu" and len(corner):
        room = torch.tensor([full_height - height, full_width - width])
        if bool(((corner < 0) | (corner > room)).any()):
            raise IndexError(
                f"corners must lie between (0, 0) and {tuple(room.tolist())} "
                f"for pieces of {height} x {width} in {full_height} x {full_width}"
            )
    if images.requires_grad and torch.is_grad_enabled():
        return _crops_by_gathering(images, corner, height, width)
    # All pieces of the batch, laid over the same memory with the place of their first pixel as
    # first axis: picking one for each image copies rows of pixels and costs one pass. Its gradient
    # would be the size of all pieces.
    images = images.contiguous()
    plane = full_height * full_width
    last = (channels - 1) * plane + (height - 1) * full_width + width - 1
    pieces = images.as_strided(
        (max(0, images.numel() - last), channels, height, width), (1, plane, full_width, 1)
    )
    own = torch.arange(batch, device=images.device) * (channels * plane)
    return pieces.index_select(0, own + corner[:, 0] * full_width + corner[:, 1])


def _crops_by_gathering(images: Tensor, corner: Tensor, height: int, width: int) -> Tensor:
    """The same, with a gradient the size of the images."""
    rows = corner[:, :1] + torch.arange(height, device=images.device)  # (B, height)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)  # (B, width)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, -1)[sample, rows[:, :, None], columns[:, None]].movedim(-1, 1)
