"""Random fields whose spectrum falls with frequency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers.low_frequency import (
    TAIL,
    complex_normal,
    isotropic_bins,
    isotropic_field,
    low_frequency_field,
    released_field,
)

AUTHORS = load_file(Path(__file__).parent / "golden" / "fmix_authors.safetensors")
SIZES = {1: (24,), 2: (8, 10), 3: (6, 4, 8)}


def keys(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(1 << 62), 1 << 62, (count,), generator=generator)


def test_the_numbers_of_a_key_are_independent_and_normal() -> None:
    noise = complex_normal(keys(400), torch.arange(-250, 250))
    parts = torch.view_as_real(noise)
    assert float(parts.mean()) == pytest.approx(0, abs=0.01)
    assert float(parts.var()) == pytest.approx(1, abs=0.01)
    assert float(parts.pow(4).mean()) == pytest.approx(3, abs=0.1)
    neighbours = torch.stack(
        [parts[..., 0], parts[..., 1], parts[..., 0].roll(1, 0), parts[..., 0].roll(1, 1)]
    )
    off_diagonal = torch.corrcoef(neighbours.flatten(1)) - torch.eye(4)
    assert float(off_diagonal.abs().max()) < 0.01


@pytest.mark.parametrize("sizes", [(9,), (12,), (8, 10), (7, 9), (4, 6, 8), (5, 4, 7)])
@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_it_is_white_noise_divided_by_the_power_of_frequency(
    sizes: tuple[int, ...], decay: float
) -> None:
    white = np.random.default_rng(0).standard_normal(sizes)
    along = [np.fft.fftfreq(size) for size in sizes[:-1]] + [np.fft.rfftfreq(sizes[-1])]
    norm = np.sqrt(sum(one**2 for one in np.meshgrid(*along, indexing="ij")))
    spectrum, axes = np.fft.rfftn(white), range(len(sizes))
    wanted = np.fft.irfftn(spectrum / np.maximum(norm, 1 / max(sizes)) ** decay, sizes, axes)
    # What is its own mirror image along the last axis carries half of the draws in vain.
    last = np.arange(spectrum.shape[-1])
    noise = spectrum / np.where((last == 0) | (2 * last == sizes[-1]), np.sqrt(2), 1)
    found = isotropic_field(torch.from_numpy(noise)[None], sizes, decay=decay)[0].numpy()
    np.testing.assert_allclose(found / np.std(found), wanted / np.std(wanted), atol=1e-12)


@pytest.mark.parametrize("sizes", [(30,), (12, 20), (6, 10, 8)])
@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_it_has_mean_zero_and_variance_one_over_all_keys(
    sizes: tuple[int, ...], decay: float
) -> None:
    field = low_frequency_field(keys(6000), sizes, decay=decay)
    assert field.dtype == torch.float32
    assert float(field.mean()) == pytest.approx(0, abs=0.03)
    assert float(field.var()) == pytest.approx(1, abs=0.05)


def slope(field: Tensor) -> float:
    """Of the logarithm of power over that of frequency, from 2 to 16 cycles of 64."""
    power = torch.fft.fft2(field).abs().square().mean(dim=0)
    cycles = torch.fft.fftfreq(64) * 64
    norm = (cycles[:, None].square() + cycles.square()).sqrt()
    between = (norm >= 2) & (norm <= 16)
    return float(np.polyfit(norm[between].log().numpy(), power[between].log().numpy(), 1)[0])


def test_power_falls_by_twice_the_decay_and_alike_along_both_axes() -> None:
    field = low_frequency_field(keys(2000), (64, 64), decay=3.0)
    assert slope(field) == pytest.approx(-6, abs=0.1)
    # Independent noise on the half spectrum gives 2 here: it loses half along the first axis.
    power = torch.fft.fft2(field).abs().square().mean(dim=0)
    ratio = power[0, 2:17] / power[2:17, 0]
    assert float(ratio.log().mean().exp()) == pytest.approx(1, abs=0.1)


def test_noise_spots_and_boxes_are_no_such_fields() -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(500, 64, 64, generator=generator)
    place = torch.rand(500, 2, 1, generator=generator) * 64 - torch.arange(64)
    spots = torch.exp(-place[:, 0, :, None].square() / 72 - place[:, 1, None].square() / 72)
    boxes = ((place[:, 0, :, None].abs() < 12) & (place[:, 1, None].abs() < 12)).float()
    assert all(abs(slope(other) + 6) > 0.3 for other in (white, spots, boxes))


def test_the_released_spectrum_has_one_cycle_at_most_along_the_last_axis() -> None:
    field = low_frequency_field(keys(200), (48, 64), spectrum="released")
    power = torch.fft.fft2(field).abs().square().sum(dim=0)
    power[0, 0] = 0
    assert float(power[:, [0, 1, -1]].sum() / power.sum()) > 0.999
    paper = low_frequency_field(keys(200), (48, 64))
    power = torch.fft.fft2(paper).abs().square().sum(dim=0)
    power[0, 0] = 0
    assert float(power[:, [0, 1, -1]].sum() / power.sum()) < 0.99


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_released_field_is_that_of_the_authors_code(rank: int) -> None:
    noise, wanted = AUTHORS[f"{rank}.noise"], AUTHORS[f"{rank}.field"]
    found = released_field(torch.complex(noise[:, 0], noise[:, 1]), SIZES[rank], decay=3.0)
    axes = tuple(range(1, rank + 1))
    low, high = found.amin(axes, keepdim=True), found.amax(axes, keepdim=True)
    torch.testing.assert_close((found - low) / (high - low), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("sizes", [(224, 224), (96, 64), (16_000,)])
def test_what_is_left_out_is_less_than_a_millionth_of_the_power(sizes: tuple[int, ...]) -> None:
    bins = isotropic_bins(sizes, 3.0)
    whole = tuple(size if axis else size // 2 + 1 for axis, size in enumerate(sizes[::-1]))[::-1]
    assert all(kept <= all_of_them for kept, all_of_them in zip(bins, whole, strict=True))
    assert np.prod(bins) < 0.7 * np.prod(whole)
    along = [np.fft.fftfreq(size) for size in sizes[:-1]] + [np.fft.rfftfreq(sizes[-1])]
    norm = np.sqrt(sum(one**2 for one in np.meshgrid(*along, indexing="ij")))
    power = np.maximum(norm * max(sizes), 1) ** -6.0
    power.flat[0] = 0  # what is the same everywhere is no cloud
    kept = power
    for axis, count in enumerate(bins[:-1]):
        both = np.r_[0 : (count + 1) // 2, sizes[axis] - count // 2 : sizes[axis]]
        kept = kept.take(both, axis=axis)
    assert 0 < 1 - kept[..., : bins[-1]].sum() / power.sum() < TAIL


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_where_power_has_no_end_nothing_is_left_out(decay: float) -> None:
    assert isotropic_bins((31, 40), decay) == (31, 21)


def test_a_key_is_one_field_at_every_resolution() -> None:
    coarse = low_frequency_field(keys(5), (64, 64))
    fine = low_frequency_field(keys(5), (128, 128))[:, ::2, ::2]
    torch.testing.assert_close(fine, coarse, atol=0.01, rtol=0)


@pytest.mark.parametrize("spectrum", ["isotropic", "released"])
def test_a_row_depends_on_its_own_key_alone(spectrum: str) -> None:
    key = keys(6)
    whole = low_frequency_field(key, (12, 10), spectrum=spectrum)  # type: ignore[arg-type]
    order = torch.tensor([4, 1, 1])
    some = low_frequency_field(key[order], (12, 10), spectrum=spectrum)  # type: ignore[arg-type]
    torch.testing.assert_close(some, whole[order], atol=1e-6, rtol=0)
    assert float((whole[1:] - whole[:-1]).abs().amin(dim=0).max()) > 0.1


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (2, 1), (1, 5), (1, 2, 3)])
@pytest.mark.parametrize("spectrum", ["isotropic", "released"])
def test_small_sizes_have_fields_too(sizes: tuple[int, ...], spectrum: str) -> None:
    field = low_frequency_field(keys(3), sizes, spectrum=spectrum)  # type: ignore[arg-type]
    assert field.shape == (3, *sizes)
    assert bool(field.isfinite().all())


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match=r"decay must not be negative, got -1"):
        low_frequency_field(keys(1), (4,), decay=-1)
    with pytest.raises(ValueError, match=r"needs axes with places, got sizes \(4, 0\)"):
        low_frequency_field(keys(1), (4, 0))
    with pytest.raises(ValueError, match="spectrum must be isotropic or released, got 'pink'"):
        low_frequency_field(keys(1), (4,), spectrum="pink")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="up to three axes"):
        low_frequency_field(keys(1), (4, 4, 4, 4), spectrum="released")
