from __future__ import annotations

import pytest
from torch import nn

from vicinal.core.modes import in_mode


def network() -> nn.Sequential:
    """In training mode but for its first layer."""
    layers = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Sequential(nn.Linear(2, 2)))
    layers[0].eval()
    return layers


@pytest.mark.parametrize("training", [True, False])
def test_every_layer_is_in_the_mode_and_then_in_its_own_again(training: bool) -> None:
    layers = network()
    before = [layer.training for layer in layers.modules()]
    with in_mode([layers], training=training):
        assert all(layer.training == training for layer in layers.modules())
    assert [layer.training for layer in layers.modules()] == before
    assert before.count(False) == 1


def test_modes_come_back_after_an_error() -> None:
    layers = network()
    with pytest.raises(ZeroDivisionError), in_mode([layers], training=False):
        _ = 1 / 0
    assert layers.training
    assert not layers[0].training
