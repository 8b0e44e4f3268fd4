"""Many images into one array: a first look at all of them settles the size, a second decodes."""

from __future__ import annotations

import os
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vicinal.core.errors import InputError
from vicinal.data.decode import KINDS, Header, decode, full_scale, inspect
from vicinal.data.layout import counted
from vicinal.data.storage import uint8_array

if TYPE_CHECKING:
    from datasets import Dataset

LARGEST_SIDE = 224
SIDES = (8, 1024)  # what may be asked for
CHUNK = 32
Result = TypeVar("Result")


@dataclass(frozen=True)
class Images:
    """Images of one size.

    x: (N, C, H, W) uint8; a row that is not `read` is without meaning.
    read: (N,) bool, False where an image could not be decoded.
    """

    x: NDArray[np.uint8]
    read: NDArray[np.bool_]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Broken:
    """An image that cannot be decoded, and why."""

    why: str


def read_images(
    rows: Dataset, *, root: Path, name: Callable[[int], str], image_size: int | None = None
) -> Images:
    """Decode every image of a data set, in threads.

    Images that all have one size within 224 by 224 stay as they are, square or not. Others are
    scaled and cut to a square: the one that most of them have, or else one whose side is the median
    of the short sides, rounded; at most 224.

    Args:
        rows: with an undecoded `image` column of the datasets library: bytes, or a path.
        root: the folder that relative paths start from.
        name: what a row is called in a message.
        image_size: side of the square wanted.

    Raises:
        InputError: no image can be decoded, or the size is out of range.
    """
    if image_size is not None and not SIDES[0] <= image_size <= SIDES[1]:
        raise InputError(
            f"image size {image_size}: give a side from {SIDES[0]} to {SIDES[1]} pixels"
        )
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of very large images, which are dealt with here.
        warnings.simplefilter("ignore")
        headers = list(each(rows, root, lambda row, source: inspect(source)))
        known = [header for header in headers if isinstance(header, Header)]
        if not known:
            refuse(headers, name)
        size, why = choose_size(known, image_size)
        channels = 1 if all(header.grey for header in known) else 3
        white = full_scale(max(header.largest for header in known))
        x = uint8_array((len(headers), channels, *size))

        def place(row: int, source: bytes | Path) -> bool:
            if isinstance(headers[row], Header):
                x[row] = decode(source, size=size, channels=channels, white=white)
            return True

        outcomes = list(each(rows, root, place))
    # A file may have a sound header and a truncated body.
    broken = {
        row: problem
        for row, pair in enumerate(zip(headers, outcomes, strict=True))
        for problem in pair
        if isinstance(problem, Broken)
    }
    if len(broken) == len(headers):
        refuse(list(broken.values()), name)
    read = np.array([row not in broken for row in range(len(headers))])
    known = [
        header for row, header in enumerate(headers) if isinstance(header, Header) and read[row]
    ]
    notes = (size_note(size, why, known), *kind_notes(known, channels), *broken_note(broken, name))
    return Images(x, read, notes)


def each(
    rows: Dataset, root: Path, work: Callable[[int, bytes | Path], Result]
) -> Iterator[Result | Broken]:
    """The result of some work on every image, in order, or what was wrong with the image."""

    def one(row: int, image: dict[str, Any] | None) -> Result | Broken:
        try:
            return work(row, source_of(image, root))
        except MemoryError:
            raise
        except Exception as problem:  # decoders raise anything on a broken file; it is reported
            return Broken(describe(problem))

    def chunk(start: int) -> list[Result | Broken]:
        images = rows[start : start + CHUNK]["image"]
        return [one(start + place, image) for place, image in enumerate(images)]

    with ThreadPoolExecutor(threads()) as pool:
        for results in pool.map(chunk, range(0, len(rows), CHUNK)):
            yield from results


def threads() -> int:
    """As many as there are processors for this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def source_of(image: dict[str, Any] | None, root: Path) -> bytes | Path:
    """The bytes of an image, or where they lie."""
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("no image in this row")
    if image["bytes"] is not None:
        content: bytes = image["bytes"]
        return content
    path: str = image["path"]
    return root / path


def describe(problem: Exception) -> str:
    """Why an image cannot be decoded, in a few words."""
    import PIL

    if isinstance(problem, PIL.UnidentifiedImageError):
        return "not an image"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror.lower()
    return " ".join(str(problem).split()) or type(problem).__name__


def refuse(problems: Sequence[Header | Broken], name: Callable[[int], str]) -> None:
    """Say that no image can be decoded, and what is wrong with the first."""
    first = problems[0]
    why = first.why if isinstance(first, Broken) else ""
    raise InputError(
        f"none of {counted(len(problems), 'image')} can be decoded "
        f"(first: {name(0)}: {why}); check the files"
    )


def choose_size(headers: Sequence[Header], image_size: int | None) -> tuple[tuple[int, int], str]:
    """Height and width of every image, and where they come from."""
    sizes = Counter((header.height, header.width) for header in headers)
    (height, width), count = sizes.most_common(1)[0]
    if image_size is not None:
        return (image_size, image_size), "as asked for"
    if max(height, width) <= LARGEST_SIDE and len(sizes) == 1:
        return (height, width), "as all images have"
    if height == width <= LARGEST_SIDE and count > len(headers) / 2:
        return (height, width), "as most images have"
    side = rounded_side(statistics.median(min(size) for size in sizes.elements()))
    return (side, side), "from the median short side"


def size_note(size: tuple[int, int], why: str, headers: Sequence[Header]) -> str:
    """One line on the size of images and how many were changed to have it."""
    others = [header for header in headers if (header.height, header.width) != size]
    note = f"image size {size[0]}×{size[1]}, {why}"
    if others:
        note += f": {counted(len(others), 'image')} scaled and cut to the centre"
        smaller = sum(header.height < size[0] or header.width < size[1] for header in others)
        note += f", {smaller:,} of them enlarged" if smaller else ""
    return note


def rounded_side(side: float) -> int:
    """A side to train with: a multiple of 8, of 16 above 96, of 32 above 160; from 8 to 224."""
    step = 8 if side < 96 else 16 if side < 160 else 32
    return min(LARGEST_SIDE, max(8, step * int(side / step + 0.5)))


def kind_notes(headers: Sequence[Header], channels: int) -> Iterator[str]:
    """One line for each kind of image that needed something done."""
    grey = sum(header.grey for header in headers)
    if channels == 1:
        yield "all images are grey: one channel"
    elif grey:
        yield f"{counted(grey, 'grey image')} repeated over three channels"
    kinds = Counter(kind for header in headers for kind in header.kinds)
    for kind, what in KINDS.items():
        if kinds[kind]:
            yield f"{counted(kinds[kind], 'image')} {what}"


def broken_note(
    broken: dict[int, Broken], name: Callable[[int], str], *, limit: int = 5
) -> Iterator[str]:
    """One line that counts and names what was skipped."""
    if broken:
        named = [f"{name(row)} ({problem.why})" for row, problem in list(broken.items())[:limit]]
        more = f" and {len(broken) - limit:,} more" if len(broken) > limit else ""
        yield f"skipped {counted(len(broken), 'unreadable image')}: {', '.join(named)}{more}"
