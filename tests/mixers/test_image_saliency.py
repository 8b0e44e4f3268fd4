from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers import image_saliency
from vicinal.mixers.image_saliency import blurred, fine_grained, salient_peak, spectral_residual

GOLDEN = Path(__file__).parent / "golden" / "image_saliency.safetensors"


def images(rows: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (rows, *shape), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


def blob(height: int, width: int, row: float, column: float, *, deviation: float = 2.0) -> Tensor:
    """A bright spot on black. Returns (1, 3, H, W) uint8."""
    down, across = torch.arange(height)[:, None] - row, torch.arange(width) - column
    spot = (-0.5 * (down**2 + across**2) / deviation**2).exp()
    return (250 * spot).to(torch.uint8).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize("name", ["colour", "tall", "grey"])
def test_levels_are_those_of_opencv_to_the_last_bit(name: str) -> None:
    # OpenCV 5.0.0, StaticSaliencyFineGrained, given blue, green, red.
    stored = load_file(GOLDEN)
    assert torch.equal(fine_grained(stored[f"fine.{name}.x"]), stored[f"fine.{name}.map"])


def by_loops(image: Tensor) -> Tensor:
    """Brighter and darker than the surrounds, pixel by pixel. image: (H, W) whole levels."""
    height, width = image.shape
    kernel = torch.tensor([1.0, 2.0, 1.0])
    for _ in range(2):
        padded = F.pad(image[None, None], (1, 1, 1, 1), mode="reflect")
        image = ((F.conv2d(padded, kernel.outer(kernel)[None, None]) + 8) / 16).floor()[0, 0]
    found = torch.zeros(2, height, width)
    for reach in (12, 24, 48, 28, 56, 112):
        for row in range(height):
            for column in range(width):
                rows = slice(max(0, row - reach + 1), row + reach + 1)
                columns = slice(max(0, column - reach + 1), column + reach + 1)
                inside, own = image[rows, columns], image[row, column]
                contrast = float(own - (inside.sum() - own) / (inside.numel() - 1))
                found[int(contrast < 0), row, column] += int(abs(contrast))
    highest = found.amax(dim=(1, 2), keepdim=True)
    return (255 * (found / highest).double()).floor().sum(dim=0).clamp(max=255)


def test_levels_are_what_loops_over_the_pixels_find() -> None:
    image = images(1, 1, 40, 17)
    expected = by_loops(image[0, 0].float())
    assert (fine_grained(image)[0] - expected).abs().max() <= 1  # at a threshold, by rounding
    assert (fine_grained(image)[0] != expected).float().mean() < 0.01


@given(seed=st.integers(0, 2**31 - 1), height=st.integers(1, 30), width=st.integers(1, 30))
def test_the_peak_has_the_highest_level_of_all(seed: int, height: int, width: int) -> None:
    x = images(3, 3, height, width, seed=seed)
    levels, (row, column) = fine_grained(x), salient_peak(x).unbind(dim=1)
    assert levels.shape == (3, height, width)
    highest = levels.flatten(1).amax(dim=1)
    assert torch.equal(levels[torch.arange(3), row, column], highest)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("row", "column"), [(30, 41), (20, 12), (5, 57)])
def test_the_peak_is_the_middle_of_a_spot_bright_or_dark(
    dtype: torch.dtype, dark: bool, row: int, column: int
) -> None:
    image = blob(48, 64, row, column)
    image = 255 - image if dark else image
    given_image = image if dtype == torch.uint8 else ((image / 255.0 - 0.45) / 0.22).to(dtype)
    peak = salient_peak(given_image)[0]
    assert (peak - torch.tensor([row, column])).abs().max() <= 1


def test_floats_have_the_peaks_of_the_levels_that_they_stand_for() -> None:
    x = torch.cat([blob(40, 40, row, column) for row, column in ((9, 30), (25, 7), (20, 20))])
    floats = (x / 255.0 - torch.tensor([0.48, 0.46, 0.41])[:, None, None]) / 0.25
    assert torch.equal(salient_peak(floats), salient_peak(x))
    assert torch.equal(salient_peak(-3 * floats), salient_peak(255 - x))


