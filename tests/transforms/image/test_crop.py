"""Random crops, recomputed by slicing each image by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.crop import CropParams, Mode, PadCrop, crops


def numbered(count: int, channels: int, height: int, width: int) -> Tensor:
    """Every value is there once, and none is zero."""
    values = torch.arange(1, count * channels * height * width + 1, dtype=torch.float32)
    return values.view(count, channels, height, width)


def sampled(transform: PadCrop, x: Tensor, seed: int = 0) -> tuple[Batch, CropParams]:
    batch = Batch.of(x)
    return batch, transform.sample(batch, Draws(seed, batch.index))


@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)),
    padding=st.integers(0, 3),
    mode=st.sampled_from(["zero", "reflect"]),
)
def test_each_image_is_a_slice_of_itself_padded(
    seed: int, size: tuple[int, int, int, int], padding: int, mode: Mode
) -> None:
    x = numbered(*size)
    batch, params = sampled(PadCrop(padding, mode=mode), x, seed)
    found = PadCrop(padding, mode=mode).apply(batch, params).tensor
    padded = F.pad(x, (padding,) * 4, mode="constant" if mode == "zero" else "reflect")
    for row, (top, left) in enumerate(params.corner.tolist()):
        expected = padded[row, :, top : top + size[2], left : left + size[3]]
        assert torch.equal(found[row], expected)


def test_every_place_is_equally_likely_and_rows_are_not_columns() -> None:
    _, params = sampled(PadCrop(), torch.zeros(50_000, 1, 16, 32))  # padding 2 and 4
    assert params.corner.amin(0).tolist() == [0, 0]
    assert params.corner.amax(0).tolist() == [4, 8]
    places = params.corner[:, 0] * 9 + params.corner[:, 1]
    assert chisquare(places.bincount(minlength=45)).pvalue > 1e-3


def test_by_default_32_pixels_are_padded_by_4() -> None:
    _, params = sampled(PadCrop(), torch.zeros(2000, 1, 32, 32))
    assert params.corner.amax(0).tolist() == [8, 8]


def test_a_corner_at_the_padding_leaves_the_image() -> None:
    x = numbered(3, 2, 6, 7)
    params = CropParams(torch.full((3, 2), 2))
    assert torch.equal(PadCrop(2).apply(Batch.of(x), params).tensor, x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_are_kept_and_zeros_come_in(
    dtype: torch.dtype, format: torch.memory_format
) -> None:
    x = torch.ones(4, 3, 6, 7, dtype=dtype).contiguous(memory_format=format)
    found = PadCrop(2).apply(Batch.of(x), CropParams(torch.zeros(4, 2, dtype=torch.int64))).tensor
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=format)
    assert (found[:, :, :2] == 0).all()
    assert (found[..., :2] == 0).all()
    assert (found[:, :, 2:, 2:] == 1).all()


@pytest.mark.parametrize("mode", ["zero", "reflect"])
def test_gradients_return_to_the_pixels_they_came_from(mode: Mode) -> None:
    x = torch.rand(3, 2, 5, 6, requires_grad=True)
    transform = PadCrop(1, mode=mode)
    batch, params = sampled(transform, x.detach(), seed=3)
    with_gradient = transform.apply(Batch.of(x), params).tensor
    assert torch.equal(with_gradient.detach(), transform.apply(batch, params).tensor)
    (with_gradient.square().sum() / 2).backward()
    seen = torch.zeros_like(x)
    for row, (top, left) in enumerate(params.corner.tolist()):
        for y in range(top - 1, top + 4):
            for z in range(left - 1, left + 5):
                if mode == "reflect":
                    y_in, z_in = 4 - abs(4 - abs(y)), 5 - abs(5 - abs(z))
                elif not (0 <= y < 5 and 0 <= z < 6):
                    continue
                else:
                    y_in, z_in = y, z
                seen[row, :, y_in, z_in] += x.detach()[row, :, y_in, z_in]
    torch.testing.assert_close(x.grad, seen)


def test_a_crop_outside_its_image_is_an_error_not_its_neighbours_pixels() -> None:
    x = numbered(2, 1, 4, 4)
    for corner in ([-1, 0], [0, 2], [5, 0]):
        with pytest.raises(IndexError, match="corners must lie between"):
            crops(x, torch.tensor([[0, 0], corner]), 3, 3)


def test_params_of_a_larger_padding_are_refused() -> None:
    x = numbered(8, 1, 8, 8)
    _, params = sampled(PadCrop(3), x)
    with pytest.raises(IndexError, match="corners must lie between"):
        PadCrop(1).apply(Batch.of(x), params)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"padding must be in \[0, inf\), got -1"):
        PadCrop(-1)
    with pytest.raises(ValueError, match="mode must be one of zero, reflect, got 'edge'"):
        PadCrop(mode="edge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="below the size of the images to reflect them, got 4"):
        PadCrop(4, mode="reflect")(torch.zeros(1, 3, 4, 8), generator=torch.Generator())
    with pytest.raises(ValueError, match="x must be images"):
        PadCrop()(torch.zeros(4, 8), generator=torch.Generator())
