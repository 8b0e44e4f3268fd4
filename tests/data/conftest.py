"""Folders of images and tables, made for a test."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """Makes an image of noise that no other seed gives. size: width, height."""

    def make(seed: int = 0, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Image.Image:
        shape = (size[1], size[0], 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
        return Image.fromarray(pixels).convert(mode)

    return make


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Gives the bytes of an image file."""

    def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """Writes files by relative path: images in the format of their ending, bytes, or text."""

    def write(files: Mapping[str, Any]) -> Path:
        root = tmp_path / "photos"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Image.Image):
                content.save(file)
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def pets(
    folder: Callable[[Mapping[str, Any]], Path], picture: Callable[..., Image.Image]
) -> dict[str, Image.Image]:
    """Ten cats and ten dogs, 12 by 12 pixels, no two alike, by relative path."""
    return {
        f"{name}/{number}.png": picture(seed=100 * place + number)
        for place, name in enumerate(("cats", "dogs"))
        for number in range(10)
    }
