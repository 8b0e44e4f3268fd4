"""A small task, and trials on it: the ground on which methods are held to their contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.compare.plan import Recipe
from vicinal.compare.training import Examples, Progress, train
from vicinal.compare.trial import Arena
from vicinal.core.method import Learner, Method, Part
from vicinal.core.task import Task
from vicinal.data.splits import Split

ROWS, HELD_OUT, BATCH_SIZE = 36, 8, 12
CLASSES = 3
#: Tried in turn until one of them has what the method needs.
MODELS = {
    "image": (
        "small-resnet:width=8",
        "small-vit:width=32:depth=3",
        "vit_tiny_patch16_224:patch_size=4:depth=2:embed_dim=48",
    ),
    "tabular": ("mlp",),
}

Observe = Callable[[Learner, Progress], None]


@dataclass(frozen=True)
class Ground:
    """A task of three kinds of bars, or of numbers, and a model for it.

    modality, kind: of the task.
    model: as `vicinal compare --model` takes it, or a function of the number of outputs.
    """

    modality: str
    kind: str
    model: str | Callable[[int], nn.Module]

    def task(self) -> Task:
        """Rows that can be learnt; the same ones in every call."""
        generator = torch.Generator().manual_seed(0)
        rows = ROWS + HELD_OUT
        labels = torch.arange(rows) % CLASSES
        if self.modality == "image":
            x = torch.randint(0, 80, (rows, 3, 16, 16), generator=generator).to(torch.uint8)
            for row, label in enumerate(labels.tolist()):
                x[row, :, :, 2 + 4 * label : 6 + 4 * label] += 120
        else:
            x = torch.randn(rows, 6, generator=generator)
            x[torch.arange(rows), labels] += 2
        regression = self.kind == "regression"
        y = labels + torch.rand(rows, generator=generator) if regression else labels
        return Task(
            name="bars",
            modality=self.modality,  # type: ignore[arg-type]
            kind=self.kind,  # type: ignore[arg-type]
            x=x,
            y=y,
            classes=() if regression else ("left", "middle", "right"),
        )

    def arena(self, *, seed: int = 0, epochs: int = 2, precision: str = "32-true") -> Arena:
        """What a trial hands to a method."""
        recipe = Recipe(
            model=self.model if isinstance(self.model, str) else "its own",
            model_fingerprint="",
            epochs=epochs,
            batch_size=BATCH_SIZE,
            optimiser="sgd",
            learning_rate=0.02,
            weight_decay=0.0,
            crop=2 if self.modality == "image" else 0,
            flip=False,
            folds=None,
            holdout=0.2,
            device="cpu",
            precision=precision,
            threads=1,
        )
        rows = torch.arange(ROWS + HELD_OUT)
        arena = Arena(self.task(), Split(rows[:ROWS], rows[ROWS:]), recipe, seed=seed)
        if not isinstance(self.model, str):
            build = self.model

            def make_model(outputs: int) -> nn.Module:
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    return build(outputs)

            arena.setting = dataclasses.replace(arena.setting, make_model=make_model)
        return arena

    def run(
        self,
        method: Method,
        *,
        seed: int = 0,
        epochs: int = 2,
        global_seed: int = 0,
        precision: str = "32-true",
        observe: Observe | None = None,
        state: Mapping[str, Any] | None = None,
        relabelled: Tensor | None = None,
        parts: Mapping[Part, Tensor] | None = None,
    ) -> tuple[Learner, Progress, Arena]:
        """Train through the one trainer, the global random state put back afterwards.

        Args:
            method: to be trained.
            seed: of the trial.
            epochs: of three steps.
            global_seed: of torch's global generator, which nothing but dropout may draw from.
            precision: as Lightning Fabric names it.
            observe: called after each epoch.
            state: of a learner, to go on from.
            relabelled: (N,) other labels for the rows.
            parts: rows of a part that the method need not set apart.
        """
        arena = self.arena(seed=seed, epochs=epochs, precision=precision)
        examples = arena.examples
        if relabelled is not None:
            examples = Examples(examples.x, relabelled.to(examples.y.device))
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            learner, progress = train(
                method,
                arena.setting,
                examples,
                rows=arena.split.train,
                batch_size=BATCH_SIZE,
                epochs=epochs,
                observe=observe,
                state=state,
                parts=parts,
            )
        return learner, progress, arena


def weights(network: nn.Module) -> Tensor:
    """All parameters in one row."""
    return torch.cat([one.detach().float().flatten() for one in network.parameters()])


def everything(learner: Learner) -> dict[str, Tensor]:
    """All weights, statistics and memory of a learner, by name."""
    found = {f"memory {name}": tensor for name, tensor in learner.memory.items()}
    for name, network in learner.networks.items():
        found |= {f"{name} {key}": tensor for key, tensor in network.state_dict().items()}
    return found
