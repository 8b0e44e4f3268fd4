"""Small ground that recipes are trained on: images, networks, and the setting of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vicinal.compare.training import Examples, Progress, train
from vicinal.core.augmentation import Augmentation
from vicinal.core.method import Learner, Method, Part, Setting

CLASSES = 3
BATCH = 12

MakeNetwork = Callable[[int], nn.Module]
Observe = Callable[[Learner, Progress], None]


def images(count: int = 60) -> Examples:
    """(N, 1, 8, 8) uint8: class c has a bright bar two columns wide at column 1 + 2 c."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randint(0, 120, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.arange(count) % CLASSES
    for label in range(CLASSES):
        x[y == label, :, :, 1 + 2 * label : 3 + 2 * label] += 100
    return Examples(x, y)


def prepare(x: Tensor) -> Tensor:
    """Levels to floats around zero."""
    return (x.float() - 110) / 50


class ConvNet(nn.Module):
    """Convolutions with batch normalisation, dropout, and a linear head."""

    def __init__(self, outputs: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(128, outputs)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.features(x))
        return output


class TokenNet(nn.Module):
    """Sixteen patches of 2 x 2 and a class token, one attention, and a linear head."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, 17, 8) * 0.1)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.attention = nn.Softmax(dim=-1)  # (B, 17, 17): what a probe can hear
        self.head = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)  # (B, 16, 8)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.place
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2) / math.sqrt(8)
        tokens = tokens + self.attention(scores) @ self.value(tokens)
        output: Tensor = self.head(tokens[:, 0])
        return output


def make_setting(
    steps: int,
    *,
    seed: int = 0,
    network: MakeNetwork = ConvNet,
    momentum: float = 0.9,
    baseline: Augmentation | None = None,
) -> Setting:
    """What a trial of that many steps hands to a method."""
    fabric = Fabric(accelerator="cpu", devices=1)

    def make_model(outputs: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return network(outputs)

    def make_optimiser(parameters: Any) -> Optimizer:
        optimiser = torch.optim.SGD(parameters, lr=0.05, momentum=momentum)
        return fabric.setup_optimizers(optimiser)  # type: ignore[no-any-return]

    def make_schedule(optimiser: Optimizer, over: int) -> LambdaLR:
        inner = getattr(optimiser, "optimizer", optimiser)
        return LambdaLR(inner, lambda step: 1 - step / (over + 1))

    return Setting(
        modality="image",
        kind="classification",
        outputs=CLASSES,
        seed=seed,
        steps=steps,
        launcher=fabric,
        make_model=make_model,
        make_optimiser=make_optimiser,
        make_schedule=make_schedule,
        prepare=prepare,
        baseline=baseline,
    )


def run(
    method: Method,
    *,
    epochs: int = 3,
    seed: int = 0,
    torch_seed: int = 0,
    network: MakeNetwork = ConvNet,
    momentum: float = 0.9,
    examples: Examples | None = None,
    rows: Tensor | None = None,
    parts: Mapping[Part, Tensor] | None = None,
    observe: Observe | None = None,
    state: Mapping[str, Any] | None = None,
) -> tuple[Learner, Progress]:
    """Train a method through the trainer, five steps an epoch for sixty rows.

    torch_seed is of the global generator, which layers such as dropout draw from.
    """
    examples = images() if examples is None else examples
    rows = torch.arange(len(examples.y)) if rows is None else rows
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed)
        return train(
            method,
            make_setting(
                epochs * (len(rows) // BATCH), seed=seed, network=network, momentum=momentum
            ),
            examples,
            rows=rows,
            batch_size=BATCH,
            epochs=epochs,
            parts=parts,
            observe=observe,
            state=state,
        )


def weights(network: nn.Module) -> Tensor:
    """All parameters in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
