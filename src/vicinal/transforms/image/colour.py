"""Colour operations on batches of images, an argument a sample, as torchvision's tensor kernels.

Images are (B, C, H, W) with one or three channels: uint8, where every pixel equals torchvision's,
or floating in [0, 1]. Arguments are (B,). An operation that changes a pixel by its value alone is a
curve over the levels; 8-bit images are read through a table of its 256 entries, which costs one
pass whatever the curve, and several such operations on different rows share it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: (values (1 or B, 1 or C, L), images (B, C, H, W), argument (B,)) -> (B, 1 or C, L), where values
#: and result are on the scale of the images.
Curve = Callable[[Tensor, Tensor, Tensor], Tensor]


def pointwise(images: Tensor, curve: Curve, argument: Tensor) -> Tensor:
    """Change every pixel by its value. Returns (B, C, H, W), dtype as `images`."""
    if images.dtype == torch.uint8:
        return look_up(images, table(images, curve, argument))
    values = curve(images.flatten(2), images, argument)
    return values.to(images.dtype).view_as(images)


def table(images: Tensor, curve: Curve, argument: Tensor) -> Tensor:
    """What each level becomes. images: (B, C, H, W) uint8. Returns (B, C, 256) uint8."""
    levels = torch.arange(256, dtype=torch.float32, device=images.device).view(1, 1, 256)
    changed = to_levels(curve(levels, images, argument))
    return changed.expand(*images.shape[:2], 256)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace levels by their entries. images: (B, C, H, W) uint8; tables: (B, C, 256) uint8."""
    return tables.gather(2, images.flatten(2).long()).view_as(images)


def brightness_curve(values: Tensor, images: Tensor, change: Tensor) -> Tensor:
    """Times 1 + change."""
    return (values * _row(1 + change.double())).clamp(0, _bound(images))


def contrast_curve(values: Tensor, images: Tensor, change: Tensor) -> Tensor:
    """Away from the image's mean grey, by a factor of 1 + change.

    torchvision's kernel adds the last few values of an image by another instruction; where the
    exact result is a whole level, as in images of one colour, it may be one lower there.
    """
    mean = _grey(images).mean(dim=(1, 2, 3))[:, None, None]
    return _blend(values, mean, _row(1 + change.double()), _row(-change)).clamp(0, _bound(images))


def posterize_curve(values: Tensor, images: Tensor, bits: Tensor) -> Tensor:
    """Keep the leading bits of eight."""
    if images.dtype == torch.uint8:
        step = _row(torch.exp2(8 - bits.double()))
        return torch.floor(values / step) * step
    levels = _row(torch.exp2(bits.double()))
    return torch.minimum(torch.floor(values * levels).clamp(min=0), levels - 1) * (1 / levels)


def solarize_curve(values: Tensor, images: Tensor, threshold: Tensor) -> Tensor:
    """Invert from a share of the largest value upwards."""
    bound = _bound(images)
    return torch.where(values >= _row(bound * threshold.double()), bound - values, values)


def auto_contrast_curve(values: Tensor, images: Tensor, unused: Tensor) -> Tensor:
    """Stretch every channel to the whole range; a channel of one value stays."""
    low, high = (end(images, dim=(2, 3))[:, :, None].float() for end in (torch.amin, torch.amax))
    scale = (high - low) * (1.0 / _bound(images))
    flat = high == low
    low, scale = low.masked_fill(flat, 0), scale.masked_fill(flat, 1)
    return ((values - low) / scale).clamp(0, _bound(images))


