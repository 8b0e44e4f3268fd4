"""The cost of choosing partners by the distance of labels.

    python benchmarks/pairing.py [--quick] [--threads N] [--patience SECONDS]

Preparing happens once a training, choosing once a batch. The authors of C-Mixup prepare a table of
N x N chances: beside ours stands the same table in one expression, at an N that it can be had for.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from report import finish, options, table
from timing import Row, side_by_side

SAMPLES = 256
SIZES = (5_000, 50_000, 500_000)
#: Rows of the table: 200 MB.
DENSE = 5_000


def labels(count: int, width: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, width, generator=generator)


def preparing(count: int, width: int = 1) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        from vicinal import Batch, RegressionTarget
        from vicinal.mixers.label_kernel import LabelKernel

        y = labels(count, width)
        data = Batch.of(y, RegressionTarget(y))
        return lambda: LabelKernel().fit(data)

    return build


def dense() -> Callable[[], object]:
    y = labels(DENSE).double()
    return lambda: (-(((y - y.T) / 0.25) ** 2) / 2).softmax(dim=1)


def choosing(count: int, width: int = 1) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        from vicinal import Batch, Draws, RegressionTarget
        from vicinal.mixers.label_kernel import LabelKernel

        y = labels(count, width)
        data = Batch.of(y, RegressionTarget(y))
        pairing = LabelKernel().fit(data)
        batch = data[torch.arange(SAMPLES) * (count // SAMPLES)]
        return lambda: pairing.partner(batch, Draws(0, batch.index))

    return build


def permuting() -> Callable[[], object]:
    from vicinal import Batch, Draws
    from vicinal.mixers.pairing import Permutation

    batch = Batch.of(labels(SAMPLES))
    return lambda: Permutation().partner(batch, Draws(0, batch.index))


def main() -> None:
    chosen = options(__doc__)

    def timed(rows: list[Row], against: dict[str, str]) -> list[dict[str, object]]:
        return side_by_side(
            rows,
            rounds=3 if chosen.quick else 15,
            least=0.001 if chosen.quick else 0.01,
            patience=0.0 if chosen.quick else chosen.patience,
            against=against,
        )

    prepared = timed(
        [
            *(Row(f"{count:,} labels", preparing(count), "vicinal", "sorted") for count in SIZES),
            Row("50,000 labels of 3 numbers", preparing(50_000, 3), "vicinal", "shuffled"),
            Row(f"a table for {DENSE:,} labels", dense, "yardstick", "in one expression"),
        ],
        {"× 50,000": "50,000 labels"},
    )
    partners = timed(
        [
            *(Row(f"out of {count:,}", choosing(count), "vicinal") for count in SIZES),
            Row("out of 50,000, 3 numbers", choosing(50_000, 3), "vicinal", "4,096 looked at"),
            Row("a permutation of the batch", permuting, "vicinal", "what mixup does"),
        ],
        {"× 50,000": "out of 50,000"},
    )
    finish(
        chosen,
        [
            table("Preparing", prepared, text="The target is 100 ms for 50,000 labels."),
            table(f"Partners for {SAMPLES} samples", partners),
        ],
    )


if __name__ == "__main__":
    main()
