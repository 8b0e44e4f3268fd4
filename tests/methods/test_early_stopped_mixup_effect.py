"""Rare features are learnt from mixtures, early: the claim of early-stopped mixup, at its size.

The network and the data are those of the paper's theory: squares of linear filters summed over
patches, trained on all samples at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Draws
from vicinal.core.augmentation import Augmentation
from vicinal.data.rare_features import make_rare_features
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.label_weight import LabelWeight
from vicinal.policies.schedule import Until

SEEDS = range(3)
STEPS, STOP, SOON = 2000, 1200, 20
FILTERS, FIRST_SIZE, RATE = 6, 0.01, 0.15


class LeadingMixup(Mixup):
    """Mixup whose own sample has one half at least, or a fixed weight."""

    def __init__(self, kept: float | None = None) -> None:
        super().__init__()
        self.fixed = kept

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        partner = super().sample(batch, draws).partner
        kept = draws.uniform("leading", 0.5, 1.0)
        return MixupParams(partner, kept if self.fixed is None else kept.fill_(self.fixed))


class Filters(torch.nn.Module):
    """Each class has filters, whose squared answers are summed over all patches."""

    def __init__(self, dimensions: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first = torch.randn(2, FILTERS, dimensions, generator=generator)
        self.weight = torch.nn.Parameter(FIRST_SIZE * first)  # (classes, filters, D)

    def forward(self, x: Tensor) -> Tensor:
        answers = x.flatten(0, 1) @ self.weight.flatten(0, 1).T  # (N * P, classes * filters)
        return answers.square().view(*x.shape[:2], 2, FILTERS).sum(dim=(1, 3))


@dataclass(frozen=True)
class Outcome:
    """Of a training: share right on rare samples, loss on its own, the filters' rare part."""

    train: float
    rare: float
    nll: float
    aligned: float


def trained(seed: int, augmentation: Augmentation | None, steps: int = STEPS) -> Outcome:
    data = make_rare_features(seed=seed, features_seed=seed)
    judged = make_rare_features(1000, rare_share=1.0, seed=seed + 100, features_seed=seed)
    batch = Batch.of(data.x, data.labels)
    network = Filters(data.x.shape[2], seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE)
    for step in range(steps):
        seen = batch
        if augmentation is not None:
            moment = (
                augmentation.at(step / STEPS) if isinstance(augmentation, Until) else augmentation
            )
            seen, _ = moment.augment(batch, Draws(seed, batch.index, epoch=step))
        optimiser.zero_grad()
        assert seen.target is not None
        seen.target.loss(network(seen.x)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        assert batch.target is not None
        along = torch.einsum("krd,kd->kr", network.weight, data.rare_features).abs()
        return Outcome(
            train=(network(data.x).argmax(1) == data.labels).double().mean().item(),
            rare=(network(judged.x).argmax(1) == judged.labels).double().mean().item(),
            nll=batch.target.loss(network(data.x)).item(),
            aligned=along.amax(dim=1).mean().item(),
        )


@pytest.fixture(scope="module")
def plain() -> list[Outcome]:
    return [trained(seed, None) for seed in SEEDS]


@pytest.fixture(scope="module")
def mixed() -> list[Outcome]:
    return [trained(seed, LeadingMixup()) for seed in SEEDS]


@pytest.mark.slow
def test_mixtures_teach_rare_features_and_plain_training_does_not(
    plain: list[Outcome], mixed: list[Outcome]
) -> None:
    for one, other in zip(plain, mixed, strict=True):
        assert one.train == 1.0
        assert other.train == 1.0
        assert other.aligned >= 5 * one.aligned
    assert mean(one.rare for one in plain) <= 0.56
    assert mean(one.rare for one in mixed) >= 0.75


@pytest.mark.slow
def test_stopped_in_time_it_keeps_them_and_loses_the_loss(mixed: list[Outcome]) -> None:
    stopped = [trained(seed, Until(LeadingMixup(), STOP / STEPS)) for seed in SEEDS]
    for full, early in zip(mixed, stopped, strict=True):
        assert early.nll <= 0.005 < 0.02 < full.nll
        assert early.aligned >= 0.75 * full.aligned


@pytest.mark.slow
def test_stopped_too_soon_it_is_plain_training(plain: list[Outcome]) -> None:
    stopped = [trained(seed, Until(LeadingMixup(), SOON / STEPS)) for seed in SEEDS]
    for one, soon in zip(plain, stopped, strict=True):
        assert soon.aligned == pytest.approx(one.aligned, rel=0.1)
        assert soon.nll == pytest.approx(one.nll, rel=0.1)


@pytest.mark.slow
def test_labels_of_another_weight_than_the_samples_teach_them_as_well() -> None:
    decoupled = LabelWeight(LeadingMixup(0.5), 0.7)
    for seed in SEEDS:
        alone, found = (trained(seed, one, steps=800) for one in (None, decoupled))
        assert found.aligned >= 5 * alone.aligned
