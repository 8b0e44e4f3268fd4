"""Augmentations that are no functions of their params are found out."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from vicinal import Batch, Draws
from vicinal.mixers.interpolate import Mixup, MixupParams


class DrawsInApply(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        noise = np.random.default_rng().standard_normal(mixed.tensor.shape)
        return mixed.replace(x=mixed.tensor + torch.from_numpy(noise).to(mixed.tensor.dtype))


class SamplesByTheClock(Mixup):
    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return super().sample(batch, Draws(random.SystemRandom().getrandbits(60), batch.index))


class CallsOtherwise(Mixup):
    def augment(self, batch: Batch, draws: Draws) -> tuple[Batch, Any]:
        return super().augment(batch, draws.within("augment"))


class NeedsLabels(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        assert batch.target is not None
        return super().apply(batch, params)


class WritesIntoItsInput(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        batch.tensor.copy_(mixed.tensor)
        return batch.replace(target=mixed.target)


class WritesIntoItsParams(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        params.kept.zero_()
        return mixed


class ReadsTheGlobalGenerator(Mixup):
    """Gives the numbers back, so that only reading is left to be found."""

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        with torch.random.fork_rng():
            return mixed.replace(x=mixed.tensor + torch.rand(()).to(mixed.tensor.dtype))


class SeedsTheGlobalGenerators(Mixup):
    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        np.random.seed(0)
        return super().sample(batch, draws)


class Counts(Mixup):
    def __init__(self, alpha: float = 1.0, *, scope: Any = "sample") -> None:
        super().__init__(alpha, scope=scope)
        self.calls = 0

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        self.calls += 1
        return super().sample(batch, draws)


def test_a_component_in_order_breaks_nothing(broken: Any) -> None:
    assert broken(Mixup()) == set()


def test_drawing_in_apply_is_found(broken: Any) -> None:
    found = broken(DrawsInApply())
    assert {"same_params_give_the_same_result", "global_random_state_is_not_read"} <= found
    assert "same_seed_gives_the_same_params" not in found


def test_sampling_from_elsewhere_than_the_draws_is_found(broken: Any) -> None:
    found = broken(SamplesByTheClock())
    assert "same_seed_gives_the_same_params" in found
    assert "same_params_give_the_same_result" not in found


def test_a_call_that_is_not_sample_and_apply_is_found(broken: Any) -> None:
    assert broken(CallsOtherwise()) == {"a_call_samples_and_applies"}


def test_not_working_without_labels_is_found(broken: Any) -> None:
    assert broken(NeedsLabels()) == {"a_call_samples_and_applies"}


def test_writing_into_the_input_is_found(broken: Any) -> None:
    assert "input_is_left_as_it_is" in broken(WritesIntoItsInput())


def test_writing_into_the_params_is_found(broken: Any) -> None:
    assert "input_is_left_as_it_is" in broken(WritesIntoItsParams())


def test_reading_the_global_random_state_is_found(broken: Any) -> None:
    found = broken(ReadsTheGlobalGenerator())
    assert "global_random_state_is_not_read" in found
    assert "global_random_state_is_not_touched" not in found


def test_touching_a_global_random_state_is_found(broken: Any) -> None:
    assert broken(SeedsTheGlobalGenerators()) == {"global_random_state_is_not_touched"}


def test_changing_an_attribute_is_found(broken: Any) -> None:
    assert "attributes_stay_as_they_are" in broken(Counts())


def test_the_checks_leave_the_users_random_states_as_they_were(broken: Any) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    broken(SeedsTheGlobalGenerators())
    broken(Mixup())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2][1])
