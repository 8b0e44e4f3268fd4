"""Random fields whose spectrum falls with frequency: grey clouds, made anew from a key a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vicinal.core import counter

Spectrum = Literal["isotropic", "released"]

#: The share of a field's power that may be left out with its highest frequencies.
TAIL = 1e-6
#: Sets the counters of the axes apart: more than there are frequencies along one.
STRIDE = 1 << 20
_LEVELS = 1 << 24


def low_frequency_field(
    key: Tensor, sizes: Sequence[int], *, decay: float = 3.0, spectrum: Spectrum = "isotropic"
) -> Tensor:
    """White noise whose amplitude at frequency f is divided by f to the power of `decay`.

    f is the Euclidean norm of the frequencies along the axes, in cycles per place, and counts as
    one cycle over the longest axis where it is lower.

    Source: Harris et al., FMix, 2020, section 4. In the authors' code real and imaginary parts are
    taken along the first axis of frequencies instead of a last one made for them; what comes of it
    is the spectrum `released`, see `released_field`.

    Every frequency has a random number of its own, so that a key gives the same field at every
    resolution, but for the frequencies that a coarser one has not. The highest frequencies, which
    hold less than `TAIL` of the power together, are left out: at a decay of 3 there are 1,770 left
    of the 25,312 of 224 x 224 places.

    Args:
        key: (B,) int64, as `Draws.keys` gives them.
        sizes: of the axes of space or time.
        decay: at least 0; at 0 the field is white, larger ones make it smoother.
        spectrum: `isotropic` as in the paper, `released` as in the authors' code.

    Returns:
        (B, *sizes) float32. The isotropic field has mean 0 and variance 1 over all keys; the scale
        of the released one says nothing.

    Raises:
        ValueError: decay is negative, an axis has no places, or the spectrum is unknown.
    """
    if not (sizes and min(sizes) > 0):
        raise ValueError(f"a field needs axes with places, got sizes {tuple(sizes)}")
    if not decay >= 0:
        raise ValueError(f"decay must not be negative, got {decay}")
    if spectrum == "released":
        bins = released_bins(sizes)
        noise = complex_normal(key, torch.arange(math.prod(bins), device=key.device))
        return released_field(noise.view(-1, *bins), sizes, decay=decay)
    if spectrum != "isotropic":
        raise ValueError(f"spectrum must be isotropic or released, got {spectrum!r}")
    bins = isotropic_bins(sizes, decay)
    place = torch.zeros((), dtype=torch.int64, device=key.device)
    for frequency in _frequencies(bins, key.device):
        place = place * STRIDE + frequency
    noise = complex_normal(key, place.flatten())
    return isotropic_field(noise.view(-1, *bins), sizes, decay=decay)


def complex_normal(key: Tensor, count: Tensor) -> Tensor:
    """Complex numbers whose parts are independent and standard normal, by Box and Muller.

    Args:
        key: (B,) int64.
        count: (M,) int64, which of a key's numbers.

    Returns:
        (B, M) complex64.
    """
    words = counter.mix_tensor(key[:, None] + count * counter.signed(counter.GOLDEN))
    first, second = (((words >> shift) & (_LEVELS - 1)).float() for shift in (40, 16))
    radius = first.add_(0.5).mul_(1 / _LEVELS).log_().mul_(-2).sqrt_()
    angle = second.mul_(2 * math.pi / _LEVELS)
    # In a third of the time of `torch.polar`, on a CPU.
    return torch.complex(angle.cos().mul_(radius), angle.sin().mul_(radius))


def isotropic_bins(sizes: Sequence[int], decay: float) -> tuple[int, ...]:
    """How many frequencies of each axis are drawn: of the last one those from 0 on, else of both
    signs.
    """
    longest = max(sizes)
    highest = _highest(len(sizes), longest, decay)  # cycles over the longest axis
    *leading, last = (min(size // 2, int(highest * size / longest)) for size in sizes)
    both = (min(2 * cycles + 1, size) for cycles, size in zip(leading, sizes[:-1], strict=True))
    return (*both, last + 1)


def isotropic_field(noise: Tensor, sizes: Sequence[int], *, decay: float) -> Tensor:
    """The field of given noise.

    Args:
        noise: (B, *bins) complex, parts of variance 1, for the frequencies 0, 1, ..., -2, -1 along
            each axis and 0, 1, ... along the last; those that are not there count as zero.
        sizes: of the field.
        decay: at least 0.

    Returns:
        (B, *sizes) float.
    """
    frequency = _frequencies(noise.shape[1:], noise.device)
    cycles = sum(
        (along.double() * (max(sizes) / size)).square()
        for along, size in zip(frequency, sizes, strict=True)
    )
    assert isinstance(cycles, Tensor)
    amplitude = cycles.sqrt().clamp(min=1) ** -decay
    # Of a whole spectrum the transform takes the half whose last frequency is not negative. What it
    # takes as its own mirror image, frequency 0 and the highest one of an even axis, it makes real,
    # at a loss of half of its power.
    last = torch.arange(noise.shape[-1], device=noise.device)
    alone = (last == 0) | (2 * last == sizes[-1])
    copies = 2 - alone.double()
    amplitude = amplitude / (copies * (amplitude.square() * copies).sum()).sqrt()
    field = noise * amplitude.to(noise.real.dtype)
    for axis, size in enumerate(sizes[:-1], start=1):
        field = torch.fft.ifft(_filled(field, axis, size), dim=axis, norm="forward")
    whole: Tensor = torch.fft.irfft(field, n=sizes[-1], norm="forward")
    return whole


def released_bins(sizes: Sequence[int]) -> tuple[int, ...]:
    """How many complex numbers the authors' code makes use of. sizes: of one to three axes.

    Raises:
        ValueError: there are more axes.
    """
    if len(sizes) > 3:
        raise ValueError(f"the released spectrum has up to three axes, got sizes {tuple(sizes)}")
    if len(sizes) == 1:
        return (2,)
    return (*sizes[2:], sizes[1] // 2 + 1, 2)


def released_field(noise: Tensor, sizes: Sequence[int], *, decay: float) -> Tensor:
    """The field as the authors' code makes it of given noise.

    Along the last axis it has the frequencies 0 and 1 alone; along the one before (in three
    dimensions, both) those of the axes after the first, of one sign. A series has one cycle.
    Where an axis is odd, the authors' code has one frequency too many, which is left out.

    Args:
        noise: (B, *released_bins(sizes)) complex: the authors' draws for the first frequency of the
            first axis and, as imaginary parts, for its second one.
        sizes: of the field.
        decay: at least 0.

    Returns:
        (B, *sizes) float, of a scale of its own.
    """
    longest, device = max(sizes), noise.device
    squared = torch.zeros(noise.shape[1:-1], dtype=torch.float64, device=device)
    if len(sizes) > 1:
        squared = squared + torch.fft.rfftfreq(sizes[1], device=device, dtype=torch.float64) ** 2
    if len(sizes) > 2:
        across = torch.fft.fftfreq(sizes[2], device=device, dtype=torch.float64)
        squared = squared + across[:, None] ** 2
    first, second = (
        ((squared + offset**2).sqrt() * longest).clamp(min=1)[..., None].to(noise.real.dtype)
        ** -decay
        for offset in (0, 1 / sizes[0])
    )
    spectrum = torch.complex(noise.real * first, noise.imag * second)
    axes = tuple(range(1, 1 + len(sizes)))
    field: Tensor = torch.fft.irfftn(spectrum, s=tuple(sizes), dim=axes, norm="forward")
    return field


def _highest(rank: int, longest: int, decay: float) -> float:
    """Cycles over the longest axis, beyond which lies less than TAIL of a field's power."""
    # The power of the frequencies beyond is an integral over what is outside of a ball. The lowest
    # ones, of one cycle in both directions along the longest axis, have a power of 2.
    excess = 2 * decay - rank
    if excess <= 0:
        return longest / 2  # it has no end
    surface = 2 * math.pi ** (rank / 2) / math.gamma(rank / 2)
    logarithm = math.log(surface / (2 * TAIL * excess)) / excess
    return math.exp(min(logarithm, math.log(max(1, longest / 2))))


def _frequencies(bins: Sequence[int], device: torch.device) -> list[Tensor]:
    """For each axis its frequencies in cycles, shaped to be combined with those of the others."""
    rank = len(bins)
    found = []
    for axis, count in enumerate(bins):
        along = torch.arange(count, device=device)
        if axis < rank - 1:
            along = torch.where(along < (count + 1) // 2, along, along - count)
        found.append(along.view(-1, *[1] * (rank - 1 - axis)))
    return found


def _filled(spectrum: Tensor, axis: int, size: int) -> Tensor:
    """Zeros put between the positive and the negative frequencies of an axis, up to a size."""
    count = spectrum.shape[axis]
    if count == size:
        return spectrum
    positive = spectrum.narrow(axis, 0, (count + 1) // 2)
    negative = spectrum.narrow(axis, (count + 1) // 2, count // 2)
    between = list(spectrum.shape)
    between[axis] = size - count
    return torch.cat([positive, spectrum.new_zeros(between), negative], dim=axis)
