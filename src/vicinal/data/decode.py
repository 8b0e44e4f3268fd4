"""One image file of whatever size and mode into an array of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112  # the EXIF tag
GREY = ("1", "L", "LA", "La")
TRANSPARENT = ("LA", "La", "RGBA", "RGBa", "PA")


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are read.

    height, width: in pixels, upright.
    grey: it has no colours.
    kinds: what is unusual about it, in the words of `KINDS`.
    largest: the largest value, where a pixel has more than 8 bits; otherwise 0.
    """

    height: int
    width: int
    grey: bool
    kinds: tuple[str, ...] = ()
    largest: float = 0.0


#: What was done about each kind of image; shown with its count.
KINDS = {
    "transparent": "with transparency, laid over white",
    "deep": "with more than 8 bits a channel, scaled to 8 bits",
    "palette": "with a palette, turned into colours",
    "cmyk": "in CMYK, turned into RGB",
    "other": "in another colour space, turned into RGB",
    "bilevel": "in black and white only, read as grey",
    "rotated": "turned upright by their EXIF tag",
    "frames": "with several frames, of which the first is used",
}


@contextmanager
def opened(source: bytes | Path) -> Iterator[Image]:
    """An image of a file's bytes or of a path; closed afterwards."""
    import PIL.Image

    with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        yield image


def inspect(source: bytes | Path) -> Header:
    """Size and kind of an image; reads the pixels only where they have more than 8 bits."""
    with opened(source) as image:
        width, height = image.size
        turned = orientation(image)
        if turned >= 5:  # the four that lie on their side
            width, height = height, width
        kinds = list(mode_kinds(image))
        if turned > 1:
            kinds.append("rotated")
        # Phones pack depth maps and previews into MPO, which is no animation.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            kinds.append("frames")
        deep = is_deep(image)
        if deep:
            kinds.append("deep")
        largest = largest_value(image) if deep else 0.0
        return Header(height, width, deep or image.mode in GREY, tuple(kinds), largest)


def largest_value(image: Image) -> float:
    """The largest finite value of an image, at least 0."""
    values = np.asarray(image)
    return float(values.max(initial=0, where=np.isfinite(values)))


def orientation(image: Image) -> int:
    """The EXIF orientation, 1 (upright) to 8."""
    # Asking a PNG for a tag that its header lacks would decode the whole image.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    tag = image.getexif().get(ORIENTATION, 1)
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def mode_kinds(image: Image) -> Iterator[str]:
    """What is unusual about the way in which pixels are stored."""
    if image.mode in TRANSPARENT or "transparency" in image.info:
        yield "transparent"
    if image.mode in ("P", "PA"):
        yield "palette"
    elif image.mode == "CMYK":
        yield "cmyk"
    elif image.mode == "1":
        yield "bilevel"
    elif image.mode in ("YCbCr", "LAB", "HSV"):
        yield "other"


def is_deep(image: Image) -> bool:
    """Whether a pixel is a number of 16 or 32 bits (always grey: Pillow has no deep colours)."""
    return image.mode[0] in "IF"


def full_scale(largest: float) -> float:
    """The value that becomes white, given the largest one in the data.

    A 12-bit camera stores 0 to 4095 in 16 bits: the scale is the smallest number of bits that holds
    the data, so that such images do not come out black. Fractions up to 1 keep 1.
    """
    if largest <= 1:
        return 1.0
    return 2.0 ** max(8, int(np.floor(np.log2(largest))) + 1) - 1


def decode(
    source: bytes | Path, *, size: tuple[int, int], channels: int, white: float = 255.0
) -> NDArray[np.uint8]:
    """The pixels of an image.

    Args:
        source: the bytes of a file, or its path.
        size: height and width of the result; another size is scaled, antialiased, until its short
            side fits, and cut to the centre.
        channels: 1 for grey, 3 for RGB.
        white: the value that becomes 255, where a pixel has more than 8 bits.

    Returns:
        (C, H, W) uint8.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    height, width = size
    with opened(source) as image:
        # A JPEG is decoded at a half, quarter or eighth, while twice the wanted size is left.
        image.draft(image.mode, (2 * max(size), 2 * max(size)))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        flat = flattened(image, channels=channels, white=white)
    if flat.size != (width, height):
        flat = ImageOps.fit(flat, (width, height), method=Resampling.BICUBIC)
    pixels = np.asarray(flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def flattened(image: Image, *, channels: int, white: float) -> Image:
    """The image as 8-bit grey or RGB, transparency laid over white."""
    import PIL.Image

    mode = "L" if channels == 1 else "RGB"
    if is_deep(image):
        values = np.asarray(image).astype(np.float32) * (255 / white)
        grey = np.nan_to_num(values).clip(0, 255).round().astype(np.uint8)
        return PIL.Image.fromarray(grey).convert(mode)
    if image.mode in TRANSPARENT or "transparency" in image.info:
        shown = image.convert("RGBA")
        sheet = PIL.Image.new("RGBA", shown.size, "white")
        return PIL.Image.alpha_composite(sheet, shown).convert(mode)
    return image.convert(mode)
