"""Puzzle Mix with what its authors' code offers beside: a clean loss and adversarial noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Range
from vicinal.core.method import Learner
from vicinal.core.params import Params
from vicinal.methods.adversarial_noise import AdversarialNoise
from vicinal.methods.saliency_training import (
    LOSS,
    Ask,
    Loss,
    SaliencyTraining,
    clean_range,
    example,
    told,
)
from vicinal.mixers.puzzle_mix import PuzzleMix


class PuzzleMixTraining(SaliencyTraining):
    """Train on two images cut and moved by saliency, on the images they are of, and with noise.

    At its defaults it is the mixer alone, as in the paper.

    Source: Kim, Choo and Song, Puzzle Mix, ICML 2020, section 5, and the authors' main.py. See
    `PuzzleMix`, the mixer, `SaliencyTraining` and `AdversarialNoise`.

    Args:
        clean: weight of the loss on the clean images, >= 0.
        loss: on mixtures: cross-entropy, or binary cross-entropy of a softmax.
        adversarial: how often an image gets noise, as the own and as the partner, in [0, 1].
        radius: of the noise, in levels of an image of 8 bits; > 0.
        mixing: what `PuzzleMix` takes. With its scope `batch`, all images of a batch get noise of
            one strength, or none does.

    Raises:
        TypeError: the mixer takes no such setting.
        ValueError: a value is out of range or unknown.
    """

    card = dataclasses.replace(
        PuzzleMix.card,
        kind="method",
        summary="Cuts two images into cells and moves the salient ones; clean loss and noise too.",
        parameters={
            **PuzzleMix.card.parameters,
            "clean": clean_range(0.0),
            "loss": LOSS,
            "adversarial": Range(
                0.0,
                1.0,
                default=0.0,
                valid="[0, 1]",
                meaning="how often an image gets noise; the authors take 0.1 where any",
            ),
            "radius": Range(
                1.0,
                16.0,
                default=10.0,
                valid="(0, inf)",
                meaning="of the noise, in levels of an image of 8 bits",
            ),
        },
        agrees="with the authors' code for CIFAR, to 1e-6, on weights after a step of loss=binary",
        differs=(
            "named as the mixer, which it is at its defaults",
            "noise and its strength are drawn per sample, where the authors' code draws for the "
            "batch",
            "cross-entropy on mixtures, as the authors' code for ImageNet has it; that for CIFAR "
            "is loss=binary, K / 2 times as much for K classes",
            *PuzzleMix.card.differs,
        ),
        compiles=False,
        example=example(
            "PuzzleMix(alpha={alpha}, beta={beta}, gamma={gamma}, transport={transport})",
            "# noise, on {adversarial} of the images, is left out here: see AdversarialNoise",
        ),
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        clean: float = 0.0,
        loss: Loss = "entropy",
        adversarial: float = 0.0,
        radius: float = 10.0,
        **mixing: Any,
    ) -> None:
        self.card.check(clean=clean, loss=loss, adversarial=adversarial, radius=radius)
        mixer = PuzzleMix(alpha, **mixing)
        super().__init__(mixer, clean=clean, loss=loss)
        self.scope = mixer.scope
        self.adversarial = adversarial
        self.radius = radius

    def mixed(self, learner: Learner, batch: Batch, ask: Ask) -> tuple[Batch, Params | None]:
        if not self.adversarial:
            return super().mixed(learner, batch, ask)
        batch = self.based(learner, batch)
        if batch.tensor.dtype != torch.uint8:
            raise ValueError(
                f"noise is added to images of 8 bits, these are {batch.tensor.dtype}: leave "
                "adversarial at 0"
            )
        prepare, draws = learner.setting.prepare, learner.draws(batch)
        common = draws.shared() if self.scope == "batch" else draws
        levels = batch.tensor.float()
        noise = AdversarialNoise.drawn(
            levels,
            draws.within("noise"),
            common=common.within("noise"),
            share=self.adversarial,
            radius=self.radius,
        )
        gradient = ask(learner, batch.replace(x=prepare(levels + noise.start)))
        clean = told(batch.replace(x=prepare(levels)), gradient)
        mixer = self.part(learner, "prepared")
        assert isinstance(mixer, Mixer)
        # Where the images are cut is decided by the clean ones.
        params = mixer.sample(clean, draws.within("prepared"))
        noisy = prepare(noise.added(levels, gradient))
        own, partner = (
            clean.replace(x=torch.where(who[:, None, None, None], noisy, clean.tensor))
            for who in (noise.own, noise.partner)
        )
        return mixer.apply(own.replace(pool=partner), params), params
