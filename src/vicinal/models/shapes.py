"""What an input is, told by its shape."""

from __future__ import annotations


def image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of an image.

    Raises:
        ValueError: it is not the shape of an image.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"it takes images of shape (channels, height, width), got rows of shape {input_shape}, "
            "which mlp takes"
        )
    channels, height, width = input_shape
    return channels, height, width
