"""What a recipe works with: the trial's setting, and all that changes while it trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vicinal.core import counter
from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.modes import in_mode
from vicinal.core.streams import Part


class Launcher(Protocol):
    """The part of Lightning's Fabric that methods use."""

    @property
    def device(self) -> torch.device: ...

    def to_device(self, obj: Any) -> Any: ...

    def setup_optimizers(self, optimizer: Optimizer) -> Any: ...

    def backward(self, tensor: Tensor, *, inputs: Sequence[Tensor], retain_graph: bool) -> None: ...

    def autocast(self) -> Any: ...


def _no_rows(part: Part) -> Batch:
    raise LookupError(f"there are no {part} rows before training")


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
    part: all rows of a part of the training rows, raw; without targets where these are hidden.
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
    prepare: Callable[[Any], Any]
    baseline: Augmentation | None = None
    part: Callable[[Part], Batch] = _no_rows

    @contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """While it is open, layers that are built draw their weights from the seed and this name.

        The global random state is put back afterwards. For the networks that a method brings:
        `with setting.seeded("augmenter"): ...`
        """
        device = self.launcher.device
        key = counter.mix_int(counter.seed_key(self.seed, 0) + counter.name_key(name))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(key)
            yield


@dataclass
class Learner:
    """What changes while a method trains, and is saved with it.

    networks: by name; `model` is the one that is judged.
    optimisers: by name; `model` moves the network that is judged, once a step at most.
    schedules: by name; a schedule advances with the optimiser of its name.
    memory: other tensors that last: queues, running statistics.
    fitted: augmentations that know the training rows, by name; not saved, since `enter` fits them.
    layers: names of the model's layers, by what they are for; not saved, since `start` finds them.
    phase: name of the phase that goes on, set by the trainer.
    step: steps of the trial so far, counted by the trainer.
    updates: steps that each optimiser has taken.
    """

    setting: Setting
    networks: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    schedules: dict[str, LRScheduler] = field(default_factory=dict)
    memory: dict[str, Tensor] = field(default_factory=dict)
    fitted: dict[str, Augmentation] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    phase: str = ""
    step: int = 0
    updates: Counter[str] = field(default_factory=Counter)

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

    def update(self, loss: Tensor | None = None, /, **losses: Tensor) -> None:
        """One step of some optimisers, each on a loss of its own.

        All gradients are taken before anything moves, so that losses may share a graph.

        Args:
            loss: for the optimiser `model`.
            losses: for other optimisers, by their names.
        """
        if loss is not None:
            losses = {"model": loss, **losses}
        self.backward(**losses)
        self.advance(*losses)

    def backward(self, *inputs: Tensor, **losses: Tensor) -> None:
        """Add the gradients of losses to the parameters of the optimisers that they are for.

        No other parameter gets any, whatever else a loss depends on.

        Args:
            inputs: leaves that get those of all the losses too, in the same pass: the images, say,
                where their saliency is asked for.
            losses: by the names of the optimisers.
        """
        for place, (name, loss) in enumerate(losses.items(), start=1):
            groups = self.optimisers[name].param_groups
            moved = [one for group in groups for one in group["params"] if one.requires_grad]
            self.setting.launcher.backward(
                loss,
                inputs=[*inputs, *moved],
                retain_graph=place < len(losses),
            )

    def advance(self, *optimisers: str) -> None:
        """Move the parameters of optimisers along the gradients they have, and clear these."""
        for name in optimisers:
            self.optimisers[name].step()
            self.optimisers[name].zero_grad(set_to_none=True)
            if name in self.schedules:
                self.schedules[name].step()
            self.updates[name] += 1

    def evaluating(self) -> AbstractContextManager[None]:
        """While it is open, all networks are in evaluation mode; then each layer is as it was."""
        return in_mode(self.networks.values(), training=False)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a trial needs to go on from here, by reference.

        The states of torch's global generators are part of it, for layers such as dropout.
        """
        groups: dict[str, Mapping[str, Any]] = {
            "networks": self.networks,
            "optimisers": self.optimisers,
            "schedules": self.schedules,
        }
        state: dict[str, Any] = {
            kind: {name: part.state_dict() for name, part in group.items()}
            for kind, group in groups.items()
        }
        device = self.setting.launcher.device
        return state | {
            "memory": dict(self.memory),
            "step": self.step,
            "updates": dict(self.updates),
            "generator": torch.get_rng_state(),
            "device generator": (
                torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)
            ),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called."""
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        for name, schedule in self.schedules.items():
            schedule.load_state_dict(state["schedules"][name])
        self.memory = {name: tensor.clone() for name, tensor in state["memory"].items()}
        self.step = state["step"]
        self.updates = Counter(state["updates"])
        torch.set_rng_state(state["generator"])
        device = self.setting.launcher.device
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["device generator"], device)
