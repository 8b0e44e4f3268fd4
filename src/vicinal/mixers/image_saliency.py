"""Where an image draws the eye, told from the image alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

#: How far the surround of a pixel reaches, in pixels: two pyramids of three scales.
SURROUNDS = (12, 24, 48, 28, 56, 112)
#: Shares of red, green and blue in grey (ITU-R BT.601), rounded as in OpenCV and in torchvision.
GREY_OF_BYTES = (9798 / 2**15, 19235 / 2**15, 3735 / 2**15)
GREY = (0.2989, 0.587, 0.114)
#: Above this side an image is shrunk to it before its spectrum is taken.
SPECTRAL_SIDE = 128
#: Whole numbers up to here are exact in float32.
EXACT = 1 << 24
#: Pixels that a thread of the CPU looks at together: what is computed of them stays in its cache.
BLOCK_PIXELS = 1 << 17


def fine_grained(x: Tensor) -> Tensor:
    """How much every pixel stands out from its surrounds, brighter or darker than they are.

    On three channels of 8 bits, red, green and blue, these are the numbers of OpenCV's
    `StaticSaliencyFineGrained`, but that sums above 255 are cut where OpenCV's overflow. Other
    images are grey levels stretched to 0 .. 255 first: OpenCV reads the bytes of floats as levels.

    Source: Montabone and Soto, Human Detection Using a Mobile Platform and Novel Features Derived
    from a Visual Saliency Mechanism, Image and Vision Computing 2010.

    Args:
        x: (B, C, H, W), any real numbers; three channels are red, green and blue.

    Returns:
        (B, H, W) uint8.

    Raises:
        ValueError: x are no images.
    """
    maps = [_joined(on, off) for on, off in _contrasts(x)]
    return torch.cat(maps) if maps else x.new_empty(x[:, 0].shape, dtype=torch.uint8)


def salient_peak(x: Tensor) -> Tensor:
    """The pixel of each image that stands out most from its surrounds.

    By `fine_grained` both the one that is brightest for its surrounds and the one that is darkest
    have the highest level there is. Of these two it is the one of higher contrast, and the bright
    one if they are equal; of several alike the first. An image without contrast has its peak in the
    first pixel.

    Args:
        x: (B, C, H, W), as `fine_grained` takes it.

    Returns:
        (B, 2) int64, row and column.

    Raises:
        ValueError: x are no images.
    """
    peaks = [x.new_empty(0, dtype=torch.int64)]
    for on, off in _contrasts(x):
        (bright, at_bright), (dark, at_dark) = (part.flatten(1).max(dim=1) for part in (on, off))
        peaks.append(torch.where(bright >= dark, at_bright, at_dark))
    place, width = torch.cat(peaks), x.shape[3]
    return torch.stack([place // width, place % width], dim=1)


def spectral_residual(x: Tensor) -> Tensor:
    """How much every pixel has to do with what is unusual in the image's spectrum.

    That is the log amplitude without its mean over neighbouring frequencies; with the phases as
    they are it is turned back into an image, of which the magnitude is blurred.

    Source: Hou and Zhang, Saliency Detection: A Spectral Residual Approach, CVPR 2007, with the
    sizes, borders and blur of spectral_residual.py by the authors of GuidedMixup.

    Args:
        x: (B, C, H, W), any real numbers; three channels are red, green and blue.

    Returns:
        (B, H, W) float32, at least 0; float64 of float64.

    Raises:
        ValueError: x are no images.
    """
    _expect_images(x)
    size = x.shape[2:]
    grey = _grey(x.to(torch.promote_types(x.dtype, torch.float32)), GREY).contiguous()
    inner = tuple(min(side, SPECTRAL_SIDE) for side in size)
    grey = _resized(grey, inner)
    spectrum = torch.fft.fft2(grey)
    amplitude = (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()
    log = amplitude.log()
    around = F.avg_pool2d(F.pad(log[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    residual = (log - around[:, 0]).exp()
    saliency = torch.fft.ifft2(spectrum * (residual / amplitude)).abs()
    return _resized(blurred(saliency), size)


def blurred(maps: Tensor, *, reach: int = 3, deviation: float = 3.0) -> Tensor:
    """Maps blurred by a Gaussian, mirrored at their borders.

    Args:
        maps: (B, H, W) floats.
        reach: of the Gaussian to each side, in pixels; less where a side is too short for it.
        deviation: its standard deviation, in pixels.

    Returns:
        (B, H, W).
    """
    for axis in (1, 2):
        size = maps.shape[axis]
        near = min(reach, size - 1)
        place = torch.arange(-near, near + 1, device=maps.device, dtype=maps.dtype)
        weights = (-0.5 * (place / deviation).square()).softmax(dim=0)
        padding = (0, 0, near, near) if axis == 1 else (near, near, 0, 0)
        padded = F.pad(maps[:, None], padding, mode="reflect")[:, 0]
        maps = torch.zeros_like(maps)
        for shift, weight in enumerate(weights.unbind()):
            maps += padded.narrow(axis, shift, size) * weight
    return maps


def _expect_images(x: Tensor) -> None:
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise ValueError(f"saliency is of images (B, C, H, W), got shape {tuple(x.shape)}")


def _grey(x: Tensor, shares: Sequence[float]) -> Tensor:
    """The images' brightness. x: (B, C, H, W). Returns (B, H, W), float32, or float64 of float64.

    shares: of three channels; other numbers of channels have equal ones.
    """
    if x.shape[1] != len(shares):
        return x.to(torch.promote_types(x.dtype, torch.float32)).mean(dim=1)
    red, green, blue = x.unbind(dim=1)
    return (red * shares[0]).add_(green, alpha=shares[1]).add_(blue, alpha=shares[2])


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    resized = F.interpolate(maps[:, None], tuple(size), mode="bilinear", antialias=True)
    return resized[:, 0]


def _contrasts(x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """By how much pixels are brighter than their surrounds, and darker, over all scales.

    Args:
        x: (B, C, H, W).

    Yields:
        For some images after another: two of (M, H, W) float32, whole numbers.
    """
    _expect_images(x)
    height, width = x.shape[2:]
    around = _areas(height, width, x.device)
    together = len(x)
    if x.device.type == "cpu":
        together = BLOCK_PIXELS * torch.get_num_threads() // (height * width)
    step = max(1, together)
    for start in range(0, len(x), step):
        levels = _smoothed(_smoothed(_levels(x[start : start + step])))
        sums = _summed(levels)
        on, all_scales = torch.zeros_like(levels), torch.zeros_like(levels)
        for reach, area in zip(SURROUNDS, around, strict=True):
            inside = _window(_window(sums, reach, axis=1), reach, axis=2).float()
            mean = inside.sub_(levels).div_(area)  # without the pixel itself
            contrast = torch.sub(levels, mean, out=mean).trunc_()
            all_scales += contrast
            on += contrast.clamp_(min=0)
        yield on, on - all_scales


def _levels(x: Tensor) -> Tensor:
    """Grey levels from 0 to 255. x: (B, C, H, W). Returns (B, H, W) float32, whole numbers."""
    if x.dtype == torch.uint8:
        return _grey(x, GREY_OF_BYTES).add_(0.5).floor_()
    grey = _grey(x.float(), GREY)
    low, high = grey.flatten(1).aminmax(dim=1)
    scale = 255 / (high - low).clamp(min=torch.finfo(grey.dtype).tiny)
    return (grey - low[:, None, None]).mul_(scale[:, None, None]).round_()


def _smoothed(levels: Tensor) -> Tensor:
    """Whole levels blurred over 3 x 3 pixels, mirrored at the borders. (B, H, W)."""
    for axis in (1, 2):
        size = levels.shape[axis]
        if size == 1:
            levels = levels * 4
            continue
        before = levels.narrow(axis, 1, 1), levels.narrow(axis, 0, size - 1)
        after = levels.narrow(axis, 1, size - 1), levels.narrow(axis, size - 2, 1)
        levels = torch.cat(before, axis).add_(torch.cat(after, axis)).add_(levels, alpha=2)
    return levels.add_(8).mul_(1 / 16).floor_()


def _summed(levels: Tensor) -> Tensor:
    """The sum of all that is above and left of each corner. (B, H, W) to (B, H + 1, W + 1)."""
    exact = torch.float32 if 255 * levels[0].numel() < EXACT else torch.float64
    padded = F.pad(levels.to(exact), (1, 0, 1, 0))
    return padded.cumsum(dim=2).cumsum(dim=1)


def _window(sums: Tensor, reach: int, *, axis: int) -> Tensor:
    """Sums over windows along an axis, from running sums that begin with zero.

    The window of a place begins `reach - 1` before it and ends `reach` after it.
    """
    length = sums.shape[axis] - 1
    reach = min(reach, length)
    total = sums.narrow(axis, length, 1)
    shape = list(sums.shape)
    shape[axis] = reach
    window = torch.cat([sums.narrow(axis, reach + 1, length - reach), total.expand(shape)], axis)
    window.narrow(axis, reach, length - reach).sub_(sums.narrow(axis, 1, length - reach))
    return window


def _areas(height: int, width: int, device: torch.device) -> list[Tensor]:
    """The pixels of each surround but the one in the middle: (H, W) float32 for each reach."""
    areas = []
    for reach in SURROUNDS:
        rows, columns = (
            _window(torch.arange(length + 1, device=device), reach, axis=0)
            for length in (height, width)
        )
        areas.append((rows[:, None] * columns - 1).clamp(min=1).float())
    return areas


def _joined(on: Tensor, off: Tensor) -> Tensor:
    """Both maps stretched to 0 .. 255, and added. (B, H, W) whole numbers. Returns uint8."""
    joined = torch.zeros_like(on)
    for part in (on, off):
        highest = part.amax(dim=(1, 2), keepdim=True).clamp(min=1)
        joined += (part / highest).double().mul_(255).floor_()  # in float64, as OpenCV rounds
    return joined.clamp_(max=255).to(torch.uint8)
