"""Work on a large batch some images at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: (images (B, C, H, W), what else belongs to each of them (B, ...)) -> (B, C, H, W)
Kernel = Callable[[Tensor, Tensor], Tensor]

#: Bytes that a kernel works on at a time: its temporaries then stay in the cache, and in memory
#: that malloc keeps. The first touch of fresh pages costs more than the arithmetic.
CHUNK_BYTES = 2 << 20


def in_chunks(kernel: Kernel, images: Tensor, by_row: Tensor, *, growth: int = 1) -> Tensor:
    """The result of a kernel that treats every image by itself and keeps type and shape.

    On accelerators, where gradients are wanted and inside `torch.compile` it is called once.

    Args:
        kernel: called with some of the rows of both.
        images: (B, C, H, W).
        by_row: (B, ...).
        growth: how many times as large as the images the kernel's temporaries are.

    Returns:
        (B, C, H, W), new memory in the images' memory format.
    """
    size = images[0].numel() * images.element_size() * growth if len(images) else 0
    whole = (
        torch.compiler.is_compiling()
        or images.device.type != "cpu"
        or size * len(images) <= CHUNK_BYTES
        or (torch.is_grad_enabled() and images.requires_grad)
    )
    if whole:
        result = kernel(images, by_row)
        if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
            return result.contiguous()
        return result.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(images)
    step = max(1, CHUNK_BYTES // size)
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        out[rows] = kernel(images[rows], by_row[rows])
    return out
