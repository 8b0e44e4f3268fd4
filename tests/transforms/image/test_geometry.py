"""Affine matrices and warps, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.transforms.image.geometry import MOTIONS, matrices, warp


def by_hand(motion: str, amount: float, height: int, width: int) -> np.ndarray:
    """From pixels of the output to pixels of the input, both from the image's centre."""
    if motion == "translate_x":
        return np.array([[1, 0, -amount], [0, 1, 0]])
    if motion == "translate_y":
        return np.array([[1, 0, 0], [0, 1, -amount]])
    if motion == "rotate":
        cos, sin = math.cos(math.radians(amount)), math.sin(math.radians(amount))
        return np.array([[cos, -sin, 0], [sin, cos, 0]])
    # Shears: x' = x + slope * (y + height / 2), and the same for columns.
    if motion == "shear_x":
        return np.array([[1, amount, amount * height / 2], [0, 1, 0]])
    return np.array([[1, 0, 0], [amount, 1, amount * width / 2]])


@pytest.mark.parametrize("motion", MOTIONS)
@given(amount=st.floats(-2, 2), height=st.integers(1, 500), width=st.integers(1, 500))
def test_matrices_are_those_of_the_motion(
    motion: str, amount: float, height: int, width: int
) -> None:
    amount *= 90 if motion == "rotate" else 1
    row = torch.zeros(2, 5, dtype=torch.float64)  # the first row is no motion at all
    row[1, MOTIONS.index(motion)] = amount
    still, found = matrices(row, height, width).numpy()
    np.testing.assert_array_equal(still, [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(found, by_hand(motion, amount, height, width), atol=1e-11)


@given(seed=st.integers(0, 1000), height=st.integers(1, 8), width=st.integers(1, 8))
def test_nearest_shows_the_pixel_under_each_place(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 256, (height, width), dtype=np.uint8)
    matrix = np.eye(2, 3) + 0.3 * rng.standard_normal((2, 3))
    expected = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            place = np.array([column + 0.5 - width / 2, row + 0.5 - height / 2, 1])
            x, y = np.floor(matrix @ place + [width / 2, height / 2]).astype(int)
            if 0 <= x < width and 0 <= y < height:
                expected[row, column] = image[y, x]
    found = warp(torch.from_numpy(image)[None, None], torch.from_numpy(matrix)[None])
    np.testing.assert_array_equal(found[0, 0].numpy(), expected)


def test_every_image_goes_through_its_own_matrix() -> None:
    images = torch.rand(3, 2, 5, 6)
    amount = torch.zeros(3, 5)
    amount[1, 2], amount[2, 3] = 1, -2  # still, one to the right, two up
    still, right, up = warp(images, matrices(amount, 5, 6))
    torch.testing.assert_close(still, images[0])
    torch.testing.assert_close(right[..., 1:], images[1, ..., :-1])
    assert (right[..., 0] == 0).all()
    torch.testing.assert_close(up[:, :-2], images[2, :, 2:])
    assert (up[:, -2:] == 0).all()


def test_bilinear_keeps_one_colour_up_to_the_border_and_shows_black_beyond() -> None:
    images = torch.full((1, 1, 20, 20), 200, dtype=torch.uint8)
    amount = torch.zeros(1, 5)
    amount[0, MOTIONS.index("rotate")] = 20
    found = warp(images, matrices(amount, 20, 20), "bilinear")
    assert found.unique().tolist() == [0, 200]
    assert 0.05 < (found == 0).float().mean() < 0.3


@pytest.mark.parametrize("pixels", range(-6, 7))
@pytest.mark.parametrize("width", [7, 30, 33, 47, 100])
def test_bilinear_motions_by_whole_pixels_are_exact(width: int, pixels: int) -> None:
    images = torch.randint(
        0, 256, (1, 1, 3, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    amount = torch.zeros(1, 5)
    amount[0, MOTIONS.index("translate_x")] = pixels
    exact = warp(images, matrices(amount, 3, width), "nearest")
    assert torch.equal(warp(images, matrices(amount, 3, width), "bilinear"), exact)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_gradients_reach_floating_images(interpolation: str) -> None:
    images = torch.rand(2, 1, 5, 5, requires_grad=True)
    warp(images, matrices(torch.zeros(2, 5), 5, 5), interpolation).sum().backward()
    torch.testing.assert_close(images.grad, torch.ones_like(images))
