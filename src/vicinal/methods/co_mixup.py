"""Co-Mixup with its clean loss."""

from __future__ import annotations

import dataclasses
from typing import Any

from vicinal.methods.saliency_training import LOSS, Loss, SaliencyTraining, clean_range, example
from vicinal.mixers.co_mixup import CoMixup


class CoMixupTraining(SaliencyTraining):
    """Train on a batch put together anew of its salient cells, and on the images it was made of.

    Source: Kim, Choo, Jeong and Song, Co-Mixup, ICLR 2021, section 5 and the authors' main.py. See
    `CoMixup`, the mixer, and `SaliencyTraining`.

    Args:
        clean: weight of the loss on the clean images, >= 0; at 0 the mixer alone.
        loss: on mixtures: cross-entropy, or binary cross-entropy of a softmax.
        mixing: what `CoMixup` takes.

    Raises:
        TypeError: the mixer takes no such setting.
        ValueError: a value is out of range or unknown.
    """

    card = dataclasses.replace(
        CoMixup.card,
        kind="method",
        summary="Puts a batch together anew of its salient cells, and trains on it clean too.",
        parameters={"clean": clean_range(1.0), "loss": LOSS, **CoMixup.card.parameters},
        agrees="with the authors' code for CIFAR, to 1e-6, on weights after a step of loss=binary",
        differs=(
            "named as the mixer, since it is what the paper trains with; the mixer alone is "
            "co_mixup:clean=0",
            "cross-entropy on mixtures and `clean` times that on clean images, as the authors' "
            "code for ImageNet has it; that for CIFAR is loss=binary, K / 2 times as much for K "
            "classes",
            *CoMixup.card.differs,
        ),
        controls=("co_mixup:clean=0", *CoMixup.card.controls),
        compiles=False,
        example=example("CoMixup(part={part}, cells={cells}, beta={beta}, gamma={gamma})"),
    )

    def __init__(self, clean: float = 1.0, *, loss: Loss = "entropy", **mixing: Any) -> None:
        self.card.check(clean=clean, loss=loss)
        super().__init__(CoMixup(**mixing), clean=clean, loss=loss)
