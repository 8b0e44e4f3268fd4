from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vicinal.data.decode import decode, full_scale, inspect


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_gives_the_picture_that_was_seen(orientation, picture, encoded):
    upright = picture(size=(6, 4))
    # A camera stores the upright picture under the inverse of the turn that its tag asks for.
    names = "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270"
    inverse = names.split()[orientation - 2]
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose[inverse])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, "PNG", exif=exif)
    header = inspect(content)
    assert (header.height, header.width) == (4, 6)
    assert ("rotated" in header.kinds) == (orientation > 1)
    pixels = decode(content, size=(4, 6), channels=3)
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), np.asarray(upright))


def test_transparent_pixels_become_white_whatever_colour_hides_beneath(encoded):
    pixels = np.zeros((4, 4, 4), np.uint8)  # black, invisible
    pixels[0, 0] = [10, 20, 30, 255]
    shown = decode(encoded(Image.fromarray(pixels)), size=(4, 4), channels=3)
    assert shown[:, 0, 0].tolist() == [10, 20, 30]
    assert (shown[:, 1:] == 255).all()


def test_a_palette_is_turned_into_its_colours_and_its_transparency_into_white(encoded):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 100, 0])
    image.putpixel((1, 0), 1)
    solid = decode(encoded(image), size=(1, 2), channels=3)
    assert solid[:, 0].T.tolist() == [[200, 0, 0], [0, 100, 0]]
    glass = decode(encoded(image, transparency=1), size=(1, 2), channels=3)
    assert glass[:, 0].T.tolist() == [[200, 0, 0], [255, 255, 255]]
    assert inspect(encoded(image, transparency=1)).kinds == ("transparent", "palette")


def test_16_bits_are_scaled_by_the_bits_in_use_and_not_cut_to_the_low_byte(encoded):
    values = np.array([[0, 1000, 4095]], np.uint16)
    content = encoded(Image.fromarray(values))
    header = inspect(content)
    assert header.grey
    assert header.kinds == ("deep",)
    assert header.largest == 4095
    white = full_scale(header.largest)
    shown = decode(content, size=(1, 3), channels=1, white=white)
    assert shown[0, 0].tolist() == [0, round(1000 / 4095 * 255), 255]


@pytest.mark.parametrize(
    ("largest", "white"),
    [(0, 1), (0.7, 1), (1, 1), (2, 255), (255, 255), (256, 511), (65535, 65535)],
)
def test_white_is_the_smallest_number_of_bits_that_holds_the_data(largest, white):
    assert full_scale(largest) == white


def test_cmyk_has_the_colours_of_its_rgb(encoded):
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    content = encoded(red, "JPEG")
    assert inspect(content).kinds == ("cmyk",)
    middle = decode(content, size=(8, 8), channels=3)[:, 4, 4].astype(int)
    assert abs(middle - [250, 10, 10]).max() < 12


def test_grey_is_repeated_or_kept_as_asked_for(picture, encoded):
    content = encoded(picture(mode="L"))
    assert inspect(content).grey
    single = decode(content, size=(12, 12), channels=1)
    assert single.shape == (1, 12, 12)
    triple = decode(content, size=(12, 12), channels=3)
    assert (triple == single).all()


def test_the_short_side_is_scaled_and_the_centre_kept(encoded):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255  # the middle third is white
    shown = decode(encoded(Image.fromarray(pixels)), size=(10, 10), channels=3)
    assert shown.shape == (3, 10, 10)
    assert shown[:, :, 1:-1].min() > 200


def test_scaling_down_is_antialiased(encoded):
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    shown = decode(encoded(Image.fromarray(checks)), size=(8, 8), channels=1)
    assert abs(shown.astype(int) - 127).max() <= 2


def test_a_large_jpeg_decoded_at_a_fraction_keeps_what_the_small_image_can_show(encoded):
    # Stripes of one pixel of the result, over an image four times as wide.
    stripes = np.repeat(np.tile([20, 230], 64), 4)[None, :, None] * np.ones((512, 1, 3))
    image = Image.fromarray(stripes.astype(np.uint8))
    size = {"size": (128, 128), "channels": 3}
    fast = decode(encoded(image, "JPEG", quality=95), **size).astype(int)
    whole = decode(encoded(image), **size).astype(int)
    assert abs(fast - whole).max() <= 8


def test_an_animation_is_its_first_frame(encoded):
    first, second = Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4), "black")
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert "frames" in inspect(content).kinds
    assert (decode(content, size=(4, 4), channels=3) == 255).all()


def test_a_truncated_file_has_a_header_and_no_pixels(picture, encoded):
    content = encoded(picture(size=(64, 64)), "JPEG")[:-400]
    assert (inspect(content).height, inspect(content).width) == (64, 64)
    with pytest.raises(OSError, match="truncated"):
        decode(content, size=(64, 64), channels=3)
