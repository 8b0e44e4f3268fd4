"""The operation bank: the image operations that policies choose from, each row with its own.

An operation is a number, its place in `OPERATIONS`, with an argument in a fixed unit, so that what
a policy drew replays without knowing whose scale of magnitudes it was drawn on (see `flavors`):

- identity, auto_contrast, equalize: unused;
- shear_x, shear_y: the tangent of the angle; the pivot is the top left corner;
- translate_x, translate_y: pixels to the right, or down;
- rotate: degrees counter-clockwise, about the centre;
- brightness, color, contrast, sharpness: change of the factor, where 0 leaves the image as it is
  and -1 makes it black, grey, its mean grey, or smooth;
- posterize: bits kept, from 0, which is black, to 8, which is the image itself;
- solarize: share of the largest value from which on pixels are inverted; above 1 none is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby

import torch
from torch import Tensor

from vicinal.transforms.image import colour, geometry
from vicinal.transforms.image.chunks import Kernel, in_chunks
from vicinal.transforms.image.geometry import Interpolation
from vicinal.transforms.image.sixteen_bits import by_shares


@dataclass(frozen=True)
class Operation:
    """One entry of the bank; with no function it leaves images as they are.

    signed: the argument has a direction: policies give it either sign.
    motion: a warp of that name; rows of all warps go through one resampling.
    table: (images, argument) -> (B, C, 256), for 8-bit images; rows of all tables are read at once.
    kernel: (images, argument) -> images, for what the two before do not serve.
    """

    name: str
    signed: bool = False
    motion: bool = False
    table: Callable[[Tensor, Tensor], Tensor] | None = None
    kernel: Kernel | None = None


def _by_curve(name: str, curve: colour.Curve, *, signed: bool = False) -> Operation:
    return Operation(
        name,
        signed,
        table=lambda images, argument: colour.table(images, curve, argument),
        kernel=lambda images, argument: colour.pointwise(images, curve, argument),
    )


#: Stored params hold places in this list: a new operation goes to its end.
OPERATIONS = (
    Operation("identity"),
    *(Operation(name, signed=True, motion=True) for name in geometry.MOTIONS),
    _by_curve("brightness", colour.brightness_curve, signed=True),
    Operation("color", signed=True, kernel=colour.color),
    _by_curve("contrast", colour.contrast_curve, signed=True),
    Operation("sharpness", signed=True, kernel=colour.sharpness),
    _by_curve("posterize", colour.posterize_curve),
    _by_curve("solarize", colour.solarize_curve),
    _by_curve("auto_contrast", colour.auto_contrast_curve),
    Operation(
        "equalize",
        table=lambda images, argument: colour.equalize_table(images),
        kernel=lambda images, argument: colour.equalize(images),
    ),
)
NUMBER = {operation.name: number for number, operation in enumerate(OPERATIONS)}


def _pass(operation: Operation, dtype: torch.dtype) -> str:
    """What an operation's rows go through; rows of one pass go through it together."""
    if operation.motion:
        return "warp"
    if operation.table is not None and dtype == torch.uint8:
        return "table"
    return operation.name


# The order in which rows are laid side by side, so that those of one pass are neighbours.
_ORDER = sorted(range(len(OPERATIONS)), key=lambda number: _pass(OPERATIONS[number], torch.uint8))
_RANK = torch.tensor([_ORDER.index(number) for number in range(len(OPERATIONS))])


def apply_operations(
    images: Tensor,
    operation: Tensor,
    argument: Tensor,
    *,
    interpolation: Interpolation = "nearest",
) -> Tensor:
    """Apply to each image its own operations, one after the other.

    Images are sorted by operation, so that each is called once for all images that drew it. The
    numbers of images must be known on the host: operations that lie on an accelerator are copied
    from it, and it is waited for.

    Args:
        images: (B, C, H, W) with one or three channels, uint8, uint16 or floating in [0, 1]. Those
            of 16 bits are equalised by way of 8.
        operation: (B, N) int64, places in `OPERATIONS`.
        argument: (B, N) float32, in the operation's unit.
        interpolation: how warps read between pixels.

    Returns:
        (B, C, H, W), new memory, dtype as `images`.

    Raises:
        ValueError: images are not of that shape.
        TypeError: images are of another type.
    """
    check_images(images)
    if not len(images):
        return images.clone()
    if images.dtype in (torch.float16, torch.bfloat16):
        wide = apply_operations(images.float(), operation, argument, interpolation=interpolation)
        return wide.to(images.dtype)
    if images.dtype == torch.uint16:
        return by_shares(
            lambda shares: apply_operations(
                shares, operation, argument, interpolation=interpolation
            ),
            images,
        )
    device = images.device
    ranks = _RANK[operation.cpu()]
    argument = argument.to(device)
    place = torch.arange(len(images))  # the row of `images` that each sorted row is
    rows = images.contiguous()
    for step in range(operation.shape[1]):
        rank, order = ranks[place, step].sort(stable=True)
        place = place[order]
        rows = _apply_sorted(
            rows.index_select(0, order.to(device)),
            argument[place.to(device), step],
            counts=rank.bincount(minlength=len(OPERATIONS)).tolist(),
            interpolation=interpolation,
        )
    restored = rows.index_select(0, place.argsort().to(device))
    return torch.empty_like(images).copy_(restored) if not images.is_contiguous() else restored


def check_images(images: Tensor) -> None:
    """Raise unless they are (B, 1 or 3, H, W) and uint8, uint16 or floating."""
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"x must be images (B, C, H, W) of 1 or 3 channels, got shape {tuple(images.shape)}"
        )
    if images.dtype not in (torch.uint8, torch.uint16) and not images.is_floating_point():
        raise TypeError(f"images must be uint8, uint16 or floating in [0, 1], got {images.dtype}")


def _apply_sorted(
    images: Tensor, argument: Tensor, *, counts: list[int], interpolation: Interpolation
) -> Tensor:
    """One operation an image. counts: how many images each of `_ORDER` has, in that order."""
    spans = [
        (OPERATIONS[number], slice(stop - count, stop))
        for number, count, stop in zip(_ORDER, counts, accumulate(counts), strict=True)
        if count
    ]
    growth = 4 if images.dtype == torch.uint8 else 1  # kernels work in float32
    pieces = []
    for way, group in groupby(spans, key=lambda span: _pass(span[0], images.dtype)):
        members = list(group)
        start, stop = members[0][1].start, members[-1][1].stop
        if way == "warp":
            by_row = _matrices(members, argument, images.shape[2:])
            kernel: Kernel = partial(geometry.warp, interpolation=interpolation)
        elif way == "table":
            tables = [one.table(images[rows], argument[rows]) for one, rows in members if one.table]
            by_row, kernel = torch.cat(tables), colour.look_up
        else:
            by_row, kernel = argument[start:stop], members[0][0].kernel or _leave
        pieces.append(in_chunks(kernel, images[start:stop], by_row, growth=growth))
    return torch.cat(pieces)


def _matrices(
    members: list[tuple[Operation, slice]], argument: Tensor, size: Sequence[int]
) -> Tensor:
    """Matrices of neighbouring rows, which are sorted by motion. Returns (M, 2, 3) float64."""
    start, stop = members[0][1].start, members[-1][1].stop
    amount = argument.new_zeros(stop - start, len(geometry.MOTIONS))
    for operation, rows in members:
        column = geometry.MOTIONS.index(operation.name)
        amount[rows.start - start : rows.stop - start, column] = argument[rows]
    return geometry.matrices(amount, *size)


def _leave(images: Tensor, argument: Tensor) -> Tensor:
    return images
