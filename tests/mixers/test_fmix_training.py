"""What training with FMix does, on real data."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.mixers.fmix import FMix


def photographs(data: Path, part: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images of CIFAR-10, standardised: (N, 3, 16, 16) and (N,)."""
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(data / "cifar10" / f"{part}.parquet").slice(0, count)
    images = [Image.open(io.BytesIO(one["bytes"])) for one in table["image"].to_pylist()]
    x = torch.from_numpy(np.stack([np.asarray(image) for image in images])).movedim(3, 1)
    return F.avg_pool2d((x.float() - 120) / 64, 2), torch.tensor(table["label"].to_pylist())


def recordings(data: Path, part: str, every: int) -> tuple[Tensor, Tensor]:
    """Spoken digits, cut to half a second: (N, 1, 4000) and (N,)."""
    from scipy.io import wavfile

    files = sorted((data / "spoken-digits" / part).rglob("*.wav"))[::every]
    waves = [wavfile.read(file)[1][:4000].astype(np.float32) for file in files]
    x = torch.stack([F.pad(torch.from_numpy(wave), (0, 4000 - len(wave))) for wave in waves])
    labels = torch.tensor([int(file.parent.name) for file in files])
    return (x / x.std(dim=1, keepdim=True).clamp(min=1e-3))[:, None], labels


def spectrograms(x: Tensor) -> Tensor:
    """(N, 1, 33, 32) logarithms of power."""
    window = torch.hann_window(64)
    power = torch.stft(x[:, 0], 64, hop_length=128, window=window, return_complex=True).abs()
    return (power.square() + 1e-2).log()[:, None]


def batches(count: int, epochs: int, seed: int, size: int = 100) -> Iterator[tuple[int, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for rows in torch.randperm(count, generator=generator).split(size):
            yield epoch, rows


def trained(
    model: nn.Module, x: Tensor, y: Tensor, mix: FMix | None, *, epochs: int, seed: int
) -> nn.Module:
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch, rows in batches(len(x), epochs, seed):
        batch = Batch.of(x[rows], y[rows]).replace(index=rows)
        if mix is not None:
            batch, _ = mix.augment(batch, Draws(seed, rows, epoch))
        assert batch.target is not None
        optimiser.zero_grad()
        batch.target.loss(model(batch.tensor)).backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy and negative log-likelihood."""
    output = model(x)
    return float((output.argmax(1) == y).float().mean()), float(F.cross_entropy(output, y))


def image_network(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Conv2d(48, 64, 3, stride=2, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


def wave_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 16, 32, stride=8),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 8, stride=4),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Conv1d(32, 48, 4, stride=2),
        nn.BatchNorm1d(48),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(192, 10),
    )


@pytest.mark.slow
def test_it_keeps_a_network_from_learning_photographs_by_heart(shared_data: Path) -> None:
    x, y = photographs(shared_data, "train", 1000)
    test_x, test_y = photographs(shared_data, "test", 1000)
    found = []
    for seed in range(3):
        for mix in (None, FMix()):
            torch.manual_seed(seed)
            model = image_network(3)
            model(x[:2])
            model = trained(model, x, y, mix, epochs=12, seed=seed)
            found.append((judged(model, x, y)[0], judged(model, test_x, test_y)[1]))
    plain, mixed = np.array(found[::2]), np.array(found[1::2])
    assert (plain[:, 0] > 0.98).all()
    assert (mixed[:, 0] < plain[:, 0] - 0.02).all()  # training accuracy on clean images
    assert (mixed[:, 1] < plain[:, 1]).all()  # likelihood of unseen ones


@pytest.mark.slow
@pytest.mark.parametrize("form", ["waveform", "spectrogram"])
def test_networks_learn_spoken_digits_with_it(shared_data: Path, form: str) -> None:
    x, y = recordings(shared_data, "train", 3)
    test_x, test_y = recordings(shared_data, "test", 1)
    torch.manual_seed(0)
    model = wave_network()
    if form == "spectrogram":
        x, test_x, model = spectrograms(x), spectrograms(test_x), image_network(1)
        model(x[:2])
    model = trained(model, x, y, FMix(), epochs=6, seed=0)
    assert judged(model, test_x, test_y)[0] > 0.4  # of ten
