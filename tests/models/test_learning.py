"""The models learn real data with the plainest of loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vicinal.models.build import build_model

Data = tuple[Tensor, Tensor, Tensor, Tensor]


def halves(x: Tensor, y: Tensor) -> Data:
    """Standardised by the training half: training inputs and labels, then held-out ones."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, test = order.chunk(2)
    mean, spread = x[train].mean(0), x[train].std(0) + 1e-3
    return (x[train] - mean) / spread, y[train], (x[test] - mean) / spread, y[test]


def digits() -> Data:
    data = sklearn.datasets.load_digits()
    return halves(torch.tensor(data.images).float()[:, None], torch.tensor(data.target))


def breast_cancer() -> Data:
    data = sklearn.datasets.load_breast_cancer()
    return halves(torch.tensor(data.data).float(), torch.tensor(data.target))


def accuracy(name: str, data: Data, *, epochs: int, rate: float, flip: bool = False) -> float:
    """Held-out accuracy after training with AdamW and a cosine, in batches of 32."""
    x, y, x_test, y_test = data
    model = build_model(name, input_shape=tuple(x.shape[1:]), outputs=int(y.max()) + 1, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    steps = epochs * (len(y) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        order = torch.randperm(len(y), generator=generator)
        for rows in order[: len(y) // 32 * 32].split(32):
            mirrored = flip and bool(torch.rand((), generator=generator) < 0.5)
            batch = x[rows].flip(-1) if mirrored else x[rows]
            functional.cross_entropy(model(batch), y[rows]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    model.eval()
    with torch.no_grad():
        output = torch.cat([model(some) for some in x_test.split(500)])
    return float((output.argmax(1) == y_test).double().mean())


def test_small_resnet_reads_digits_after_three_passes_over_900() -> None:
    assert accuracy("small-resnet", digits(), epochs=3, rate=5e-3) > 0.95


def test_mlp_tells_tumours_apart_after_ten_passes() -> None:
    assert accuracy("mlp", breast_cancer(), epochs=10, rate=1e-3) > 0.94


def test_small_vit_reads_digits() -> None:
    # With positions of the usual size, 0.02, it does not get there in so few passes.
    assert accuracy("small-vit:width=64", digits(), epochs=5, rate=3e-3) > 0.85


@pytest.mark.slow
def test_small_resnet_sees_half_of_cifar10_from_2000_images(shared_data: Path) -> None:
    folder = shared_data / "cifar10-folder"
    classes = sorted(path.name for path in (folder / "train").iterdir())

    def read(part: str) -> tuple[Tensor, Tensor]:
        files = [path for name in classes for path in sorted((folder / part / name).iterdir())]
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
        labels = [classes.index(path.parent.name) for path in files]
        return torch.tensor(pixels).permute(0, 3, 1, 2).float(), torch.tensor(labels)

    (x, y), (x_test, y_test) = read("train"), read("test")
    mean, spread = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    data = ((x - mean) / spread, y, (x_test - mean) / spread, y_test)
    assert accuracy("small-resnet", data, epochs=12, rate=5e-3, flip=True) > 0.45
