"""The cost of random numbers: everything that a mixer draws for a batch of 256 samples.

    python benchmarks/draws.py [--quick] [--threads N] [--patience SECONDS]

A row of vicinal makes `Draws` for the batch and samples all params of the augmentation: for CutMix
partners, shares, centres, and the boxes worked out from them. Beside it stand the same numbers from
generators that know no samples: one stream, whose numbers depend on everything drawn before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from report import finish, options, table
from timing import Row, side_by_side

SAMPLES = 256
SIDE = 32


def ours(name: str, **settings: float | str) -> Callable[[], Callable[[], object]]:
    def build() -> Callable[[], object]:
        import vicinal

        mix = getattr(vicinal, name)(**settings)
        batch = vicinal.Batch.of(torch.zeros(SAMPLES, 3, SIDE, SIDE))
        return lambda: mix.sample(batch, vicinal.Draws(0, batch.index))

    return build


def torch_stream(alpha: float, boxes: bool) -> Callable[[], Callable[[], object]]:
    """By torch's distributions; wrong at small alpha, where its Gammas underflow."""

    def call() -> object:
        partner = torch.randperm(SAMPLES)
        kept = torch.distributions.Beta(alpha, alpha).sample((SAMPLES,))
        if not boxes:
            return partner, kept
        half = ((1 - kept).sqrt()[:, None] * SIDE).long() // 2
        centre = torch.randint(SIDE, (SAMPLES, 2))
        return partner, (centre - half).clamp(min=0), (centre + half).clamp(max=SIDE)

    return lambda: call


def numpy_stream(alpha: float, boxes: bool) -> Callable[[], Callable[[], object]]:
    """By NumPy's generator."""
    generator = np.random.default_rng(0)

    def call() -> object:
        partner = generator.permutation(SAMPLES)
        kept = generator.beta(alpha, alpha, SAMPLES)
        if not boxes:
            return partner, kept
        half = (np.sqrt(1 - kept)[:, None] * SIDE).astype(np.int64) // 2
        centre = generator.integers(SIDE, size=(SAMPLES, 2))
        return partner, np.maximum(centre - half, 0), np.minimum(centre + half, SIDE)

    return lambda: call


def main() -> None:
    chosen = options(__doc__)
    rows = [
        Row("CutMix", ours("CutMix"), "vicinal", "partners, shares, boxes"),
        Row("CutMix, batch", ours("CutMix", scope="batch"), "vicinal", "one box for all"),
        Row("CutMix, alpha 0.2", ours("CutMix", alpha=0.2), "vicinal", "partners, shares, boxes"),
        Row("Mixup, alpha 1", ours("Mixup"), "vicinal", "partners, weights"),
        Row("Mixup, alpha 0.2", ours("Mixup", alpha=0.2), "vicinal", "partners, weights"),
        Row("torch's stream, CutMix", torch_stream(1.0, True), "yardstick"),
        Row("torch's stream, Mixup, alpha 0.2", torch_stream(0.2, False), "yardstick"),
        Row("NumPy's stream, CutMix", numpy_stream(1.0, True), "yardstick"),
        Row("NumPy's stream, Mixup, alpha 0.2", numpy_stream(0.2, False), "yardstick"),
    ]
    records = side_by_side(
        rows,
        rounds=3 if chosen.quick else 31,
        least=0.001 if chosen.quick else 0.01,
        patience=0.0 if chosen.quick else chosen.patience,
        against={"× CutMix": "CutMix"},
    )
    text = "The target is 0.150 ms for CutMix."
    finish(chosen, [table(f"All numbers for {SAMPLES} samples", records, text=text)])


if __name__ == "__main__":
    main()
