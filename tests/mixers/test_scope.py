"""One draw for each sample against one for the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix

BATCHES, ROWS, CLASSES = 1000, 16, 4


def mixtures(mixer: Any) -> tuple[Tensor, Tensor]:
    """Of a thousand batches, the mean own weight, and the loss of a model that knows the classes.

    Its logits are how much it sees of each class, so that its loss follows the weights.
    """
    y = torch.arange(ROWS) % CLASSES
    x = torch.eye(CLASSES)[y][:, :, None, None].repeat(1, 1, 8, 8)
    batch = Batch.of(x, y)
    weights, losses = [], []
    for epoch in range(BATCHES):
        mixed, _ = mixer.augment(batch, Draws(1, batch.index, epoch))
        assert isinstance(mixed.target, ClassTarget)
        assert mixed.target.weights is not None
        weights.append(mixed.target.weights[:, 0].mean())
        losses.append(mixed.target.loss(6 * mixed.tensor.mean(dim=(2, 3))))
    return torch.stack(weights), torch.stack(losses)


@pytest.mark.parametrize("mixer", [Mixup, CutMix])
def test_both_scopes_weigh_alike_in_the_mean_and_samples_of_their_own_vary_less(mixer: Any) -> None:
    (own, own_losses), (shared, shared_losses) = (
        mixtures(mixer(1.0, scope=scope)) for scope in ("sample", "batch")
    )
    # Four standard errors of the mean of a thousand weights that are alike in a batch.
    assert abs(float(own.mean() - shared.mean())) < 4 * float(shared.std()) / BATCHES**0.5
    # Sixteen independent weights have a quarter of the spread of one.
    assert 0.2 < float(own.std() / shared.std()) < 0.32
    assert own_losses.var() < 0.8 * shared_losses.var()
