from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from vicinal.core.errors import InputError
from vicinal.data import images
from vicinal.data.images import read_images, rounded_side


def rows(contents):
    return datasets.Dataset.from_dict(
        {"image": [content and {"bytes": content, "path": None} for content in contents]},
        features=datasets.Features({"image": datasets.Image(decode=False)}),
    )


def read(contents, **options):
    return read_images(rows(contents), root=Path(), name=lambda row: f"image {row}", **options)


def test_pixels_arrive_in_order_and_unchanged(picture, encoded):
    made = [picture(seed) for seed in range(100)]  # more than a thread takes at once
    found = read([encoded(image) for image in made])
    assert found.x.dtype == np.uint8
    np.testing.assert_array_equal(
        found.x.transpose(0, 2, 3, 1), np.stack(list(map(np.asarray, made)))
    )
    assert found.read.all()
    assert found.notes == ("image size 12×12, as all images have",)


def test_images_of_one_size_stay_even_if_they_are_not_square(picture, encoded):
    found = read([encoded(picture(seed, size=(20, 12))) for seed in range(3)])
    assert found.x.shape == (3, 3, 12, 20)


def test_images_of_one_size_above_224_are_made_smaller(picture, encoded):
    found = read([encoded(picture(seed, size=(300, 260)), "JPEG") for seed in range(2)])
    assert found.x.shape == (2, 3, 224, 224)
    assert found.notes[0].endswith("2 images scaled and cut to the centre")


def test_different_sizes_become_the_median_short_side(picture, encoded):
    sizes = [(30, 20), (33, 50), (40, 41), (12, 90), (32, 32)]
    found = read([encoded(picture(seed, size=size)) for seed, size in enumerate(sizes)])
    assert found.x.shape[-2:] == (32, 32)
    assert found.notes == (
        "image size 32×32, from the median short side: 4 images scaled and cut to the centre, "
        "2 of them enlarged",
    )


def test_a_size_asked_for_holds_even_if_all_are_alike(picture, encoded):
    found = read([encoded(picture())] * 2, image_size=8)
    assert found.x.shape[-2:] == (8, 8)
    assert found.notes[0].startswith("image size 8×8, as asked for: 2 images")
    with pytest.raises(InputError, match="image size 4: give a side from 8 to 1024"):
        read([encoded(picture())], image_size=4)


def test_a_square_that_most_images_have_is_kept(picture, encoded):
    sizes = [(12, 12)] * 3 + [(40, 40), (9, 30)]
    found = read([encoded(picture(seed, size=size)) for seed, size in enumerate(sizes)])
    assert found.notes[0].startswith("image size 12×12, as most images have: 2 images scaled")


@pytest.mark.parametrize(
    ("side", "rounded"), [(1, 8), (28, 32), (30, 32), (97, 96), (130, 128), (200, 192), (4000, 224)]
)
def test_sides_are_rounded_to_what_networks_halve_well(side, rounded):
    assert rounded_side(side) == rounded


def test_one_colour_image_makes_all_three_channels(picture, encoded):
    grey = [encoded(picture(seed, mode="L")) for seed in range(3)]
    assert read(grey).x.shape[1] == 1
    assert "all images are grey: one channel" in read(grey).notes
    mixed = read([*grey, encoded(picture())])
    assert mixed.x.shape[1] == 3
    assert "3 grey images repeated over three channels" in mixed.notes


def test_each_kind_is_counted(picture, encoded):
    deep = [np.full((12, 12), value, np.uint16) for value in (500, 1023)]
    from PIL import Image

    found = read(
        [
            encoded(picture()),
            encoded(picture(mode="RGBA")),
            encoded(picture(seed=1, mode="RGBA")),
            encoded(picture(mode="P")),
            encoded(picture(mode="CMYK"), "JPEG"),
            encoded(picture(mode="1")),
            *(encoded(Image.fromarray(values)) for values in deep),
        ]
    )
    assert found.notes[1:] == (
        "3 grey images repeated over three channels",
        "2 images with transparency, laid over white",
        "2 images with more than 8 bits a channel, scaled to 8 bits",
        "1 image with a palette, turned into colours",
        "1 image in CMYK, turned into RGB",
        "1 image in black and white only, read as grey",
    )
    # One scale for all: the darker 16-bit image stays darker.
    assert found.x[6].max() == round(500 / 1023 * 255)
    assert found.x[7].min() == 255


def test_a_truncated_image_is_named_skipped_and_counted(picture, encoded):
    good = [encoded(picture(seed, size=(64, 64)), "JPEG") for seed in range(40)]
    found = read([*good[:35], good[35][:-300], b"hello", *good[36:]])
    assert found.read.tolist() == [True] * 35 + [False] * 2 + [True] * 4
    (note,) = [note for note in found.notes if note.startswith("skipped")]
    assert note.startswith("skipped 2 unreadable images: image 35 (")
    assert "truncated" in note
    assert "image 36 (not an image)" in note


def test_a_row_without_an_image_is_skipped(picture, encoded):
    found = read([encoded(picture()), None])
    assert found.read.tolist() == [True, False]
    assert "image 1 (no image in this row)" in found.notes[-1]


def test_no_good_image_at_all_is_refused():
    with pytest.raises(
        InputError, match=r"none of 2 images can be decoded \(first: image 0: not an"
    ):
        read([b"x", b"y"])


def test_a_file_that_vanished_is_skipped_with_its_reason(tmp_path, picture):
    picture().save(tmp_path / "a.png")
    found = read_images(
        datasets.Dataset.from_dict(
            {"image": ["a.png", "b.png"]},
            features=datasets.Features({"image": datasets.Image(decode=False)}),
        ),
        root=tmp_path,
        name=str,
    )
    assert found.read.tolist() == [True, False]
    assert "no such file" in found.notes[-1]


def test_the_number_of_threads_does_not_matter(picture, encoded, monkeypatch):
    contents = [encoded(picture(seed, size=(40, 30)), "JPEG") for seed in range(70)]
    monkeypatch.setattr(images, "threads", lambda: 1)
    alone = read(contents, image_size=16).x
    monkeypatch.setattr(images, "threads", lambda: 8)
    np.testing.assert_array_equal(read(contents, image_size=16).x, alone)
