"""Operations graded by one number in [0, 1]: banks for policies that learn how strongly.

An entry of a bank has a magnitude m, which stands for the argument low + m (high - low), and a sign
where it has a direction. A bank is a sequence of entries; an operation is its place in there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.boxes import box_mask
from vicinal.transforms.image.operations import NUMBER, apply_operations

#: (images (B, C, H, W), argument (B,), place (B, 2) in [0, 1): down and across) -> images
PlacedKernel = Callable[[Tensor, Tensor, Tensor], Tensor]

#: The mean colour of natural images, in 8-bit levels, with which Pillow's users cover.
GREY = (125, 123, 114)


@dataclass(frozen=True, repr=False)
class Graded:
    """One entry of a bank.

    low, high: the argument at magnitude 0 and at 1, in the unit of `operations`.
    signed: the argument has a direction: policies give it either sign.
    side: the argument is a share of this side of the image.
    whole: what is behind the point is cut off.
    operation: of `operations.OPERATIONS`; the entry's own name by default.
    kernel: what is done instead.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    signed: bool = False
    side: Literal["", "height", "width"] = ""
    whole: bool = False
    operation: str = ""
    kernel: PlacedKernel | None = None

    @property
    def number(self) -> int:
        """Its place in `operations.OPERATIONS`; that of the identity if it has its own kernel."""
        return NUMBER["identity" if self.kernel else self.operation or self.name]

    def __repr__(self) -> str:
        return self.name


Bank = Sequence[Graded]


def mirror(images: Tensor, argument: Tensor, place: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def cover(images: Tensor, side: Tensor, place: Tensor) -> Tensor:
    """Cover a square with grey; what hangs over the right or lower border is lost.

    Pillow's rectangle, last row and column included. On the left and above a square is moved into
    the image.

    Args:
        images: (B, C, H, W), uint8 or floating in [0, 1].
        side: (B,) in pixels; at 0 nothing is covered.
        place: (B, 2) where the centre is, as a share of height and width.
    """
    size = torch.tensor(images.shape[2:], device=images.device)
    start = (place * size - side[:, None] / 2).clamp(min=0).trunc()
    stop = torch.where(side[:, None] > 0, start + side[:, None].trunc() + 1, start)
    covered = box_mask(start.long(), stop.long(), images.shape[2:])[:, None]
    channels = images.shape[1]
    levels = torch.tensor(GREY if channels == 3 else GREY[1:2], device=images.device)
    fill = levels / 255 if images.is_floating_point() else levels
    if images.dtype == torch.uint16:
        fill = fill * 257
    return torch.where(covered, fill.to(images.dtype).view(-1, 1, 1), images)


#: By how many levels thresholds are lowered, so that rounding takes no level across them.
HAIR = 1e-3

#: The bank of AdaAug and MADAug, in the authors' order and with their ranges. Pillow's shifts move
#: to the left and up, those of `operations` to the right and down.
SEVENTEEN: Bank = (
    Graded("shear_x", -0.3, 0.3, signed=True),
    Graded("shear_y", -0.3, 0.3, signed=True),
    Graded("translate_x", 0.45, -0.45, signed=True, side="width"),
    Graded("translate_y", 0.45, -0.45, signed=True, side="height"),
    Graded("rotate", -30, 30, signed=True),
    Graded("auto_contrast"),
    Graded("invert", operation="solarize"),
    Graded("equalize"),
    Graded("solarize", -HAIR / 255, (256 - HAIR) / 255),
    Graded("posterize", 4, 8, whole=True),
    Graded("contrast", -0.9, 0.9),
    Graded("color", -0.9, 0.9),
    Graded("brightness", -0.9, 0.9),
    Graded("sharpness", -0.9, 0.9),
    Graded("cutout", 0, 0.2, side="width", kernel=cover),
    Graded("flip", kernel=mirror),
    Graded("identity"),
)


def apply_graded(
    images: Tensor,
    bank: Bank,
    *,
    operation: Tensor,
    magnitude: Tensor,
    sign: Tensor,
    place: Tensor,
) -> Tensor:
    """Apply to each image its own operation.

    Args:
        images: (B, C, H, W) with one or three channels, uint8 or floating in [0, 1].
        bank: K operations.
        operation: (B,) int64, places in the bank.
        magnitude: (B,) float32 in [0, 1].
        sign: (B,) float32, 1 or -1; without effect where the operation has no direction.
        place: (B, 2) float32 in [0, 1), for operations that happen somewhere: down, and across.

    Returns:
        (B, C, H, W), new memory, dtype as `images`.
    """
    argument = arguments(bank, magnitude, *images.shape[2:]).gather(0, operation[None])[0]
    argument = torch.where(signed(bank).to(sign.device)[operation], argument * sign, argument)
    number = torch.tensor([one.number for one in bank], device=operation.device)[operation]
    result = apply_operations(images, number[:, None], argument[:, None])
    for at, one in enumerate(bank):
        if one.kernel is None:
            continue
        rows = (operation == at).nonzero()[:, 0].to(images.device)
        if len(rows):
            own = argument.to(images.device)[rows], place.to(images.device)[rows]
            result[rows] = one.kernel(images[rows], *own)
    return result


def arguments(bank: Bank, magnitude: Tensor, height: int, width: int) -> Tensor:
    """What a magnitude means for every operation, without its sign.

    Args:
        bank: K operations.
        magnitude: (B,) in [0, 1].
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        (K, B) float32.
    """
    sides = {"": 1, "height": height, "width": width}
    low = magnitude.new_tensor([one.low * sides[one.side] for one in bank])[:, None]
    high = magnitude.new_tensor([one.high * sides[one.side] for one in bank])[:, None]
    argument = low + magnitude * (high - low)
    whole = torch.tensor([one.whole for one in bank], device=magnitude.device)[:, None]
    return torch.where(whole, argument.trunc(), argument)


def signed(bank: Bank) -> Tensor:
    """Which operations have a direction. Returns (K,) bool."""
    return torch.tensor([one.signed for one in bank])
