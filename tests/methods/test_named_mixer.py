from __future__ import annotations

import pytest
import torch

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget
from vicinal.methods.named_mixer import MIXERS, named_mixer


@pytest.mark.parametrize("name", MIXERS)
def test_each_mixes_two_samples_of_the_batch_and_asks_nothing_of_a_model(name: str) -> None:
    mixer = named_mixer(name)
    assert mixer.card.name == name
    assert not any((mixer.probes, mixer.pooled, mixer.unfitted))
    batch = Batch.of(
        torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    )
    mixed, params = mixer.augment(batch, Draws(0, batch.index))
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.labels.shape == (6, 2)
    assert mixer.partners(params).shape == (6,)


def test_alpha_is_the_mixers_own_unless_it_is_given() -> None:
    assert named_mixer("saliencymix").settings()["alpha"] == 1.0
    assert named_mixer("saliencymix", 0.3).settings()["alpha"] == 0.3


def test_alpha_for_a_mixer_without_is_refused() -> None:
    with pytest.raises(ValueError, match="resizemix draws its share otherwise: leave alpha out"):
        named_mixer("resizemix", 0.3)
