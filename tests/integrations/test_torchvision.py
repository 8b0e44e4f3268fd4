"""Where torchvision's own mixing stands."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from vicinal import CutMix, Draws, Mixup, RegressionTarget
from vicinal.integrations.torchvision import Mix, MixingCollate, dense

CLASSES = 5


def samples(rows: int = 12) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(rows, 3, 8, 8, generator=generator)
    return TensorDataset(x, torch.randint(CLASSES, (rows,), generator=generator))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_mixes_and_a_step_is_trained(workers: int) -> None:
    loader = DataLoader(
        samples(),
        batch_size=6,
        num_workers=workers,
        collate_fn=MixingCollate(CutMix(), num_classes=CLASSES),
    )
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, CLASSES))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[1].weight.detach().clone()
    for x, labels in loader:
        assert labels.shape == (6, CLASSES)
        torch.testing.assert_close(labels.sum(dim=1), torch.ones(6))
        optimiser.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimiser.step()
    assert not torch.equal(model[1].weight, before)


def test_it_stands_in_a_random_choice_of_torchvision() -> None:
    x, y = samples()[:]
    mix = v2.RandomChoice([Mix(Mixup(), num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)])
    mixed, labels = mix(x, y)
    assert mixed.shape == x.shape
    assert labels.shape == (12, CLASSES)


def test_labels_are_those_of_the_mixer() -> None:
    x, y = samples()[:]
    mix = Mix(CutMix(), num_classes=CLASSES, generator=torch.Generator().manual_seed(5))
    mixed, labels = mix(x, y)
    again = torch.Generator().manual_seed(5)
    expected, target = CutMix()(x, y, draws=Draws.from_generator(again, torch.arange(12)))
    assert torch.equal(mixed, expected)
    assert torch.equal(labels, target.dense(CLASSES))


def test_numbers_are_no_classes() -> None:
    with pytest.raises(TypeError, match="regression target has no labels"):
        dense(RegressionTarget(torch.zeros(2)), 3)
