"""Colour operations, recomputed pixel by pixel and at their ends."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.transforms.image import colour

Kernel = Callable[[Tensor, Tensor], Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def luminance(image: np.ndarray) -> np.ndarray:
    return np.floor(0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2])


@given(seed=st.integers(0, 500), change=st.floats(-1, 1, width=32))
def test_blends_are_pixels_and_their_counterpart_by_weight(seed: int, change: float) -> None:
    images = noise(1, 3, 6, 7, seed=seed)
    image = images[0].numpy().astype(float)
    grey = luminance(image)
    smoothed = image.copy()
    for row in range(1, 5):
        for column in range(1, 6):
            around = image[:, row - 1 : row + 2, column - 1 : column + 2].sum((1, 2))
            smoothed[:, row, column] = np.round((around + 4 * image[:, row, column]) / 13)
    counterparts = {
        colour.brightness: np.zeros_like(image),
        colour.color: np.broadcast_to(grey, image.shape),
        colour.contrast: np.full_like(image, grey.mean()),
        colour.sharpness: smoothed,
    }
    for kernel, other in counterparts.items():
        exact = (image * (1 + change) - other * change).clip(0, 255)
        found = kernel(images, torch.tensor([change]))[0].numpy()
        # Cut off, not rounded; where the exact result is whole, float32 may come out below it.
        assert ((found == np.floor(exact + 1e-3)) | (found == np.floor(exact - 1e-3))).all()


def test_the_ends_of_the_blends() -> None:
    images = noise(2, 3, 8, 9)
    nothing = torch.tensor([-1.0, -1.0])
    assert (colour.brightness(images, nothing) == 0).all()
    grey = colour.color(images, nothing)
    assert (grey == grey[:, :1]).all()
    flat = colour.contrast(images, nothing)
    assert (flat == flat[:, :1, :1, :1]).all()
    smooth = colour.sharpness(images, nothing).float()
    assert smooth[..., 1:-1, 1:-1].std() < 0.6 * images[..., 1:-1, 1:-1].float().std()
    border = torch.ones(8, 9, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert (smooth == images)[..., border].all()


def test_grey_images_have_no_saturation_to_change() -> None:
    images = noise(2, 1, 5, 5)
    assert torch.equal(colour.color(images, torch.tensor([-1.0, 0.7])), images)


@given(bits=st.integers(0, 8), threshold=st.integers(0, 257))
def test_posterize_keeps_leading_bits_and_solarize_inverts_from_its_threshold(
    bits: int, threshold: int
) -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    kept = [level >> (8 - bits) << (8 - bits) for level in range(256)]
    assert colour.posterize(levels, torch.tensor([bits])).flatten().tolist() == kept
    turned = [255 - level if level >= threshold else level for level in range(256)]
    share = torch.tensor([(threshold - 0.5) / 255])
    assert colour.solarize(levels, share).flatten().tolist() == turned


def test_auto_contrast_reaches_both_ends_in_every_channel() -> None:
    images = noise(3, 3, 8, 9) // 4 + torch.tensor([10, 60, 120], dtype=torch.uint8)[:, None, None]
    found = colour.auto_contrast(images).flatten(2)
    assert (found.amin(2) == 0).all()
    assert (found.amax(2) >= 254).all()  # cut off, as torchvision does: 255 may come out as 254
    # Order is kept: what was darker is not brighter now.
    order = images.flatten(2).argsort(2)
    assert (found.gather(2, order).int().diff(dim=2) >= 0).all()


def test_equalize_makes_the_distribution_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    dark = (255 * torch.rand(1, 1, 200, 200, generator=generator) ** 4).to(torch.uint8)
    found = colour.equalize(dark).float() / 255
    for share in (0.25, 0.5, 0.75):
        assert (found < share).float().mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(
    "kernel, low, high",
    [
        (colour.brightness, -0.9, 0.9),
        (colour.color, -0.9, 0.9),
        (colour.contrast, -0.9, 0.9),
        (colour.sharpness, -0.9, 0.9),
        (lambda images, _: colour.auto_contrast(images), 0, 0),
        (lambda images, _: colour.equalize(images), 0, 0),
    ],
)
def test_floats_and_levels_agree_to_two_levels(kernel: Kernel, low: float, high: float) -> None:
    images = noise(9, 3, 12, 13)
    argument = torch.linspace(low, high, 9)
    floats = 255 * kernel(images / 255, argument)
    assert (floats - kernel(images, argument).float()).abs().max() < 2


@pytest.mark.parametrize("size", [(2, 9), (9, 2), (1, 1)], ids=str)
def test_images_without_an_inside_are_not_sharpened(size: tuple[int, int]) -> None:
    images = noise(1, 3, *size)
    assert torch.equal(colour.sharpness(images, torch.tensor([0.9])), images)


def test_an_image_does_not_depend_on_the_others_in_the_batch() -> None:
    images = noise(6, 3, 8, 9)
    for kernel in (colour.contrast, colour.color, colour.sharpness, colour.brightness):
        together = kernel(images, torch.linspace(-0.9, 0.9, 6))
        alone = kernel(images[3:4], torch.linspace(-0.9, 0.9, 6)[3:4])
        assert torch.equal(together[3:4], alone)
    assert torch.equal(colour.equalize(images)[3:4], colour.equalize(images[3:4]))


def test_gradients_pass_through_blends() -> None:
    images = torch.rand(1, 3, 6, 6, requires_grad=True)
    colour.brightness(images, torch.tensor([-0.25])).sum().backward()
    assert images.grad is not None
    assert math.isclose(float(images.grad.mean()), 0.75, rel_tol=1e-6)
