"""Photographic enhancements: one of eight, at a random strength."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image import colour
from vicinal.transforms.image.chunks import in_chunks
from vicinal.transforms.image.operations import NUMBER, apply_operations, check_images
from vicinal.transforms.image.sixteen_bits import by_shares

#: The enhancements with the ends of their arguments: changes of a factor, exponents, standard
#: deviations of noise (of the largest value) and of a blur (in pixels).
ENHANCEMENTS = {
    "brightness": (-0.5, 0.5),
    "contrast": (-0.5, 0.5),
    "color": (-0.5, 0.5),
    "gamma": (0.5, 1.5),
    "noise": (0.1, 0.1),
    "blur": (0.5, 1.5),
    "equalize": (0.0, 0.0),
    "solarize": (0.0, 0.0),
}
#: How many standard deviations of a blur are summed, as in SciPy.
_REACH = 4.0
_OWN = ("gamma", "noise", "blur")


@dataclass(frozen=True)
class EnhanceParams(Params):
    """One row per sample.

    enhancement: (B,) int64, places in `ENHANCEMENTS`.
    argument: (B,) float32, in its unit.
    key: (B,) int64, decides all of the noise.
    """

    enhancement: Tensor
    argument: Tensor
    key: Tensor


class Enhance(Transform):
    """Do one of eight things to every image that a photo editor does.

    Brightness, contrast or saturation by a factor of 0.5 to 1.5; gamma of 0.5 to 1.5; Gaussian
    noise of variance 0.01; a blur of 0.5 to 1.5 pixels; equalised levels; a negative. Images are
    (B, C, H, W) with one or three channels, of 8 or 16 bits or floating in [0, 1]. Saturation
    leaves images of one channel as they are; levels are equalised by way of 8 bits.

    Source: the enhancements that the authors of MediAug (Su et al., 2025) mix an image with.

    Raises:
        ValueError: in `apply`, x are no such images.
        TypeError: in `apply`, they are of another type.
    """

    card = Card(
        name="enhance",
        kind="transform",
        family="transform",
        modality=("image",),
        summary="Changes brightness, contrast, colour, gamma, noise, sharpness or levels.",
        systems=("mediaug",),
        paper=Paper(
            "MediAug: Exploring Visual Augmentation in Medical Imaging",
            venue="MIUA",
            year=2025,
            arxiv="2504.18983",
        ),
        differs=(
            "without the authors' warp by a quadrangle, which shows one pixel of the image",
            "blurred along height and width, where the authors' code blurs across channels too",
            "operations are torchvision's and each as likely",
        ),
        example="x = vicinal.Enhance()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16", "uint16"),
    )

    def sample(self, batch: Batch, draws: Draws) -> EnhanceParams:
        place = draws.below("enhancement", len(ENHANCEMENTS))
        ends = torch.tensor(list(ENHANCEMENTS.values()), device=place.device)[place]  # (B, 2)
        argument = torch.lerp(ends[:, 0], ends[:, 1], draws.uniform("argument"))
        return EnhanceParams(place, argument, draws.keys("noise"))

    def apply(self, batch: Batch, params: EnhanceParams) -> Batch:
        x = batch.tensor
        rows = torch.arange(len(params), device=params.key.device)

        def enhance(images: Tensor) -> Tensor:
            check_images(images)
            return in_chunks(lambda some, at: enhanced(some, params[at]), images, rows, growth=4)

        return batch.replace(x=by_shares(enhance, x) if x.dtype == torch.uint16 else enhance(x))


def enhanced(images: Tensor, params: EnhanceParams) -> Tensor:
    """Images (B, C, H, W) after their enhancements, in the same type."""
    names = list(ENHANCEMENTS)
    numbers = [NUMBER["identity" if name in _OWN else name] for name in names]
    bank = torch.tensor(numbers, device=images.device)
    made = apply_operations(images, bank[params.enhancement][:, None], params.argument[:, None])
    for name in _OWN:
        rows = (params.enhancement == names.index(name)).nonzero()[:, 0]
        if len(rows):
            own = params[rows]
            some = made.index_select(0, rows)
            if name == "gamma":
                changed = colour.pointwise(some, gamma_curve, own.argument)
            elif name == "noise":
                changed = noisy(some, own.argument, own.key)
            else:
                changed = blurred(some, own.argument)
            made = made.index_copy(0, rows, changed)
    return made


def gamma_curve(values: Tensor, images: Tensor, exponent: Tensor) -> Tensor:
    """Shares of the largest value to the power of an exponent a sample. See `colour.Curve`."""
    bound = _bound(images)
    return (values / bound).clamp(0, 1) ** exponent.float()[:, None, None] * bound


def noisy(images: Tensor, deviation: Tensor, key: Tensor) -> Tensor:
    """Images with normal noise, cut off at their ends.

    Args:
        images: (B, C, H, W), uint8 or floating in [0, 1].
        deviation: (B,) of the noise, as a share of the largest value.
        key: (B,) int64, decides it.
    """
    noise = Draws(0, key).normal("noise", shape=images.shape[1:])
    bound = _bound(images)
    values = images + noise * (deviation * bound)[:, None, None, None]
    return _like(values.clamp(0, bound), images)


def blurred(images: Tensor, deviation: Tensor) -> Tensor:
    """Images with every pixel the mean of those about it, with the weights of a bell curve.

    Args:
        images: (B, C, H, W), uint8 or floating; the outermost pixels go on beyond the border.
        deviation: (B,) of the weights, in pixels, > 0; at most 1.5.
    """
    reach = int(_REACH * ENHANCEMENTS["blur"][1] + 0.5)
    steps = torch.arange(-reach, reach + 1, device=images.device)
    weight = (-0.5 * (steps / deviation[:, None]) ** 2).exp()
    weight = weight.masked_fill(steps.abs() > (_REACH * deviation[:, None] + 0.5).floor(), 0)
    weight = weight / weight.sum(dim=1, keepdim=True)  # (B, 2 reach + 1)
    values = images if images.dtype == torch.float64 else images.float()
    for axis in (2, 3):
        around = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(values, around, mode="replicate")
        values = torch.zeros_like(values)
        for at, share in enumerate(weight.to(values.dtype).unbind(1)):
            seen = padded.narrow(axis, at, images.shape[axis])
            values = torch.addcmul(values, seen, share[:, None, None, None])
    return _like(values, images)


def _bound(images: Tensor) -> float:
    return 255.0 if images.dtype == torch.uint8 else 1.0


def _like(values: Tensor, images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return colour.to_levels(values + 0.5)
    return values.to(images.dtype)
