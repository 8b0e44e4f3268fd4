"""What joining scenes does to a network that learns which shapes keep company."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, Draws
from vicinal.core.element_target import ElementTarget
from vicinal.data.rooms import SHAPES, make_rooms
from vicinal.evaluate import evaluate
from vicinal.mixers.scene_union import SceneUnion
from vicinal.models.small_point_net import SmallPointNet

STEPS, ROOMS, BATCH = 700, 80, 8


def mean_iou(model: SmallPointNet, *, seed: int, swapped: bool) -> float:
    """On rooms that were not trained on."""
    position, labels = make_rooms(60, seed=seed, swapped=swapped)
    with torch.no_grad():
        output = model({"position": position})
    return evaluate("segmentation", output, labels, SHAPES).metrics["miou"]


def trained(mixer: SceneUnion, seed: int) -> SmallPointNet:
    position, labels = make_rooms(ROOMS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmallPointNet((0,), len(SHAPES))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, STEPS)
    for step in range(STEPS):
        rows = torch.randperm(ROOMS, generator=generator)[:BATCH]
        batch = Batch({"position": position[rows]}, ElementTarget(labels[rows]), rows, epoch=step)
        batch, _ = mixer.augment(batch, Draws(seed, rows, step))
        assert batch.target is not None
        loss = batch.target.loss(model(batch.x))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model


@pytest.mark.slow
def test_shapes_are_told_apart_in_company_that_they_never_kept() -> None:
    usual, unusual = [], []
    for seed in range(3):
        # The same centring and shifts, with the scenes left apart.
        alone, joined = (trained(SceneUnion(prob=prob), seed) for prob in (0.0, 1.0))
        for gains, swapped in ((usual, False), (unusual, True)):
            scores = [
                mean_iou(model, seed=(1 + swapped) * 1000 + seed, swapped=swapped)
                for model in (alone, joined)
            ]
            gains.append(scores[1] - scores[0])
    assert sum(unusual) / 3 >= 0.05
    assert sum(usual) / 3 >= -0.02
    assert min(unusual) > 0
