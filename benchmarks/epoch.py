"""What training through `compare` costs beside the same loop written by hand in plain PyTorch.

    python benchmarks/epoch.py [--quick] [--threads N]

Both train a small ResNet on the same uint8 images of 32 x 32, in the same batches, with the same
optimiser and schedule; for `none` both crop and flip by the same functions, for `bare` by none. The
loops take turns, one epoch each: the loop by hand runs while the trainer waits for its observer to
come back. The trainer works under the deterministic kernels of a trial, the loop by hand without,
as people write it. Their weights must end equal to rounding, which shows that both did the same
work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from report import finish, options, table
from timing import Sample, clean_pairs, page_faults, paired_ratio, seconds_in_line, summary
from torch import Tensor

from vicinal.compare.plan import Recipe
from vicinal.compare.training import Progress, train
from vicinal.compare.trial import Arena, deterministic, make_schedule
from vicinal.core.augmentation import Augmentation
from vicinal.core.draws import Draws
from vicinal.core.method import Learner
from vicinal.core.task import Task
from vicinal.data.sampling import epoch_batches
from vicinal.data.splits import Split
from vicinal.methods.arms import parse_arm

SEED = 0
BATCH = 128


class Stopwatch:
    """Splits the time of this process into samples."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()
        self._waited, self._faults = seconds_in_line(), page_faults()

    def lap(self) -> Sample:
        """The time since the last restart."""
        seconds = time.perf_counter() - self._start
        return Sample(
            seconds=seconds,
            cpu=time.process_time() - self._cpu,
            waited=(seconds_in_line() - self._waited) / seconds,
            faults=page_faults() - self._faults,
        )


def images(count: int) -> Task:
    """Noise in the form of CIFAR-10: what the pixels show does not change the time."""
    generator = torch.Generator().manual_seed(SEED)
    return Task(
        name="noise",
        modality="image",
        kind="classification",
        x=torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
        y=torch.randint(10, (count,), generator=generator),
        classes=tuple("0123456789"),
        mirrors=True,
    )


def recipe(epochs: int, threads: int) -> Recipe:
    return Recipe(
        model="small-resnet",
        model_fingerprint="",
        epochs=epochs,
        batch_size=BATCH,
        optimiser="sgd",
        learning_rate=0.05,
        weight_decay=5e-4,
        crop=4,
        flip=True,
        folds=None,
        holdout=0.2,
        device="cpu",
        precision="32-true",
        threads=threads,
    )


def by_hand(arena: Arena, task: Task, augment: Augmentation | None) -> Callable[[int], Any]:
    """An epoch of plain PyTorch, to be called with its number. Returns the model's weights."""
    setting, chosen = arena.setting, arena.recipe
    model = setting.make_model(task.outputs).train()
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": chosen.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(groups, lr=chosen.learning_rate, momentum=0.9, nesterov=True)
    schedule = make_schedule(optimiser, setting.steps)
    everything = torch.arange(len(task))

    def epoch(number: int) -> dict[str, Tensor]:
        total = torch.zeros(())
        for rows in epoch_batches(everything, BATCH, seed=SEED, epoch=number):
            x, y = task.x[rows], task.y[rows]
            if augment is not None:
                x = augment(x, draws=Draws(SEED, rows, number).within("baseline"))
            loss = F.cross_entropy(model(setting.prepare(x)), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        return model.state_dict()

    return epoch


def compare(arm: str, *, count: int, epochs: int, threads: int) -> list[dict[str, Any]]:
    """Train through the trainer and by hand, epoch by epoch in turn. Returns a record of each."""
    task, everything = images(count), torch.arange(count)
    arena = Arena(task, Split(everything, everything[:BATCH]), recipe(epochs, threads), seed=SEED)
    hand = by_hand(arena, task, arena.setting.baseline if arm == "none" else None)
    ours, theirs, watch = [], [], Stopwatch()
    weights: dict[str, Tensor] = {}

    def observe(learner: Learner, progress: Progress) -> None:
        ours.append(watch.lap())
        torch.use_deterministic_algorithms(False)
        watch.restart()
        weights.update(hand(progress.epoch - 1))
        theirs.append(watch.lap())
        torch.use_deterministic_algorithms(True, warn_only=True)
        watch.restart()

    with deterministic(SEED, threads):
        learner, _ = train(
            parse_arm(arm).method(),
            arena.setting,
            arena.examples,
            rows=everything,
            batch_size=BATCH,
            epochs=epochs,
            observe=observe,
        )
    for name, value in learner.model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-4)
    # The first epoch of both allocates and warms up.
    mine, plain = clean_pairs(ours[1:], theirs[1:])
    facts = {"note": f"the {len(mine)} least disturbed of {epochs - 1} epochs"}
    return [
        {"name": "plain PyTorch", "kind": "yardstick", **facts, **summary(plain)}
        | {"ratios": {"× by hand": 1.0}},
        {"name": f"through compare, `{arm}`", "kind": "vicinal", **facts, **summary(mine)}
        | {"ratios": {"× by hand": paired_ratio(mine, plain)}},
    ]


def main() -> None:
    chosen = options(__doc__)
    count, epochs = (4 * BATCH, 3) if chosen.quick else (8 * BATCH, 16)
    tables = []
    for arm in ("bare", "none"):
        records = compare(arm, count=count, epochs=epochs, threads=chosen.threads)
        title = f"An epoch of {count} images, `{arm}`"
        tables.append(table(title, records, text="The target is at most 1.03 × by hand."))
    finish(chosen, tables)


if __name__ == "__main__":
    main()
