"""A mixer that a method's parameter names."""

from __future__ import annotations

from vicinal.core import registry
from vicinal.core.augmentation import Mixer

#: Mixers of two samples of one batch, by their names in the catalogue, which ask nothing of the
#: model and weigh two labels, one for each sample.
MIXERS = ("mixup", "cutmix", "fmix", "resizemix", "saliencymix", "gridmix", "smoothmix")


def named_mixer(name: str, alpha: float | None = None) -> Mixer:
    """The mixer of a name.

    Args:
        name: as in the catalogue.
        alpha: both shapes of the Beta distribution of its share; its own default if none is given.

    Raises:
        InputError: there is no such mixer.
        ValueError: the mixer's share has no such distribution, or alpha is out of range.
    """
    component = registry.find(name, kinds=("mixer",))
    if alpha is not None and "alpha" not in component.card.parameters:
        raise ValueError(f"{name} draws its share otherwise: leave alpha out")
    mixer = component() if alpha is None else component(alpha=alpha)
    assert isinstance(mixer, Mixer)
    return mixer
