"""What a magnitude means, judged by torchvision's tables and the formulas of AugMix's authors."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from vicinal.transforms.image.flavors import (
    FLAVORS,
    Scale,
    all_arguments,
    arguments,
    operations,
    signs,
)
from vicinal.transforms.image.operations import NUMBER, OPERATIONS, apply_operations

TORCHVISION = {"torchvision": v2.RandAugment, "torchvision-wide": v2.TrivialAugmentWide}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("flavor", TORCHVISION)
@given(bins=st.integers(2, 40), height=st.integers(1, 600), width=st.integers(1, 600))
def test_arguments_are_torchvisions_bit_for_bit(
    flavor: str, bins: int, height: int, width: int
) -> None:
    theirs = TORCHVISION[flavor]._AUGMENTATION_SPACE
    ours = arguments(flavor, torch.arange(bins), Scale(bins, height, width))
    assert [OPERATIONS[number].name for number in operations(flavor)] == [snake(n) for n in theirs]
    assert signs(flavor).tolist() == [signed for _, signed in theirs.values()]
    for row, (name, (magnitudes, _)) in zip(ours, theirs.items(), strict=True):
        expected = magnitudes(bins, height, width)
        if expected is None:
            expected = torch.zeros(bins)
        # torchvision cuts translations off to whole pixels where it applies them.
        whole = [float(int(m)) if "Translate" in name else float(m) for m in expected]
        assert row.tolist() == whole, name


def test_magnitude_9_moves_a_pixel_of_a_wide_image_by_13() -> None:
    scale = Scale(31, 50, 100)
    pixels = all_arguments("torchvision", scale)[list(FLAVORS["torchvision"]).index("translate_x")]
    dot = torch.zeros(1, 1, 50, 100, dtype=torch.uint8)
    dot[..., 25, 50] = 255
    moved = apply_operations(
        dot, torch.tensor([[NUMBER["translate_x"]]]), pixels[9].view(1, 1)
    ).nonzero()
    assert moved.tolist() == [[0, 0, 25, 63]]


def test_magnitude_0_of_torchvision_only_touches_what_has_no_strength() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).flip(-1)
    levels = levels.clamp(3, 255)  # so that auto_contrast has something to stretch
    weakest = all_arguments("torchvision", Scale(31, 16, 16))[:, :1]
    changed = {
        name: (
            apply_operations(levels, torch.tensor([[NUMBER[name]]]), weakest[row, None]) != levels
        )
        for row, name in enumerate(FLAVORS["torchvision"])
    }
    assert {name for name, where in changed.items() if where.any()} == {
        "auto_contrast",
        "equalize",
        "solarize",
    }
    assert levels[changed["solarize"]].tolist() == [255]


@given(
    levels=st.lists(st.floats(0.1, 10, exclude_max=True), min_size=1, max_size=5),
    height=st.integers(3, 300),
    width=st.integers(3, 300),
)
def test_augmix_arguments_are_its_authors(levels: list[float], height: int, width: int) -> None:
    found = arguments("augmix", torch.tensor(levels, dtype=torch.float64), Scale(10, height, width))
    table = dict(zip(FLAVORS["augmix"], found.tolist(), strict=True))
    assert table["rotate"] == [int(level * 30 / 10) for level in levels]
    assert table["posterize"] == [4 - int(level * 4 / 10) for level in levels]
    assert table["translate_x"] == [int(level * (width / 3) / 10) for level in levels]
    assert table["translate_y"] == [int(level * (height / 3) / 10) for level in levels]
    shears = np.float32([level * 0.3 / 10 for level in levels]).tolist()
    assert table["shear_x"] == table["shear_y"] == shears
    # Pillow inverts from a whole threshold on: the share must fall between the right two levels.
    thresholds = [256 - int(level * 256 / 10) for level in levels]
    assert [math.ceil(share * 255) for share in table["solarize"]] == thresholds
    assert table["auto_contrast"] == table["equalize"] == [0.0] * len(levels)


def test_tables_are_kept_for_a_size() -> None:
    assert all_arguments("torchvision", Scale(31, 8, 9)) is all_arguments(
        "torchvision", Scale(31, 8, 9)
    )
