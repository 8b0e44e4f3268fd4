"""The operation bank, judged by torchvision's tensor kernels and Pillow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from vicinal.transforms.image.flavors import FLAVORS, Scale, arguments
from vicinal.transforms.image.operations import NUMBER, OPERATIONS, apply_operations

NEUTRAL = {"posterize": 8.0, "solarize": 1.01}


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def smooth(*shape: int, seed: int = 0) -> Tensor:
    """Slow gradients, where a wrong rounding shows in few places but a wrong place in many."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:2], 5, 5, generator=generator)
    return (255 * torch.nn.functional.interpolate(coarse, size=shape[2:])).to(torch.uint8)


def applied(images: Tensor, name: str, argument: list[float], **options: str) -> Tensor:
    """One operation on every image, with an argument for each."""
    operation = torch.full((len(images), 1), NUMBER[name])
    return apply_operations(images, operation, torch.tensor(argument)[:, None], **options)


def affine(image: Tensor, **motion: object) -> Tensor:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return tv.affine(image, **(still | motion))


TORCHVISION: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda image, argument: image,
    "shear_x": lambda image, slope: affine(
        image, shear=[math.degrees(math.atan(slope)), 0.0], center=[0, 0]
    ),
    "shear_y": lambda image, slope: affine(
        image, shear=[0.0, math.degrees(math.atan(slope))], center=[0, 0]
    ),
    "translate_x": lambda image, pixels: affine(image, translate=[int(pixels), 0]),
    "translate_y": lambda image, pixels: affine(image, translate=[0, int(pixels)]),
    "rotate": lambda image, degrees: tv.rotate(image, degrees),
    "brightness": lambda image, change: tv.adjust_brightness(image, 1.0 + change),
    "color": lambda image, change: tv.adjust_saturation(image, 1.0 + change),
    "contrast": lambda image, change: tv.adjust_contrast(image, 1.0 + change),
    "sharpness": lambda image, change: tv.adjust_sharpness(image, 1.0 + change),
    "posterize": lambda image, bits: tv.posterize(image, int(bits)),
    "solarize": lambda image, share: tv.solarize(
        image, (1.0 if image.is_floating_point() else 255) * share
    ),
    "auto_contrast": lambda image, unused: tv.autocontrast(image),
    "equalize": lambda image, unused: tv.equalize(image),
}


def every_argument(name: str, flavor: str, height: int, width: int) -> list[float]:
    """All bins, with both signs where there is one."""
    table = arguments(flavor, torch.arange(31), Scale(31, height, width))
    row: list[float] = table[list(FLAVORS[flavor]).index(name)].tolist()
    return row + [-value for value in row] if OPERATIONS[NUMBER[name]].signed else row


@pytest.mark.parametrize("flavor", ["torchvision", "torchvision-wide"])
@pytest.mark.parametrize("name", list(NUMBER))
@pytest.mark.parametrize(
    "shape", [(3, 33, 47), (1, 21, 17), (3, 7, 5), (3, 32, 32), (1, 2, 3)], ids=str
)
def test_every_bin_is_torchvisions_bit_for_bit(
    name: str, flavor: str, shape: tuple[int, int, int]
) -> None:
    values = every_argument(name, flavor, *shape[1:])
    images = noise(len(values), *shape)
    expected = [TORCHVISION[name](*pair) for pair in zip(images, values, strict=True)]
    assert torch.equal(applied(images, name, values), torch.stack(expected))


