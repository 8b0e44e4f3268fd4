"""A training recipe, and what it is handed to work with.

`docs/design/method.md` says which kinds of recipe this contract was held against.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vicinal.core import registry
from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.draws import Draws

Part = Literal["train", "held_out", "unlabelled"]


class Launcher(Protocol):
    """The part of Lightning's Fabric that methods use."""

    @property
    def device(self) -> torch.device: ...

    def to_device(self, obj: Any) -> Any: ...

    def backward(self, tensor: Tensor) -> None: ...

    def autocast(self) -> Any: ...


@dataclass(frozen=True)
class Stream:
    """Rows that arrive with every step.

    part: of the trial's training rows. `held_out` and `unlabelled` are taken away from `train`, by
        the shares that the phase states; the targets of `unlabelled` rows are not handed out.
    relative_size: of its batches, to the trial's batch size.
    ahead: how many batches later than this step's; 1 is the next batch.
    """

    part: Part = "train"
    relative_size: float = 1.0
    ahead: int = 0


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    share: of the trial's optimiser steps; the shares of a method's phases sum to one.
    streams: what arrives with each step, by name.
    """

    name: str = "train"
    share: float = 1.0
    streams: Mapping[str, Stream] = field(default_factory=lambda: {"train": Stream()})


@dataclass(frozen=True)
class Setting:
    """What the trial decides and every method gets alike.

    modality, kind: of the task.
    outputs: numbers that the model gives for a sample: classes, or 1 for regression.
    seed: of everything random in the trial.
    steps: optimiser steps in all.
    launcher: device, precision, backward.
    make_model: a new network with that many outputs, initialised from the seed, on the device.
        It is a plain module: every trial has one device to itself.
    make_optimiser: an optimiser for some parameters, as all arms have it, made known to the
        launcher.
    make_schedule: its schedule over that many steps.
    prepare: raw inputs to the model's: float, standardised by the training rows.
    baseline: what every arm but `bare` does to its inputs (crop, flip), or None.
    """

    modality: str
    kind: str
    outputs: int
    seed: int
    steps: int
    launcher: Launcher
    make_model: Callable[[int], nn.Module]
    make_optimiser: Callable[[Iterable[nn.Parameter]], Optimizer]
    make_schedule: Callable[[Optimizer, int], LRScheduler]
    prepare: Callable[[Tensor], Tensor]
    baseline: Augmentation | None = None


@dataclass
class Learner:
    """What changes while a method trains, and is saved with it.

    networks: by name; `model` is the one that is judged.
    optimisers, schedules: by name; a schedule advances with the optimiser of its name.
    memory: other tensors that last: queues, running statistics.
    step: optimiser steps of the trial so far, counted by the trainer.
    """

    setting: Setting
    networks: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0

    @property
    def model(self) -> nn.Module:
        """The network that is judged."""
        return self.networks["model"]

    def draws(self, batch: Batch) -> Draws:
        """The random numbers of a batch's rows in the pass that it came in."""
        return Draws(self.setting.seed, batch.index, batch.epoch)

    def step_draws(self) -> Draws:
        """Random numbers of the step itself, one row on the host: which layer, which loss."""
        return Draws(self.setting.seed, torch.tensor([self.step])).within("step")

    def update(self, loss: Tensor, *optimisers: str) -> None:
        """One optimiser step on a loss. optimisers: their names; `model` by default."""
        names = optimisers or ("model",)
        self.setting.launcher.backward(loss)
        for name in names:
            self.optimisers[name].step()
            self.optimisers[name].zero_grad(set_to_none=True)
            if name in self.schedules:
                self.schedules[name].step()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed trial needs."""
        groups: dict[str, Mapping[str, Any]] = {
            "networks": self.networks,
            "optimisers": self.optimisers,
            "schedules": self.schedules,
        }
        state: dict[str, Any] = {
            kind: {name: part.state_dict() for name, part in group.items()}
            for kind, group in groups.items()
        }
        return state | {"memory": dict(self.memory), "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.memory = dict(state["memory"])
        self.step = state["step"]


class Method(ABC):
    """A training recipe: it owns its networks, its optimiser steps and its rule of prediction.

    The object holds settings alone and does not change; what changes is in the Learner. A subclass
    that declares a `card` is registered by it.
    """

    card: ClassVar[Card]
    #: Shares of the training rows that are set apart before training, for the streams that name
    #: them.
    apart: Mapping[Part, float] = {}

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

    def enter(self, learner: Learner, phase: Phase) -> None:  # noqa: B027
        """Called before each phase's first step: freeze, replace a head, reset an optimiser."""

    @abstractmethod
    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        """One step of training, backward and update included.

        Args:
            learner: to be updated.
            batches: one for each stream of the phase, raw as the task has them, on the device.

        Returns:
            Scalars to be averaged over the epoch, detached: `loss`, and `score` where it has one.
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
        output: Tensor = learner.model(learner.setting.prepare(batch.tensor))
        return output
