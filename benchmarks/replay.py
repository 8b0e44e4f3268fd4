"""The cost of replaying a reinforced dataset beside drawing the same augmentations afresh.

    python benchmarks/replay.py [--quick] [--threads N] [--patience SECONDS]

A row of vicinal draws which records are replayed, applies their params to a batch of CIFAR's size,
and makes the soft labels of what the teacher said; partners of mixed records are taken from all
rows, and transformed. A yardstick draws params for the batch and applies them; its partners are
those of the batch, transformed once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import torch
from report import finish, options, table
from timing import Row, side_by_side

from vicinal.compare.memory import keep_freed_memory
from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import Target
from vicinal.data.reinforced import ReinforcedStore, Replay, Teacher, reinforce
from vicinal.mixers.paste import CutMix
from vicinal.mixers.with_partners import WithPartners
from vicinal.policies.randaugment import RandAugment
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.sequence import Sequence

ROWS, SAMPLES, CLASSES, RECORDS = 2000, 128, 10, 5


def data() -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (ROWS, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Batch.of(x, Target.of(torch.arange(ROWS) % CLASSES))


def judge(x: torch.Tensor) -> torch.Tensor:
    means = x.float().mean(dim=(2, 3)) / 20
    return torch.cat([means, -means, means[:, :1].expand(-1, CLASSES - 6)], dim=1).softmax(dim=1)


def fresh(augmentation: Augmentation) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        batch = data()[torch.arange(0, 10 * SAMPLES, 10)].replace(pool=None)
        return lambda: augmentation.augment(batch, Draws(0, batch.index, 3))

    return build


def replayed(
    augmentation: Augmentation, prob: float, usual: Augmentation
) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        with tempfile.TemporaryDirectory() as folder:
            teacher = Teacher("made up", "1", judge)
            reinforce(data(), folder, augmentation=augmentation, teacher=teacher, records=RECORDS)
            replay = Replay(ReinforcedStore(folder), prob=prob, ordinary=usual)
        batch = data()[torch.arange(0, 10 * SAMPLES, 10)]
        return lambda: replay.augment(batch, Draws(0, batch.index, 3))

    return build


def main() -> None:
    chosen = options(__doc__)
    keep_freed_memory()  # as in a trial
    usual = Sequence([PadCrop(4), HorizontalFlip()])
    views = Sequence([*usual.parts, RandAugment()])
    kinds: dict[str, Augmentation] = {
        "crop, flip": usual,
        "crop, flip, RandAugment": views,
        "these and CutMix": WithPartners(CutMix(), views),
    }
    tables = []
    for name, augmentation in kinds.items():
        rows = [
            Row("drawn afresh", fresh(augmentation), "yardstick"),
            Row("replayed", replayed(augmentation, 1.0, usual), "vicinal"),
            Row("replayed, 99 %", replayed(augmentation, 0.99, usual), "vicinal", "the rest usual"),
        ]
        records = side_by_side(
            rows,
            rounds=3 if chosen.quick else 31,
            least=0.001 if chosen.quick else 0.02,
            patience=0.0 if chosen.quick else chosen.patience,
            against={"× drawn afresh": "drawn afresh"},
        )
        text = "The target is 1.10 × drawing afresh."
        tables.append(table(f"{name}, {SAMPLES} images of 32 x 32", records, text=text))
    finish(chosen, tables)


if __name__ == "__main__":
    main()
