"""Photographic enhancements: each against another library's, and all of them as often."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter
from scipy.stats import chisquare
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.enhance import ENHANCEMENTS, Enhance, EnhanceParams, noisy

NAMES = list(ENHANCEMENTS)


def smooth(count: int = 4, channels: int = 3, side: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(side, side + 6), mode="bilinear")
    return (255 * images).to(torch.uint8)


def made(x: Tensor, name: str, argument: float) -> Tensor:
    count = len(x)
    params = EnhanceParams(
        torch.full((count,), NAMES.index(name)), torch.full((count,), argument), torch.arange(count)
    )
    return Enhance().apply(Batch.of(x), params).tensor


@pytest.mark.parametrize(
    ("name", "argument"),
    [("brightness", 0.4), ("contrast", -0.3), ("color", -0.5), ("equalize", 0), ("solarize", 0)],
)
def test_levels_are_those_of_pillow_but_for_rounding(name: str, argument: float) -> None:
    theirs = {
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1 + argument),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1 + argument),
        "color": lambda image: ImageEnhance.Color(image).enhance(1 + argument),
        "equalize": ImageOps.equalize,
        "solarize": ImageOps.invert,
    }[name]
    x = smooth()
    for own, found in zip(x, made(x, name, argument), strict=True):
        wanted = np.asarray(theirs(Image.fromarray(own.permute(1, 2, 0).numpy())), dtype=float)
        assert np.abs(found.permute(1, 2, 0).numpy() - wanted).max() <= 2


@pytest.mark.parametrize("exponent", [0.5, 1.5])
def test_gamma_is_a_power_of_the_share_of_white(exponent: float) -> None:
    x = smooth()
    wanted = ((x.double() / 255) ** exponent) * 255
    assert (made(x, "gamma", exponent).double() - wanted).abs().max() <= 1
    assert torch.allclose(made(x / 255, "gamma", exponent).double(), wanted / 255, atol=1e-6)


@pytest.mark.parametrize("deviation", [0.5, 1.1, 1.5])
def test_a_blur_is_scipys(deviation: float) -> None:
    x = smooth() / 255
    wanted = gaussian_filter(x.double().numpy(), (0, 0, deviation, deviation), mode="nearest")
    found = made(x, "blur", deviation)
    assert np.abs(found.numpy() - wanted).max() < 1e-5


def test_noise_is_normal_of_variance_one_hundredth_and_its_key_decides_it() -> None:
    x = torch.full((3, 1, 60, 60), 0.5)
    key = torch.tensor([7, 8, 7])
    noise = noisy(x, torch.full((3,), 0.1), key) - x
    assert noise.var() == pytest.approx(0.01, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.003)
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_each_is_as_likely_and_its_strength_uniform_between_its_ends() -> None:
    batch = Batch.of(torch.zeros(8000, 1, 1, 1))
    params = Enhance().sample(batch, Draws(0, batch.index))
    counted = params.enhancement.bincount(minlength=8)
    assert chisquare(counted.numpy()).pvalue > 1e-3
    for place, (low, high) in enumerate(ENHANCEMENTS.values()):
        argument = params.argument[params.enhancement == place]
        assert low - 1e-6 <= argument.min() <= low + 0.01 * (high - low) + 1e-6
        assert argument.mean() == pytest.approx((low + high) / 2, abs=0.03)


def test_grey_images_keep_their_saturation_and_take_all_else() -> None:
    x = smooth(channels=1)
    assert torch.equal(made(x, "color", 0.5), x)
    for name in ("brightness", "gamma", "noise", "blur", "equalize", "solarize"):
        assert not torch.equal(made(x, name, ENHANCEMENTS[name][0]), x)


@pytest.mark.parametrize("name", ["brightness", "gamma", "blur", "solarize"])
def test_sixteen_bits_are_not_cut_to_eight(name: str) -> None:
    x = torch.randint(0, 65_536, (4, 1, 12, 12)).to(torch.uint16)
    argument = ENHANCEMENTS[name][0]
    found = made(x, name, argument)
    wanted = made(x.double() / 65_535, name, argument) * 65_535
    assert found.dtype == torch.uint16
    assert (found.double() - wanted).abs().max() < 1
    assert len(found.unique()) > 256
