"""What may stand inside of a transform that applies another to images of its own making."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params


def check_inner(name: str, inner: Augmentation) -> None:
    """Refuse an augmentation that needs more than the images it is given.

    Args:
        name: of the argument.
        inner: its value.

    Raises:
        TypeError: it is no augmentation, or it mixes samples.
        ValueError: it asks a model, or needs the training rows.
    """
    if isinstance(inner, Mixer) or not isinstance(inner, Augmentation):
        raise TypeError(f"{name} must be an augmentation that mixes nothing, got {inner!r}")
    if inner.probes or inner.pooled or inner.unfitted:
        raise ValueError(
            f"{name} must work on images alone, and {type(inner).__name__} asks a model, or needs "
            "the training rows"
        )


def sample_inner(name: str, inner: Augmentation, batch: Batch, draws: Draws) -> Params:
    """What it draws for a batch. Raises ValueError if it makes another number of images of it."""
    params: Params = inner.sample(batch, draws)
    if len(params) != len(batch):
        raise ValueError(
            f"{name} must keep the number of images, and {type(inner).__name__} makes "
            f"{len(params)} of {len(batch)}"
        )
    return params


def apply_inner(name: str, inner: Augmentation, batch: Batch, params: Params) -> Tensor:
    """The images that it makes of a batch. Raises ValueError if they are of another size."""
    made = inner.apply(batch, params).tensor
    if made.shape != batch.tensor.shape:
        raise ValueError(
            f"{name} must keep the size of images, and {type(inner).__name__} made "
            f"{tuple(made.shape)} of {tuple(batch.tensor.shape)}"
        )
    return made
