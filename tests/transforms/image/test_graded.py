"""Operations graded by a magnitude, judged by the authors' bank and by what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vicinal.transforms.image.graded import GREY, SEVENTEEN, apply_graded, arguments, signed

GOLDEN = Path(__file__).parents[2] / "policies" / "golden" / "madaug.safetensors"
PLACE = {one.name: place for place, one in enumerate(SEVENTEEN)}
#: Levels by which torchvision's arithmetic differs from Pillow's.
SLACK = {"auto_contrast": 1, "contrast": 1, "color": 1}


def images(count: int = 4, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, 12, 15)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def applied(x: Tensor, name: str, magnitude: float, *, sign: float = 1, at: float = 0.5) -> Tensor:
    ones = torch.ones(len(x))
    return apply_graded(
        x,
        SEVENTEEN,
        operation=torch.full((len(x),), PLACE[name]),
        magnitude=magnitude * ones,
        sign=sign * ones,
        place=at * torch.ones(len(x), 2),
    )


@pytest.mark.parametrize("name", PLACE)
def test_the_authors_code_gives_the_same_images(name: str) -> None:
    golden = load_file(GOLDEN)
    rows = golden["operation"] == PLACE[name]
    ours = apply_graded(
        golden["images"][golden["image"]][rows],
        SEVENTEEN,
        **{key: golden[key][rows] for key in ("operation", "magnitude", "sign", "place")},
    )
    assert rows.sum() >= 6
    difference = (ours.int() - golden["output"][rows].int()).abs()
    assert difference.max() <= SLACK.get(name, 0)


def test_ends_of_the_ranges_are_the_papers() -> None:
    low, high = arguments(SEVENTEEN, torch.tensor([0.0, 1.0]), 100, 200).T
    table = {name: (low[at].item(), high[at].item()) for name, at in PLACE.items()}
    for name, ends in {
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "translate_x": (90, -90),
        "translate_y": (45, -45),
        "rotate": (-30, 30),
        "posterize": (4, 8),
        "solarize": (0, 256 / 255),
        "contrast": (-0.9, 0.9),
        "color": (-0.9, 0.9),
        "brightness": (-0.9, 0.9),
        "sharpness": (-0.9, 0.9),
        "cutout": (0, 40),
    }.items():
        assert table[name] == pytest.approx(ends, abs=1e-5), name
    assert {SEVENTEEN[at].name for at in signed(SEVENTEEN).nonzero()[:, 0]} == {
        "shear_x",
        "shear_y",
        "translate_x",
        "translate_y",
        "rotate",
    }


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("name", "magnitude"),
    [
        *((one.name, 0.5) for one in SEVENTEEN if one.signed),
        *((name, 0.5) for name in ("contrast", "color", "brightness", "sharpness")),
        ("posterize", 1.0),
        ("solarize", 1.0),
        ("cutout", 0.0),
        ("identity", 0.7),
    ],
)
def test_some_magnitude_of_what_has_a_strength_is_nothing(
    name: str, magnitude: float, sign: float
) -> None:
    assert torch.equal(applied(images(), name, magnitude, sign=sign), images())


@pytest.mark.parametrize("name", ["flip", "invert"])
def test_mirrored_or_inverted_twice_is_the_image_itself(name: str) -> None:
    once = applied(images(), name, 0.3)
    assert not torch.equal(once, images())
    assert torch.equal(applied(once, name, 0.9), images())


@pytest.mark.parametrize("channels", [1, 3])
def test_cutout_covers_a_grey_square_around_its_place(channels: int) -> None:
    black = torch.zeros(1, channels, 40, 50, dtype=torch.uint8)
    covered = applied(black, "cutout", 0.6, at=0.5)[0]  # a side of 6 pixels, ends included
    where = covered[0].nonzero()
    assert where.amin(0).tolist() == [17, 22]
    assert where.amax(0).tolist() == [23, 28]
    assert covered[:, 20, 25].tolist() == (list(GREY) if channels == 3 else [GREY[1]])


def test_every_image_has_its_own_operation_and_magnitude() -> None:
    generator = torch.Generator().manual_seed(1)
    x = images(60)
    drawn = {
        "operation": torch.randint(0, 17, (60,), generator=generator),
        "magnitude": torch.rand(60, generator=generator),
        "sign": torch.randint(0, 2, (60,), generator=generator) * 2.0 - 1,
        "place": torch.rand(60, 2, generator=generator),
    }
    before = x.clone()
    together = apply_graded(x, SEVENTEEN, **drawn)
    alone = [
        apply_graded(
            x[row : row + 1], SEVENTEEN, **{key: of[row : row + 1] for key, of in drawn.items()}
        )
        for row in range(60)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(x, before)
