"""A training recipe, and what it is handed to work with.

`docs/design/method.md` says which kinds of recipe this contract was held against.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from vicinal.core import registry
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.learner import Launcher, Learner, Setting
from vicinal.core.streams import Part, Phase, Sampler, Stream

#: A recipe is written with these; they are found here whichever file they are in.
__all__ = ["Launcher", "Learner", "Method", "Part", "Phase", "Sampler", "Setting", "Stream"]


class Method(ABC):
    """A training recipe: it owns its networks, its optimiser steps and its rule of prediction.

    The object holds settings alone and does not change; what changes is in the Learner. A subclass
    that declares a `card` is registered by it.
    """

    card: ClassVar[Card]
    #: Shares of the training rows that are set apart before training, for the streams that name
    #: them, unless the data bring such rows themselves. A share of 0 for `unlabelled` sets none
    #: apart: the rows that are trained on come once more, without their labels.
    apart: Mapping[Part, float] = {}
    #: The networks whose weights training changes; all others stay as `start` made them.
    moved: frozenset[str] = frozenset({"model"})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "card" in cls.__dict__:
            registry.register(cls)

    def phases(self) -> tuple[Phase, ...]:
        """What training consists of, in order."""
        return (Phase(),)

    def start(self, setting: Setting) -> Learner:
        """Build the networks and their optimisers, and refuse a model that lacks what is needed.

        Raises:
            ValueError: the model or the task cannot be trained in this way; one line says why.
        """
        model = setting.make_model(setting.outputs)
        optimiser = setting.make_optimiser(model.parameters())
        return Learner(
            setting,
            networks={"model": model},
            optimisers={"model": optimiser},
            schedules={"model": setting.make_schedule(optimiser, setting.steps)},
        )

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:  # noqa: B027
        """Called before each phase's first step, with every network in training mode.

        The place to freeze, to put a teacher into evaluation mode, to replace a head or an
        optimiser; in a last phase of share 0, to compute what training ends with. A trial that is
        taken up in a later phase enters the earlier ones again, and then loads what was saved:
        which networks and optimisers there are must not depend on what was trained.

        Args:
            learner: to be changed.
            phase: that begins.
            steps: of the phase.
        """

    @abstractmethod
    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """One step of training, backward and update included.

        Args:
            learner: to be updated.
            batches: one for each stream of the phase, raw as the task has them, on the device.

        Returns:
            Scalars to be averaged over the epoch: `loss`, and `score` where it has one.
        """

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        """The output for unseen samples, whichever others are in the batch.

        Called in evaluation mode and without gradients.

        Args:
            learner: after training.
            batch: raw, without a target.

        Returns:
            (B, C) logits, or (B, 1) for regression.
        """
        output: Tensor = learner.model(learner.setting.prepare(batch.x))
        return output