@pytest.mark.parametrize("name", list(NUMBER))
def test_floating_images_are_torchvisions_but_for_rounding(name: str) -> None:
    values = every_argument(name, "torchvision-wide", 21, 34)
    images = noise(len(values), 3, 21, 34) / 255
    expected = [TORCHVISION[name](*pair) for pair in zip(images, values, strict=True)]
    torch.testing.assert_close(
        applied(images, name, values), torch.stack(expected), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
@pytest.mark.parametrize("name", [name for name in NUMBER if name != "contrast"])
def test_images_of_one_colour_are_torchvisions(name: str, value: int) -> None:
    values = every_argument(name, "torchvision-wide", 9, 14)
    images = torch.full((len(values), 3, 9, 14), value, dtype=torch.uint8)
    expected = [TORCHVISION[name](*pair) for pair in zip(images, values, strict=True)]
    assert torch.equal(applied(images, name, values), torch.stack(expected))


def test_contrast_of_one_colour_treats_all_pixels_alike() -> None:
    # torchvision's kernel gives the last pixels another level where the result is a whole number.
    changes = torch.linspace(-0.99, 0.99, 61).tolist()
    for level in range(0, 256, 15):
        images = torch.full((61, 1, 33, 47), level, dtype=torch.uint8)
        found = applied(images, "contrast", changes)
        theirs = torch.stack([tv.adjust_contrast(images[0], 1 + change) for change in changes])
        assert torch.equal(found, found[:, :, :1, :1].expand_as(found))
        assert torch.equal(found[:, :, :-1], theirs[:, :, :-1])
        assert (found.int() - theirs.int()).abs().max() <= 1


def pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def tilted(image: Tensor, *row: float) -> Image.Image:
    size = image.shape[2], image.shape[1]
    return pillow(image).transform(size, Image.Transform.AFFINE, row, Image.Resampling.BILINEAR)


@pytest.mark.parametrize(
    "name, argument, reference",
    [
        ("shear_x", 0.08, lambda x: tilted(x, 1, 0.08, 0, 0, 1, 0)),
        ("shear_x", -0.3, lambda x: tilted(x, 1, -0.3, 0, 0, 1, 0)),
        ("shear_y", 0.07, lambda x: tilted(x, 1, 0, 0, 0.07, 1, 0)),
        ("translate_x", 3, lambda x: tilted(x, 1, 0, -3, 0, 1, 0)),
        ("translate_y", -2, lambda x: tilted(x, 1, 0, 0, 0, 1, 2)),
        ("rotate", 8, lambda x: pillow(x).rotate(8, Image.Resampling.BILINEAR)),
        ("rotate", -29, lambda x: pillow(x).rotate(-29, Image.Resampling.BILINEAR)),
    ],
)
@pytest.mark.parametrize("size", [(33, 47), (32, 32)], ids=str)
def test_bilinear_warps_are_pillows_to_a_level(
    name: str,
    argument: float,
    reference: Callable[[Tensor], Image.Image],
    size: tuple[int, int],
) -> None:
    images = smooth(1, 3, *size) // 2 + 100  # so that black is outside, and nothing else
    found = applied(images, name, [argument], interpolation="bilinear")[0].int()
    expected = torch.from_numpy(np.array(reference(images[0]))).permute(2, 0, 1).int()
    far = (found - expected).abs() > 1
    # Half a pixel's slack where the border of the image meets the centre of a pixel.
    assert far.float().mean() < 2e-3
    assert (found != expected).float().mean() < 0.01


@pytest.mark.parametrize(
    "name, argument, reference",
    [
        ("posterize", 3, lambda x: ImageOps.posterize(x, 3)),
        ("solarize", (200 - 0.5) / 255, lambda x: ImageOps.solarize(x, 200)),
        ("solarize", (256 - 0.5) / 255, lambda x: ImageOps.solarize(x, 256)),
        ("equalize", 0, ImageOps.equalize),
    ],
)
def test_tables_are_pillows(
    name: str, argument: float, reference: Callable[[Image.Image], Image.Image]
) -> None:
    for image in (noise(3, 19, 23), smooth(1, 3, 40, 31)[0]):
        expected = torch.from_numpy(np.array(reference(pillow(image)))).permute(2, 0, 1)
        assert torch.equal(applied(image[None], name, [argument])[0], expected)


def test_positive_arguments_go_where_the_table_says() -> None:
    dot = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    dot[..., 4, 6] = 255
    where = {
        name: applied(dot, name, [argument])[0, 0].nonzero().tolist()
        for name, argument in {"translate_x": 2, "translate_y": 3, "rotate": 90}.items()
    }
    assert where == {"translate_x": [[4, 8]], "translate_y": [[7, 6]], "rotate": [[2, 4]]}
    # Shears keep the corner and move what is far from it to the left, or up.
    low = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    low[..., 8, 8] = low[..., 0, 0] = 255
    assert applied(low, "shear_x", [0.5])[0, 0].nonzero().tolist() == [[0, 0], [8, 4]]
    assert applied(low, "shear_y", [0.5])[0, 0].nonzero().tolist() == [[0, 0], [4, 8]]


@pytest.mark.parametrize("name", [o.name for o in OPERATIONS if o.signed or o.name in NEUTRAL])
def test_a_neutral_argument_changes_nothing(name: str) -> None:
    images = noise(2, 3, 12, 15)
    assert torch.equal(applied(images, name, [NEUTRAL.get(name, 0.0)] * 2), images)


def drawn(count: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Operations with arguments from the wide space."""
    generator = torch.Generator().manual_seed(seed)
    operation = torch.randint(0, len(OPERATIONS), (count, steps), generator=generator)
    bins = torch.randint(0, 31, (count, steps), generator=generator)
    sign = torch.randint(0, 2, (count, steps), generator=generator) * 2 - 1
    table = arguments("torchvision-wide", torch.arange(31), Scale(31, 12, 15))
    signed = torch.tensor([o.signed for o in OPERATIONS])[operation]
    return operation, torch.where(signed, sign, 1) * table[operation, bins]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@given(seed=st.integers(0, 10_000), count=st.integers(1, 20), steps=st.integers(0, 4))
def test_sorting_by_operation_is_the_same_as_one_image_at_a_time(
    dtype: torch.dtype, seed: int, count: int, steps: int
) -> None:
    images = noise(count, 3, 12, 15, seed=seed)
    images = images if dtype == torch.uint8 else images / 255
    operation, argument = drawn(count, steps, seed)
    together = apply_operations(images, operation, argument)
    alone = []
    for row, image in enumerate(images[:, None]):
        for step in range(steps):
            one = slice(step, step + 1)
            image = apply_operations(image, operation[row, None, one], argument[row, None, one])
        alone.append(image[0])
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-6, rtol=0)


def test_large_batches_worked_on_in_chunks_give_the_same() -> None:
    images = noise(40, 3, 12, 15).repeat(1, 1, 20, 20)  # 216 kB each
    operation, argument = drawn(40, 2, seed=1)
    together = apply_operations(images, operation, argument)
    for row in range(0, 40, 7):
        one = slice(row, row + 1)
        alone = apply_operations(images[one], operation[one], argument[one])
        assert torch.equal(together[one], alone)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_the_input_its_type_and_its_memory_format_are_kept(dtype: torch.dtype) -> None:
    images = (noise(9, 3, 12, 15) if dtype == torch.uint8 else torch.rand(9, 3, 12, 15)).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    before = images.clone()
    for steps in (0, 2):
        result = apply_operations(images, *drawn(9, steps, seed=3))
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert result.data_ptr() != images.data_ptr()
        assert torch.equal(images, before)


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.zeros(0, 3, 4, 5)
    assert apply_operations(empty, *drawn(0, 2, seed=0)).shape == empty.shape


@pytest.mark.parametrize("shape", [(2, 2, 5, 5), (2, 5, 5), (2, 4, 5, 5)], ids=str)
def test_other_than_grey_and_colour_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"1 or 3 channels, got shape"):
        apply_operations(torch.zeros(shape), *drawn(2, 1, seed=0))


def test_whole_numbers_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"uint8, uint16 or floating in \[0, 1\], got torch.int64"):
        apply_operations(torch.zeros(2, 3, 5, 5, dtype=torch.int64), *drawn(2, 1, seed=0))
