"""What every augmentation can do by being one."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, Draws, Target
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.pairing import Permutation


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(6) % 3


def test_a_call_gives_what_it_was_given() -> None:
    x, y = pair()
    mix = Mixup()
    batch = Batch.of(x, y)
    draws = Draws(3, batch.index)
    whole = mix(batch, draws=draws)
    assert isinstance(whole, Batch)
    mixed, target = mix(x, y, draws=draws)
    assert torch.equal(mixed, whole.tensor)
    assert isinstance(target, Target)
    assert target.equal(whole.target)
    assert torch.equal(mix(x, draws=draws), mixed)
    assert torch.equal(mix(x, Target.of(y), draws=draws)[0], mixed)


def test_the_same_generator_gives_the_same_result_and_moves_on() -> None:
    x, _ = pair()
    generator = torch.Generator().manual_seed(1)
    first, second = Mixup()(x, generator=generator), Mixup()(x, generator=generator)
    assert not torch.equal(first, second)
    assert torch.equal(Mixup()(x, generator=torch.Generator().manual_seed(1)), first)


def test_without_a_source_torchs_global_generator_is_advanced_by_one_number() -> None:
    x, _ = pair()
    state = torch.get_rng_state()
    try:
        torch.manual_seed(4)
        first = Mixup()(x)
        after = torch.get_rng_state()
        torch.manual_seed(4)
        torch.randint(1 << 62, ())
        assert torch.equal(torch.get_rng_state(), after)
        torch.manual_seed(4)
        assert torch.equal(Mixup()(x), first)
    finally:
        torch.set_rng_state(state)


def test_two_sources_of_numbers_are_refused() -> None:
    x, _ = pair()
    with pytest.raises(ValueError, match="pass draws or generator, not both"):
        Mixup()(x, draws=Draws(0, torch.arange(6)), generator=torch.Generator())


def test_augmenting_gives_the_params_with_the_result() -> None:
    batch = Batch.of(*pair())
    result, params = Mixup().augment(batch, Draws(0, batch.index))
    assert isinstance(params, MixupParams)
    assert torch.equal(Mixup().apply(batch, params).tensor, result.tensor)


def test_settings_are_the_constructors_arguments() -> None:
    mix = Mixup(0.3, scope="batch")
    assert mix.settings() == {"alpha": 0.3, "scope": "batch", "pairing": Permutation()}
    assert repr(mix) == "Mixup(alpha=0.3, scope='batch', pairing=Permutation())"
    assert repr(eval(repr(mix))) == repr(mix)


def test_partners_may_be_looked_up_at_other_addresses() -> None:
    batch = Batch.of(*pair())
    mixed, params = Mixup().augment(batch, Draws(0, batch.index))
    elsewhere = batch.take(Mixup().partners(params)).replace(index=100 + torch.arange(6))
    moved = Mixup().readdressed(params, 100 + torch.arange(6))
    assert torch.equal(moved.kept, params.kept)
    again = Mixup().apply(batch.replace(pool=elsewhere), moved)
    assert torch.equal(again.tensor, mixed.tensor)