def equalize_table(images: Tensor) -> Tensor:
    """Spread the levels of every channel evenly, by Pillow's rule in whole numbers.

    Args:
        images: (B, C, H, W) uint8.

    Returns:
        (B, C, 256) uint8.
    """
    flat = images.flatten(2).long()
    one = torch.ones((), dtype=torch.int32, device=images.device)
    counts = torch.zeros(*flat.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, flat, one.expand_as(flat))
    up_to = counts.cumsum(2, dtype=torch.int32)
    # The brightest level that occurs is left out of the share that a step stands for.
    brightest = up_to.argmax(dim=2, keepdim=True)
    step = (flat.shape[2] - counts.gather(2, brightest)).div(255, rounding_mode="floor")
    below = torch.cat([torch.zeros_like(step), up_to[:, :, :-1]], dim=2)
    spread = (below + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp(0, 255)
    same = torch.arange(256, dtype=torch.int32, device=images.device)
    return torch.where(step > 0, spread, same).to(torch.uint8)


def brightness(images: Tensor, change: Tensor) -> Tensor:
    """Times 1 + change: -1 is black, 0 the image itself."""
    return pointwise(images, brightness_curve, change)


def contrast(images: Tensor, change: Tensor) -> Tensor:
    """Away from the image's mean grey by 1 + change: -1 is a grey plane, 0 the image itself."""
    return pointwise(images, contrast_curve, change)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the leading bits of every value: 8 is the image itself, 0 is black."""
    return pointwise(images, posterize_curve, bits)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert what is at or above a share of the largest value: above 1 nothing, at 0 everything."""
    return pointwise(images, solarize_curve, threshold)


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch every channel to the whole range."""
    return pointwise(images, auto_contrast_curve, images.new_zeros(()))


def equalize(images: Tensor) -> Tensor:
    """Spread the levels of every channel evenly; floating images by way of 8 bits."""
    if images.dtype == torch.uint8:
        return look_up(images, equalize_table(images))
    levels = (images.float() * (256 - 1e-3)).to(torch.uint8)
    return (equalize(levels).float() * (1 / 255)).to(images.dtype)


def color(images: Tensor, change: Tensor) -> Tensor:
    """Away from grey by 1 + change: -1 is grey, 0 the image itself. Grey images stay."""
    if images.shape[1] == 1:
        return images
    values = images.float() if images.dtype == torch.uint8 else images
    return _finish(
        _blend(values, _grey(images), _cell(1 + change.double()), _cell(-change)), images
    )


def sharpness(images: Tensor, change: Tensor) -> Tensor:
    """Away from a smoothed image by 1 + change: -1 is smooth, 0 the image itself.

    The outermost pixels stay, and so does an image of less than three pixels a side.
    """
    if min(images.shape[2:]) < 3:
        return images
    exact = images.dtype == torch.uint8
    # Sums of 8-bit values are exact in any order, and never half way between two levels after
    # the division by 13: torchvision's convolution in float32 rounds to the same level.
    whole = images.to(torch.int16) if exact else images
    rows = whole[:, :, :-2] + whole[:, :, 1:-1] + whole[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * whole[:, :, 1:-1, 1:-1]
    smooth = (box * (1 / 13)).round() if exact else box * (1 / 13)
    values = images.float() if exact else images.clone()
    inner = values[:, :, 1:-1, 1:-1]
    inner.copy_(torch.addcmul(inner, smooth - inner, _cell(-change).to(inner.dtype)))
    return _finish(values, images)


def to_levels(values: Tensor) -> Tensor:
    """Cut off to 8 bits. By way of int16, which torch converts several times faster on a CPU."""
    return values.to(torch.int16).to(torch.uint8)


def _finish(values: Tensor, images: Tensor) -> Tensor:
    values = values.clamp(0, _bound(images))
    return to_levels(values) if images.dtype == torch.uint8 else values.to(images.dtype)


def _bound(images: Tensor) -> float:
    return 255.0 if images.dtype == torch.uint8 else 1.0


def _blend(image: Tensor, other: Tensor, kept: Tensor, share: Tensor) -> Tensor:
    """A weighted sum, the second product not rounded before it is added, as in torchvision."""
    return torch.addcmul(image * kept, other, share)


def _grey(images: Tensor) -> Tensor:
    """Luminance, in whole levels where the image has them. Returns (B, 1, H, W) floating."""
    values = images.float() if images.dtype == torch.uint8 else images
    if images.shape[1] == 1:
        return values
    red, green, blue = (values[:, channel, None] for channel in range(3))
    grey = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return grey.floor_() if images.dtype == torch.uint8 else grey


def _row(argument: Tensor) -> Tensor:
    """An argument a sample, for (B, C, L). Returns (B, 1, 1) float32."""
    return argument.float()[:, None, None]


def _cell(argument: Tensor) -> Tensor:
    """An argument a sample, for (B, C, H, W). Returns (B, 1, 1, 1) float32."""
    return argument.float()[:, None, None, None]
