"""Scales of magnitudes: what strength each implementation of a policy means by its numbers.

The same magnitude means different things in different implementations (9 turns an image by 9
degrees in torchvision and by 27 in timm), so that each has a column here. A column says, for the
operations that it draws from, which argument a magnitude stands for; the operations themselves lie
in `operations`, where their arguments have one unit for all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from vicinal.transforms.image.operations import NUMBER, OPERATIONS


@dataclass(frozen=True)
class Scale:
    """What an argument may depend on beside the magnitude.

    bins: how many magnitudes there are, from 0; at least 2. Columns with a scale of their own
        ignore it.
    height, width: of the images, in pixels.
    """

    bins: int
    height: int
    width: int


#: (magnitudes (M,), scale) -> arguments (M,), without their sign.
Strength = Callable[[Tensor, Scale], Tensor]


def _unused(magnitude: Tensor, scale: Scale) -> Tensor:
    return torch.zeros(len(magnitude), device=magnitude.device)


def _linear(low: float, high: float) -> Strength:
    # Not low + (high - low) * magnitude / ...: linspace rounds otherwise, and torchvision uses it.
    return lambda magnitude, scale: torch.linspace(low, high, scale.bins)[magnitude]


def _bits(lost: int) -> Strength:
    def strength(magnitude: Tensor, scale: Scale) -> Tensor:
        steps: float = (scale.bins - 1) / lost
        return torch.round(8 - magnitude.float().div(steps))

    return strength


def _pixels(most: Callable[[Scale], float]) -> Strength:
    """In whole pixels."""

    def strength(magnitude: Tensor, scale: Scale) -> Tensor:
        return torch.linspace(0, most(scale), scale.bins)[magnitude].trunc()

    return strength


def _torchvision(
    *, slope: float, across: Strength, down: Strength, degrees: float, change: float, lost: int
) -> Mapping[str, Strength]:
    """A column of torchvision's, in the order of its tables."""
    return {
        "identity": _unused,
        "shear_x": _linear(0, slope),
        "shear_y": _linear(0, slope),
        "translate_x": across,
        "translate_y": down,
        "rotate": _linear(0, degrees),
        "brightness": _linear(0, change),
        "color": _linear(0, change),
        "contrast": _linear(0, change),
        "sharpness": _linear(0, change),
        "posterize": _bits(lost),
        "solarize": _linear(1, 0),
        "auto_contrast": _unused,
        "equalize": _unused,
    }


def _of_ten(most: Callable[[Scale], float], *, whole: bool) -> Strength:
    """The authors of AugMix: in proportion to the level, of which 10 is the highest."""

    def strength(level: Tensor, scale: Scale) -> Tensor:
        part = level.double() * most(scale) / 10
        return part.trunc() if whole else part

    return strength


def _of_ten_subtracted(start: int, most: int) -> Strength:
    part = _of_ten(lambda scale: most, whole=True)
    return lambda level, scale: start - part(level, scale)


def _threshold_of_ten(level: Tensor, scale: Scale) -> Tensor:
    # A whole threshold of 8 bits as a share. Half a level below it no rounding can cross a level.
    return (_of_ten_subtracted(256, 256)(level, scale) - 0.5) / 255


def _factor_of_ten(level: Tensor, scale: Scale) -> Tensor:
    # Factors of 0.1 to 1.9, as a change: towards grey in the lower half and away from it above.
    return 0.1 + level.double() * 1.8 / 10 - 1


def _share_of_ten(share: float, side: Callable[[Scale], int]) -> Strength:
    return _of_ten(lambda scale: share * side(scale), whole=True)


#: By the name of the implementation. Magnitudes are whole numbers below the number of bins; those
#: of AugMix are real numbers up to 10, and those of UDA whole ones.
FLAVORS: Mapping[str, Mapping[str, Strength]] = {
    "torchvision": _torchvision(
        slope=0.3,
        across=_pixels(lambda scale: 150.0 / 331.0 * scale.width),
        down=_pixels(lambda scale: 150.0 / 331.0 * scale.height),
        degrees=30,
        change=0.9,
        lost=4,
    ),
    "torchvision-wide": _torchvision(
        slope=0.99,
        across=_pixels(lambda scale: 32),
        down=_pixels(lambda scale: 32),
        degrees=135,
        change=0.99,
        lost=6,
    ),
    "augmix": {
        "auto_contrast": _unused,
        "equalize": _unused,
        "posterize": _of_ten_subtracted(4, 4),
        "rotate": _of_ten(lambda scale: 30, whole=True),
        "solarize": _threshold_of_ten,
        "shear_x": _of_ten(lambda scale: 0.3, whole=False),
        "shear_y": _of_ten(lambda scale: 0.3, whole=False),
        "translate_x": _of_ten(lambda scale: scale.width / 3, whole=True),
        "translate_y": _of_ten(lambda scale: scale.height / 3, whole=True),
    },
    # In the order of its authors, whose images have 32 pixels a side.
    "uda": {
        "invert": _unused,
        "cutout": _share_of_ten(20 / 32, lambda scale: min(scale.height, scale.width)),
        "sharpness": _factor_of_ten,
        "auto_contrast": _unused,
        "posterize": _of_ten_subtracted(4, 4),
        "shear_x": _of_ten(lambda scale: 0.3, whole=False),
        "translate_x": _share_of_ten(10 / 32, lambda scale: scale.width),
        "translate_y": _share_of_ten(10 / 32, lambda scale: scale.height),
        "shear_y": _of_ten(lambda scale: 0.3, whole=False),
        "rotate": _of_ten(lambda scale: 30, whole=True),
        "equalize": _unused,
        "contrast": _factor_of_ten,
        "color": _factor_of_ten,
        "solarize": _threshold_of_ten,
        "brightness": _factor_of_ten,
    },
}
#: What columns call otherwise than the bank: all that is solarized from 0 on is inverted. The bank
#: has no cutout, since it needs a place: for it an image is left as it is, and the argument is the
#: side of the square in pixels, which is the policy's to cover.
_IN_THE_BANK = {"invert": "solarize", "cutout": "identity"}
#: Factors of colour have a direction already where they do not mirror about 1.
_WITHOUT_SIGN = {"uda": ("brightness", "color", "contrast", "sharpness")}


def arguments(flavor: str, magnitudes: Tensor, scale: Scale) -> Tensor:
    """The arguments of all operations of a flavor, without their sign.

    Args:
        flavor: name of a column.
        magnitudes: (M,), on the host.
        scale: number of magnitudes, size of the images.

    Returns:
        (K, M) float32, in the order of the column.
    """
    return torch.stack(
        [strength(magnitudes, scale).float() for strength in FLAVORS[flavor].values()]
    )


@lru_cache(maxsize=256)
def all_arguments(flavor: str, scale: Scale) -> Tensor:
    """Those of all magnitudes. Returns (K, bins) float32, kept: not to be written to."""
    return arguments(flavor, torch.arange(scale.bins), scale)


@cache
def operations(flavor: str) -> Tensor:
    """The operations of a flavor, as places in `OPERATIONS`. Returns (K,) int64, kept."""
    return torch.tensor([NUMBER[_IN_THE_BANK.get(name, name)] for name in FLAVORS[flavor]])


@cache
def signs(flavor: str) -> Tensor:
    """Which operations of a flavor have a sign to draw. Returns (K,) bool, kept."""
    unsigned = _WITHOUT_SIGN.get(flavor, ())
    numbers = operations(flavor).tolist()
    return torch.tensor(
        [
            OPERATIONS[number].signed and name not in unsigned
            for name, number in zip(FLAVORS[flavor], numbers, strict=True)
        ]
    )
