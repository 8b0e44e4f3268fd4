"""Small ground that stores are made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vicinal import Batch, Target
from vicinal.core.augmentation import Augmentation
from vicinal.data.reinforced import Teacher, reinforce
from vicinal.mixers.paste import CutMix
from vicinal.mixers.with_partners import WithPartners
from vicinal.policies.randaugment import RandAugment
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.sequence import Sequence

CLASSES = 12


def images(count: int = 40) -> Batch:
    """(N, 3, 8, 8) uint8 noise; the rows of the dataset are 100, 103, 106, ..."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    rows = torch.arange(count)
    return Batch(x=x, target=Target.of(rows % CLASSES), index=100 + 3 * rows)


def load(rows: Tensor) -> Batch:
    """Some of the images, as a dataset that loads them would give them."""
    return images()[(rows - 100) // 3].replace(pool=None)


def views() -> Sequence:
    """Crop, flip and two operations."""
    return Sequence([PadCrop(1), HorizontalFlip(), RandAugment()])


def mixtures() -> WithPartners:
    """CutMix of two such views."""
    return WithPartners(CutMix(), views())


def judge(x: Tensor) -> Tensor:
    """Probabilities that depend on every value of a sample."""
    flat = x.double().flatten(1)
    weight = torch.arange(flat.shape[1] * CLASSES).double().mul(0.7).sin()
    return (flat @ weight.view(-1, CLASSES) / 200).softmax(dim=1)


TEACHER = Teacher("a fixed one", "1", judge)


def write(folder: Path, augmentation: Augmentation | None = None, **options: Any) -> Path:
    """A store of the images: 3 records each, 16 rows of the dataset a shard."""
    settings = {"records": 3, "top_k": 5, "shard_rows": 16, "teacher": TEACHER} | options
    return reinforce(
        images(), folder, augmentation=views() if augmentation is None else augmentation, **settings
    )
