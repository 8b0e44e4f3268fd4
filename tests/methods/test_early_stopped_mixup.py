"""Mixup that ends before training does."""

from __future__ import annotations

import pytest
import torch
from tests.methods.ground import images, make_setting, run, weights

from vicinal import Batch, ClassTarget
from vicinal.methods.early_stopped_mixup import EarlyStoppedMixup
from vicinal.methods.plain import Plain
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup


def augmented(method: EarlyStoppedMixup, step: int) -> tuple[Batch, Batch]:
    """A batch as plain training has it, and as the method does, in one of ten steps."""
    setting = make_setting(10)
    learner, plain = method.start(setting), Plain().start(setting)
    learner.step = plain.step = step
    batch = images().batch(torch.arange(12), epoch=0)
    return Plain().augmented(plain, batch)[0], method.augmented(learner, batch)[0]


@pytest.mark.parametrize("step", range(10))
def test_six_of_ten_steps_are_mixed_and_the_others_plain_bit_for_bit(step: int) -> None:
    plain, found = augmented(EarlyStoppedMixup(0.6), step)
    assert isinstance(found.target, ClassTarget)
    assert torch.equal(found.x, plain.x) == (step >= 6)
    assert (found.target.weights is None) == (step >= 6)
    assert found.target.equal(plain.target) == (step >= 6)


def test_to_the_end_it_is_mixup_and_from_the_start_plain_training() -> None:
    mixup = run(Supervised(prepared=Mixup(0.5)))[0].model
    full = run(EarlyStoppedMixup(1.0, alpha=0.5))[0].model
    assert torch.equal(weights(full), weights(mixup))
    none = run(EarlyStoppedMixup(0.0))[0].model
    assert torch.equal(weights(none), weights(run(Plain())[0].model))
    half = weights(run(EarlyStoppedMixup(0.5, alpha=0.5))[0].model)
    assert not torch.equal(half, weights(full))


def test_labels_may_have_a_weight_of_their_own() -> None:
    _, found = augmented(EarlyStoppedMixup(label_weight=0.9), 0)
    assert isinstance(found.target, ClassTarget)
    assert found.target.weights is not None
    shown = {round(weight, 5) for weight in found.target.weights.flatten().tolist()}
    assert shown == {0.9, 0.1}
    _, same = augmented(EarlyStoppedMixup(), 0)
    assert torch.equal(found.x, same.x)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="fraction must be in"):
        EarlyStoppedMixup(1.5)
    with pytest.raises(ValueError, match="alpha must be in"):
        EarlyStoppedMixup(alpha=0.0)
    with pytest.raises(ValueError, match="label_weight must be in"):
        EarlyStoppedMixup(label_weight=2.0)