def test_an_even_image_has_no_saliency_and_its_first_pixel_for_a_peak() -> None:
    for even in (torch.full((2, 3, 9, 7), 0.1234), torch.full((2, 3, 9, 7), 77, dtype=torch.uint8)):
        assert (fine_grained(even) == 0).all()
        assert (salient_peak(even) == 0).all()


def test_images_are_looked_at_one_by_one_however_many_come() -> None:
    x = images(5, 3, 300, 500)  # more than a block holds
    assert x[0, 0].numel() > image_saliency.BLOCK_PIXELS
    together = salient_peak(x)
    assert torch.equal(together, torch.cat([salient_peak(one[None]) for one in x]))
    assert salient_peak(x[:0]).shape == (0, 2)
    assert fine_grained(x[:0]).shape == (0, 300, 500)


def test_memory_formats_do_not_matter() -> None:
    x = images(4, 3, 20, 30)
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(fine_grained(last), fine_grained(x))
    assert torch.equal(spectral_residual(last), spectral_residual(x))


def test_the_spectral_residual_is_that_of_the_authors_of_guidedmixup() -> None:
    # 3neutronstar/GuidedMixup, spectral_residual.py, on standardised images of 32 x 32, and on one
    # of 150 x 150, which it shrinks first.
    stored = load_file(GOLDEN)
    small = (stored["spectral.small.x"].float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(
        spectral_residual(small), stored["spectral.small.map"], atol=1e-7, rtol=1e-5
    )
    down, across = torch.arange(150.0)[:, None], torch.arange(150.0)
    spot = (-(((down - 60) / 5) ** 2) - ((across - 90) / 8) ** 2).exp()
    waves = torch.sin(down / 7 + across / 11)
    large = torch.stack([waves + spot * strength for strength in (1.0, 2.0, -1.0)])[None]
    torch.testing.assert_close(
        spectral_residual(large)[:, ::10, ::10],
        stored["spectral.large.map"],
        atol=1e-7,
        rtol=1e-5,
    )


def test_the_spectral_residual_finds_what_opencv_finds() -> None:
    # OpenCV 5.0.0, StaticSaliencySpectralResidual, which mirrors the spectrum at its border where
    # this one repeats it, blurs less and squares.
    stored = load_file(GOLDEN)
    found = spectral_residual(stored["opencv.x"]).square().flatten(1)
    wanted = stored["opencv.map"].flatten(1)
    for one, other in ((0, 0), (1, 1), (0, 1)):
        together = torch.corrcoef(torch.stack([found[one], wanted[other]]))[0, 1]
        assert (together > 0.8) == (one == other)


def test_an_odd_spot_in_a_texture_has_the_highest_residual() -> None:
    down, across = torch.arange(64.0)[:, None], torch.arange(64.0)
    texture = torch.sin(down * 0.8) * torch.sin(across * 0.8)
    image = texture.expand(1, 3, -1, -1).clone()
    image[..., 40:46, 20:26] = 2.0
    row, column = divmod(int(spectral_residual(image).flatten().argmax()), 64)
    assert 36 <= row < 50
    assert 16 <= column < 30


@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 2**31 - 1))
def test_blurring_keeps_the_mean_of_an_even_map_and_the_range_of_any(
    height: int, width: int, seed: int
) -> None:
    maps = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = blurred(maps)
    assert smooth.min() >= maps.min() - 1e-6
    assert smooth.max() <= maps.max() + 1e-6
    torch.testing.assert_close(blurred(torch.ones_like(maps)), torch.ones_like(maps))


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4), (2, 3, 4, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_what_are_no_images_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    for ask in (fine_grained, salient_peak, spectral_residual):
        with pytest.raises(ValueError, match=r"images \(B, C, H, W\), got shape \("):
            ask(torch.zeros(shape))
