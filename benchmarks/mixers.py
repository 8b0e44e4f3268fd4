"""Mixing a batch of images and its labels: vicinal beside torchvision, timm and kornia.

    python benchmarks/mixers.py [--quick] [--threads N] [--patience SECONDS]

Every row takes a batch and class indices, draws, and returns both mixed in the form that
the library has: vicinal and kornia two labels and a weight, torchvision and timm dense [B, C]
targets. timm writes over its input, the others return new memory unless a row says otherwise. The
batches come from a ring that is larger than the caches of a core. The limit is a copy into memory
that is already there: one read and one write of the batch. vicinal's loops are compiled, as
with the extra `vicinal[compiled]`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from report import finish, options, table
from timing import Row, side_by_side
from torch import Tensor

#: Shape, classes, and batches in the ring.
SIZES = (((256, 3, 32, 32), 100, 24), ((64, 3, 224, 224), 1000, 3))

Batches = Iterator[tuple[Tensor, Tensor]]
Build = Callable[[], Callable[[], object]]


def ring(
    shape: tuple[int, ...], classes: int, length: int, dtype: torch.dtype = torch.float32
) -> Batches:
    """Batches in turn, without end."""
    generator = torch.Generator().manual_seed(0)
    scale = 255 if dtype == torch.uint8 else 1
    made = [
        (
            (torch.rand(shape, generator=generator) * scale).to(dtype),
            torch.randint(classes, shape[:1], generator=generator),
        )
        for _ in range(length)
    ]
    return itertools.cycle(made)


def copy(batches: Batches, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Build:
    def build() -> Callable[[], object]:
        kept = torch.empty(shape, dtype=dtype)
        return lambda: kept.copy_(next(batches)[0])

    return build


def clone(batches: Batches) -> Build:
    return lambda: lambda: next(batches)[0].clone()


def ours(batches: Batches, name: str, **settings: Any) -> Build:
    def build() -> Callable[[], object]:
        import vicinal

        mix = getattr(vicinal, name)(**settings)
        generator = torch.Generator().manual_seed(0)
        return lambda: mix(*next(batches), generator=generator)

    return build


def ours_kept(batches: Batches, name: str, **settings: Any) -> Build:
    """Into memory that was kept."""

    def build() -> Callable[[], object]:
        import vicinal

        mix = getattr(vicinal, name)(**settings)
        generator = torch.Generator().manual_seed(0)
        kept = torch.empty_like(next(batches)[0])
        return lambda: mix(*next(batches), generator=generator, out=kept)

    return build


def ours_in_place(batches: Batches, name: str, **settings: Any) -> Build:
    """Over the input."""

    def build() -> Callable[[], object]:
        import vicinal

        mix = getattr(vicinal, name)(**settings)
        generator = torch.Generator().manual_seed(0)

        def call() -> object:
            x, y = next(batches)
            return mix(x, y, generator=generator, out=x)

        return call

    return build


def our_rows(batches: Batches, name: str, own: str, shared: str) -> list[Row]:
    kept, over = "into kept memory", "in place"
    return [
        Row(f"vicinal {name}", ours(batches, name), "vicinal", own),
        Row(f"vicinal {name}, kept", ours_kept(batches, name), "vicinal", f"{own}; {kept}"),
        Row(f"vicinal {name}, batch", ours(batches, name, scope="batch"), "vicinal", shared),
        Row(
            f"vicinal {name}, batch, in place",
            ours_in_place(batches, name, scope="batch"),
            "vicinal",
            f"{shared}; {over}",
        ),
    ]


def torchvision_mixer(batches: Batches, name: str, classes: int) -> Build:
    def build() -> Callable[[], object]:
        from torchvision.transforms import v2

        mix = getattr(v2, name)(alpha=1.0, num_classes=classes)
        return lambda: mix(*next(batches))

    return build


def timm_mixer(batches: Batches, alphas: tuple[float, float], mode: str, classes: int) -> Build:
    def build() -> Callable[[], object]:
        from timm.data import Mixup

        mix = Mixup(*alphas, mode=mode, label_smoothing=0.0, num_classes=classes)
        return lambda: mix(*next(batches))

    return build


def kornia_mixer(batches: Batches, name: str, **settings: Any) -> Build:
    def build() -> Callable[[], object]:
        from kornia import augmentation

        mix = getattr(augmentation, name)(p=1.0, data_keys=["input", "class"], **settings)
        return lambda: mix(*next(batches))

    return build


def mixup_rows(batches: Batches, shape: tuple[int, ...], classes: int) -> list[Row]:
    own, shared = "a weight a sample", "one weight a batch"
    return [
        Row("copy_ into kept memory", copy(batches, shape), "limit", "1 read, 1 write"),
        Row("clone", clone(batches), "yardstick", "1 read, 1 write, new memory"),
        *our_rows(batches, "Mixup", own, shared),
        Row("torchvision v2 MixUp", torchvision_mixer(batches, "MixUp", classes), note=shared),
        Row("timm Mixup, batch", timm_mixer(batches, (1.0, 0.0), "batch", classes), note=shared),
        Row("timm Mixup, elem", timm_mixer(batches, (1.0, 0.0), "elem", classes), note=own),
        Row("kornia RandomMixUpV2", kornia_mixer(batches, "RandomMixUpV2"), note=own),
    ]


def cutmix_rows(batches: Batches, shape: tuple[int, ...], classes: int) -> list[Row]:
    own, shared = "a box a sample", "one box a batch"
    cut = kornia_mixer(batches, "RandomCutMixV2", use_correct_lambda=True)
    return [
        Row("copy_ into kept memory", copy(batches, shape), "limit", "1 read, 1 write"),
        Row("clone", clone(batches), "yardstick", "1 read, 1 write, new memory"),
        *our_rows(batches, "CutMix", own, shared),
        Row("torchvision v2 CutMix", torchvision_mixer(batches, "CutMix", classes), note=shared),
        Row("timm Mixup, batch", timm_mixer(batches, (0.0, 1.0), "batch", classes), note=shared),
        Row("timm Mixup, elem", timm_mixer(batches, (0.0, 1.0), "elem", classes), note=own),
        Row("kornia RandomCutMixV2", cut, note=own),
    ]


def bytes_rows(batches: Batches, shape: tuple[int, ...], name: str) -> list[Row]:
    own = "a draw a sample"
    return [
        Row(
            "copy_ into kept memory", copy(batches, shape, torch.uint8), "limit", "1 read, 1 write"
        ),
        Row(f"vicinal {name}", ours(batches, name), "vicinal", own),
        Row(f"vicinal {name}, kept", ours_kept(batches, name), "vicinal", f"{own}; kept memory"),
    ]


def main() -> None:
    chosen = options(__doc__)
    torch.manual_seed(0)  # of the peers, which draw from global generators
    tables = []
    for shape, classes, length in SIZES:
        batches = ring(shape, classes, length)
        for name, make in (("Mixup", mixup_rows), ("CutMix", cutmix_rows)):
            records = side_by_side(
                make(batches, shape, classes),
                rounds=3 if chosen.quick else 25,
                least=0.0 if chosen.quick else 0.01,
                patience=0.0 if chosen.quick else chosen.patience,
                against={"× limit": "copy_ into kept memory", "× vicinal": f"vicinal {name}"},
            )
            tables.append(table(f"{name}, float32 {list(shape)}", records))
        levels = ring(shape, classes, length, torch.uint8)
        for name in ("Mixup", "CutMix"):
            records = side_by_side(
                bytes_rows(levels, shape, name),
                rounds=3 if chosen.quick else 25,
                least=0.0 if chosen.quick else 0.01,
                patience=0.0 if chosen.quick else chosen.patience,
                against={"× limit": "copy_ into kept memory"},
            )
            tables.append(table(f"{name}, uint8 {list(shape)}", records))
    finish(chosen, tables)


if __name__ == "__main__":
    main()
