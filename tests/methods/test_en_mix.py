"""Strong augmentation first, mixing second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.methods.ground import images, make_setting, prepare
from torch import Tensor

from vicinal import Batch, Draws, Mixup
from vicinal.data.read import read_task
from vicinal.methods.en_mix import EnMix, enhanced
from vicinal.mixers.interpolate import MixupParams
from vicinal.mixers.with_partners import WithPartnersParams
from vicinal.policies.trivialaugment import TrivialAugment
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.text.tfidf import TfIdfReplace


def rows(count: int) -> Batch:
    return images().batch(torch.arange(count), epoch=0)


def redone(params: WithPartnersParams, **mixing: Tensor) -> WithPartnersParams:
    """The same augmentation with other decisions of the mixer."""
    assert isinstance(params.mixing, MixupParams)
    return dataclasses.replace(params, mixing=dataclasses.replace(params.mixing, **mixing))


def test_all_the_weight_on_itself_gives_the_augmented_sample_bit_for_bit() -> None:
    mixer = enhanced(Mixup(), TrivialAugment(), PadCrop(1))
    batch = rows(12)
    params = mixer.sample(batch, Draws(0, batch.index))
    kept = mixer.apply(batch, redone(params, kept=torch.ones(12)))
    assert mixer.raw is not None
    assert params.own is not None
    augmented = mixer.raw.apply(batch, params.own)
    assert torch.equal(kept.x, augmented.tensor.float())
    assert not torch.equal(kept.x, batch.tensor.float())


def test_a_sample_that_meets_itself_is_a_mixture_of_two_views() -> None:
    mixer = enhanced(Mixup(), TrivialAugment(), PadCrop(1))
    batch = rows(30)
    params = mixer.sample(batch, Draws(0, batch.index))
    itself, half = batch.index, torch.full((30,), 0.5)
    mixed = mixer.apply(batch, redone(params, partner=itself, kept=half))
    first = mixer.apply(batch, redone(params, partner=itself, kept=torch.ones(30)))
    second = mixer.apply(batch, redone(params, partner=itself, kept=torch.zeros(30)))
    differ = (first.tensor != second.tensor).flatten(1).any(dim=1)
    assert differ.float().mean() > 0.8
    torch.testing.assert_close(mixed.x, (first.tensor + second.tensor) / 2)


def test_it_trains_on_mixtures_as_the_model_sees_them() -> None:
    method = EnMix(strong=PadCrop(1))
    learner = method.start(make_setting(5))
    batch = rows(12)
    seen, params = method.augmented(learner, batch)
    mixer = enhanced(Mixup(1.0), PadCrop(1), None)
    assert params is not None
    torch.testing.assert_close(seen.x, prepare(mixer.apply(batch, params).tensor))


def test_mixing_takes_photographs_further_from_what_was_stored_than_augmenting(
    shared_data: Path,
) -> None:
    task = read_task(str(shared_data / "cifar10-folder"))
    assert isinstance(task.x, Tensor)
    batch = Batch.of(task.x[:300], task.y[:300])

    def correlation(seen: Tensor) -> float:
        pairs = torch.stack([seen.float().flatten(1), batch.tensor.float().flatten(1)])
        centred = pairs - pairs.mean(dim=2, keepdim=True)
        one, other = centred / centred.norm(dim=2, keepdim=True).clamp(min=1e-6)
        return (one * other).sum(dim=1).abs().mean().item()

    draws = Draws(0, batch.index)
    augmented = TrivialAugment()(batch, draws=draws).tensor
    mixed = enhanced(Mixup(), TrivialAugment(), None)(batch, draws=draws).tensor
    assert correlation(mixed) < correlation(augmented) - 0.02
    assert correlation(augmented) < 0.99
    assert correlation(batch.tensor) == pytest.approx(1, abs=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="alpha must be in"):
        EnMix(0.0)
    with pytest.raises(ValueError, match="augments text data, and these are image"):
        EnMix(strong=TfIdfReplace()).start(make_setting(5))
