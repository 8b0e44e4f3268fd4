"""What an augmentation or an objective may ask of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.modes import in_mode

When = Literal["before", "during"]


@dataclass(frozen=True)
class Probe(ABC):
    """A question to a network about every sample of a batch.

    Probes are values: two that are equal are asked once and share the answer.

    when: `before` costs a pass of its own over the unmixed batch; `during` listens to the forward
        pass that training does anyway, so that its answer is there for the objective and not for
        `sample`.
    network: which of the method's networks is asked; `model` is the one in training.
    training: whether that network is in training mode while it answers a question of its own.
    """

    when: When = "before"
    network: str = "model"
    training: bool = False

    @abstractmethod
    def require(self, model: nn.Module) -> None:
        """Raise a one-line ValueError if the model cannot answer. Called before training."""

    @abstractmethod
    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """The answer, by a pass of its own. Returns (B, ...), without gradients."""

    @abstractmethod
    def listen(
        self, model: nn.Module, heard: dict[Probe, Tensor]
    ) -> Iterable[torch.utils.hooks.RemovableHandle]:
        """Hook the model so that its next forward pass puts the answer into `heard`."""


def ask(probes: Iterable[Probe], networks: Mapping[str, nn.Module], batch: Batch) -> Batch:
    """The batch with the answers of all `before` probes as evidence, each question asked once."""
    evidence = dict(batch.evidence)
    for probe in probes:
        if probe.when != "before" or probe in evidence:
            continue
        network = networks[probe.network]
        with in_mode([network], training=probe.training):
            evidence[probe] = probe.answer(network, batch)
    return batch.replace(evidence=evidence) if len(evidence) > len(batch.evidence) else batch


@contextmanager
def listening(
    probes: Iterable[Probe], networks: Mapping[str, nn.Module]
) -> Iterator[dict[Probe, Tensor]]:
    """While it is open, forward passes answer all `during` probes. Yields the answers heard."""
    heard: dict[Probe, Tensor] = {}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for probe in dict.fromkeys(probes):
            if probe.when == "during":
                handles += probe.listen(networks[probe.network], heard)
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def answered_by_listening(probe: Probe, model: nn.Module, batch: Batch) -> Tensor:
    """What a probe that can listen hears in a pass of its own, for its `answer`. No gradients."""
    heard: dict[Probe, Tensor] = {}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        handles += probe.listen(model, heard)
        with torch.no_grad():
            model(batch.x)
    finally:
        for handle in handles:
            handle.remove()
    return heard[probe].detach()


@dataclass(frozen=True)
class Saliency(Probe):
    """How strongly the loss depends on each place of the input: the gradient's norm over channels.

    Source: Kim et al., Puzzle Mix, ICML 2020, section 3 (square root of the channels' mean square).
    """

    def require(self, model: nn.Module) -> None:
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("saliency needs a model with parameters in training")

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, ...) of the input's shape without its channels, in float32."""
        return self.of(self.gradient(model, batch))

    @staticmethod
    def of(gradient: Tensor) -> Tensor:
        """The saliency that a gradient means. gradient: (B, C, ...). Returns (B, ...)."""
        saliency: Tensor = gradient.square().mean(dim=1).sqrt()
        return saliency

    @staticmethod
    def gradient(model: nn.Module, batch: Batch) -> Tensor:
        """The gradient of each sample's loss along its input. Returns (B, C, ...) float32."""
        if batch.target is None:
            raise ValueError("saliency is the gradient of a loss: the batch needs a target")
        with torch.enable_grad():
            x = batch.tensor.detach().float().requires_grad_()
            loss = batch.target.loss(model(x), reduction="none").sum()
            (gradient,) = torch.autograd.grad(loss, x)
        return gradient

    def listen(
        self, model: nn.Module, heard: dict[Probe, Tensor]
    ) -> Iterable[torch.utils.hooks.RemovableHandle]:
        raise ValueError("saliency needs a backward pass of its own: ask it with when='before'")


@dataclass(frozen=True)
class Features(Probe):
    """The output of a layer. layer: the module's name, as in `model.named_modules()`."""

    layer: str = ""

    def require(self, model: nn.Module) -> None:
        if self.layer not in dict(model.named_modules()):
            names = ", ".join(name for name, _ in model.named_children())
            raise ValueError(f"the model has no layer {self.layer!r}; its top layers are {names}")

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, ...) the layer's output for the batch."""
        return answered_by_listening(self, model, batch)

    def listen(
        self, model: nn.Module, heard: dict[Probe, Tensor]
    ) -> Iterable[torch.utils.hooks.RemovableHandle]:
        def hear(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            heard[self] = output

        return [model.get_submodule(self.layer).register_forward_hook(hear)]
