"""What training on mixtures does to calibration, beside what a temperature can do after it."""

from __future__ import annotations

import math
from statistics import mean

import pytest
import torch
from torch import Tensor, nn

from vicinal import Batch, Draws
from vicinal.core.augmentation import Mixer
from vicinal.data.class_noise import ClassNoise
from vicinal.data.embedded import digits
from vicinal.data.overlap_gaussians import make_overlap_gaussians
from vicinal.evaluate.temperature import TemperatureReport, with_and_without_temperature
from vicinal.mixers.interpolate import Mixup

SEEDS = range(3)
WIDTH = 128


def trained(
    x: Tensor, y: Tensor, mixer: Mixer | None, *, epochs: int, rows: int, seed: int
) -> nn.Module:
    """A perceptron with two hidden layers. Partners are from the whole epoch: one call mixes it."""
    classes = int(y.max()) + 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, classes),
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    whole = Batch.of(x, y)
    for epoch in range(epochs):
        seen = whole
        if mixer is not None:
            seen, _ = mixer.augment(whole, Draws(seed, whole.index, epoch))
        assert seen.target is not None
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for some in order.split(rows):
            optimiser.zero_grad()
            seen.target[some].loss(network(seen.tensor[some])).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network


def reports(
    x: Tensor, y: Tensor, *, judged: int, fitting: int, epochs: int, rows: int, seed: int
) -> tuple[TemperatureReport, TemperatureReport]:
    """Plain training and mixup, each as it is and with a temperature; the first rows are judged."""
    test, held, rest = slice(judged), slice(judged, judged + fitting), slice(judged + fitting, None)
    made = []
    for mixer in (None, Mixup()):
        network = trained(x[rest], y[rest], mixer, epochs=epochs, rows=rows, seed=seed)
        with torch.no_grad():
            made.append(
                with_and_without_temperature(
                    network(x[test]),
                    y[test],
                    fitting_logits=network(x[held]),
                    fitting_labels=y[held],
                )
            )
    return made[0], made[1]


@pytest.mark.slow
def test_where_clouds_overlap_a_temperature_gets_to_chance_and_mixup_needs_none() -> None:
    for seed in SEEDS:
        x, y = make_overlap_gaussians(0.01, seed=seed)
        plain, mixup = reports(x, y, judged=1000, fitting=400, epochs=60, rows=100, seed=seed)
        assert plain.raw.nll > 2.5
        assert plain.scaled.nll == pytest.approx(math.log(2), abs=0.02)
        assert mixup.raw.nll < 1.1
        assert mixup.raw.ece < 0.8 * plain.raw.ece


@pytest.mark.slow
def test_where_they_hardly_do_mixup_is_not_sure_enough() -> None:
    for seed in SEEDS:
        x, y = make_overlap_gaussians(0.25, count=2500, seed=seed)
        plain, mixup = reports(x, y, judged=500, fitting=200, epochs=60, rows=100, seed=seed)
        assert mixup.temperature < 0.6
        assert plain.temperature > 1.2


@pytest.mark.slow
def test_with_labels_that_overlap_mixup_is_calibrated_and_a_fitted_temperature_as_good() -> None:
    task = digits()
    levels = task.x.float().flatten(1)
    x = (levels - levels.mean()) / levels.std()
    made = []
    for seed in SEEDS:
        # All labels are noisy, those that are judged by too: it is their distribution that counts.
        noisy = ClassNoise.drawn(0.25, classes=10, seed=seed)(task.y, seed=seed)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        shuffled = x[order], noisy[order]
        made.append(reports(*shuffled, judged=600, fitting=180, epochs=75, rows=50, seed=seed))
    for plain, mixup in made:
        assert 0.19 < plain.raw.ece < 0.28
        assert mixup.raw.ece < plain.raw.ece / 2
        assert plain.raw.nll > 1.1
        assert mixup.raw.nll < 0.95
        assert 2 < plain.temperature < 4
        assert mixup.temperature == pytest.approx(1.0, abs=0.15)
    assert mean(mixup.raw.ece for _, mixup in made) < 0.1
    scaled = [[report.scaled.nll for report in both] for both in made]
    plain_nll, mixup_nll = (mean(both[at] for both in scaled) for at in (0, 1))
    assert plain_nll == pytest.approx(mixup_nll, abs=0.06)
