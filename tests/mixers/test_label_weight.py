"""Labels whose weight is not their samples'."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal import Batch, ClassTarget, Draws, Mixer, RegressionTarget, SoftTarget, Target
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.k_way import KWayMixup
from vicinal.mixers.label_weight import LabelWeight
from vicinal.mixers.paste import CutMix


def some(rows: int = 8) -> Batch:
    x = torch.randn(rows, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    return Batch(x=x, target=Target.of(torch.arange(rows)), index=torch.arange(rows) * 10)


def dense(batch: Batch) -> torch.Tensor:
    assert isinstance(batch.target, ClassTarget | SoftTarget)
    return batch.target.dense(8)


@pytest.mark.parametrize("mixer", [Mixup(), CutMix(), Mixup(scope="batch")], ids=repr)
def test_the_same_weight_is_the_mixer_bit_for_bit(mixer: Mixer) -> None:
    batch = some()
    draws = Draws(3, batch.index)
    plain = mixer.apply(batch, mixer.sample(batch, draws))
    for weight in ("same", lambda kept: kept):
        decoupled = LabelWeight(mixer, weight)
        mixed, _ = decoupled.augment(batch, draws)
        assert torch.equal(mixed.x, plain.x)
        torch.testing.assert_close(dense(mixed), dense(plain))
    same = LabelWeight(mixer, "same").augment(batch, draws)[0]
    assert same.target is not None
    assert same.target.equal(plain.target)


@given(seed=st.integers(0, 10**6), weight=st.floats(0, 1), power=st.floats(0.1, 8))
def test_weights_sum_to_one_and_inputs_are_mixed_as_before(
    seed: int, weight: float, power: float
) -> None:
    batch, mixer = some(), CutMix()
    draws = Draws(seed, batch.index)
    plain = mixer.augment(batch, draws)[0]
    for g in (weight, lambda kept: kept**power):
        mixed = LabelWeight(mixer, g).augment(batch, draws)[0]
        torch.testing.assert_close(dense(mixed).sum(dim=1), torch.ones(8))
        assert torch.equal(mixed.x, plain.x)


def test_a_number_is_the_weight_of_the_label_that_is_kept_the_most() -> None:
    params = MixupParams(torch.tensor([10, 0, 30, 20]), torch.tensor([0.9, 0.5, 0.4, 0.1]))
    mixed = LabelWeight(Mixup(), 0.7).apply(some(4), params)
    wanted = torch.zeros(4, 8)
    wanted[torch.arange(4), torch.arange(4)] = torch.tensor([0.7, 0.7, 0.3, 0.3])
    wanted[torch.arange(4), torch.tensor([1, 0, 3, 2])] = torch.tensor([0.3, 0.3, 0.7, 0.7])
    torch.testing.assert_close(dense(mixed), wanted)


def test_at_one_partners_are_noise_under_a_hard_label() -> None:
    batch = some()
    mixed, params = LabelWeight(Mixup(), 1.0).augment(batch, Draws(0, batch.index))
    assert isinstance(params, MixupParams)
    label = torch.where(params.kept >= 0.5, batch.index, params.partner) // 10
    assert torch.equal(dense(mixed), torch.eye(8)[label])
    assert not torch.equal(mixed.x, batch.x)


def test_a_function_sees_the_area_that_a_box_leaves() -> None:
    batch, mixer = some(), CutMix()
    draws = Draws(1, batch.index)
    plain = dense(mixer.augment(batch, draws)[0])
    squared = dense(LabelWeight(mixer, torch.square).augment(batch, draws)[0])
    own = torch.arange(8)
    strangers = mixer.sample(batch, draws).partner != batch.index
    assert strangers.sum() > 3
    torch.testing.assert_close(
        squared[own, own][strangers], plain[own, own][strangers].square(), atol=1e-6, rtol=1e-5
    )


def test_partners_from_a_pool_and_other_kinds_of_target() -> None:
    whole = some()
    batch = whole[:3].replace(target=RegressionTarget(torch.tensor([1.0, 2.0, 3.0])))
    pool = whole.replace(target=RegressionTarget(torch.arange(8.0) * 100))
    params = MixupParams(torch.tensor([70, 60, 50]), torch.full((3,), 0.6))
    mixed = LabelWeight(Mixup(), 0.5).apply(batch.replace(pool=pool), params)
    assert isinstance(mixed.target, RegressionTarget)
    torch.testing.assert_close(mixed.target.values, torch.tensor([350.5, 301.0, 251.5]))
    assert mixed.pool is not None
    assert mixed.pool.target is not None
    assert mixed.pool.target.equal(pool.target)


def test_it_needs_no_labels() -> None:
    x = torch.randn(4, 3)
    batch = Batch.of(x)
    draws = Draws(0, batch.index)
    alone = LabelWeight(Mixup(), 0.8).augment(batch, draws)[0]
    assert torch.equal(alone.x, Mixup().augment(batch, draws)[0].x)
    assert alone.target is None


def test_what_has_no_two_labels_is_refused() -> None:
    batch = some()
    for mixer in (KWayMixup(3), RandomChoice([Mixup(), CutMix()])):
        with pytest.raises(ValueError, match="one partner"):
            LabelWeight(mixer, 0.5)(batch)
    with pytest.raises(ValueError, match=r"weight must be in \[0, 1\], got 1.5"):
        LabelWeight(Mixup(), 1.5)
    with pytest.raises(ValueError, match="'same', a number or a function"):
        LabelWeight(Mixup(), "other")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'same', a number or a function"):
        LabelWeight(Mixup(), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights in \[0, 1\]"):
        LabelWeight(Mixup(), lambda kept: kept * 2)
    with pytest.raises(ValueError, match="a weight for every one"):
        LabelWeight(Mixup(), torch.mean)
    with pytest.raises(TypeError, match="mixer must be a mixer"):
        LabelWeight(torch.nn.ReLU())  # type: ignore[arg-type]
