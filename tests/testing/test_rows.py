"""Augmentations whose params are not rows, or whose draws are not the samples', are found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vicinal import Batch, Draws, Params
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip
from vicinal.transforms.orbit import Orbit, OrbitParams


class Thawed(MixupParams):
    """Has a field that is no field: no dataclass was made of it."""

    def __init__(self, partner: Tensor, kept: Tensor) -> None:
        super().__init__(partner, kept)
        object.__setattr__(self, "more", kept)


class ForgetsTheDataclass(Mixup):
    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return Thawed(**vars(super().sample(batch, draws)))


class OneRowForAll(HorizontalFlip):
    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        return super().sample(batch, draws)[:1]

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return super().apply(batch, FlipParams(params.flipped[:1].expand(len(batch))))


@dataclass(frozen=True)
class NoiseParams(Params):
    noise: Tensor


class StoresNoise(HorizontalFlip):
    """Noise belongs into `apply`, expanded from a key."""

    def sample(self, batch: Batch, draws: Draws) -> Any:
        return NoiseParams(draws.normal("noise", shape=batch.tensor.shape[1:]))

    def apply(self, batch: Batch, params: Any) -> Batch:
        x = batch.tensor.float() + params.noise
        return batch.replace(x=x.to(batch.tensor.dtype))


class GoesByPosition(HorizontalFlip):
    """Turns the first sample around, whatever the params say of it."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return super().apply(batch, FlipParams(torch.arange(len(batch)) == 0))


class NamesPartnersByPosition(Mixup):
    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return super().sample(batch.replace(index=torch.arange(len(batch))), draws)

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        numbered = batch.replace(index=torch.arange(len(batch)), pool=None)
        return super().apply(numbered, params).replace(index=batch.index)


@dataclass(frozen=True)
class ComplexParams(Params):
    turn: Tensor


class StoresComplexNumbers(HorizontalFlip):
    """Arrow has none."""

    def sample(self, batch: Batch, draws: Draws) -> Any:
        return ComplexParams(torch.complex(draws.uniform("real"), draws.uniform("imaginary")))

    def apply(self, batch: Batch, params: Any) -> Batch:
        return super().apply(batch, FlipParams(params.turn.real < 0.5))


_PLACES: dict[int, FlipParams] = {}


class KeepsParamsElsewhere(HorizontalFlip):
    """Replays only in the process that sampled."""

    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        params = super().sample(batch, draws)
        _PLACES[id(params)] = params
        return params

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        nothing = FlipParams(torch.zeros(len(batch), dtype=torch.bool))
        return super().apply(batch, _PLACES.get(id(params), nothing))


class DrawsByPosition(HorizontalFlip):
    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        return super().sample(batch, Draws(0, torch.arange(len(batch))))


class LooksAround(HorizontalFlip):
    """Takes the mean of the batch away: a sample depends on its company."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        mean = batch.tensor.float().mean().to(batch.tensor.dtype)
        return super().apply(batch.replace(x=batch.tensor - mean), params)


class DrawsInTurn(HorizontalFlip):
    """Every number depends on how many there were before, as with a common generator."""

    def sample(self, batch: Batch, draws: Draws) -> FlipParams:
        turn = torch.Generator().manual_seed(int(draws.keys("seed")[0]))
        return FlipParams(torch.rand(len(batch), generator=turn) < 0.5)


def test_params_that_are_no_record_are_found(broken: Any) -> None:
    assert "params_are_a_frozen_record" in broken(ForgetsTheDataclass())


def test_params_without_a_row_for_each_sample_are_found(broken: Any) -> None:
    assert "params_are_a_frozen_record" in broken(OneRowForAll())


def test_params_that_grow_with_the_samples_are_found(broken: Any) -> None:
    assert "params_are_compact" in broken(StoresNoise())


def test_a_result_that_goes_by_position_is_found(broken: Any) -> None:
    found = broken(GoesByPosition())
    assert {"params_can_be_picked", "params_can_be_concatenated"} <= found


def test_partners_that_are_named_by_their_position_are_found(broken: Any) -> None:
    found = broken(NamesPartnersByPosition())
    assert {"params_can_be_picked", "params_can_be_concatenated"} <= found


def test_params_that_cannot_be_stored_are_found(broken: Any) -> None:
    assert broken(StoresComplexNumbers()) == {"params_survive_arrow"}


def test_params_that_replay_only_where_they_were_sampled_are_found(broken: Any) -> None:
    found = broken(KeepsParamsElsewhere())
    assert {"params_survive_arrow", "params_survive_safetensors", "params_can_be_picked"} <= found


def test_draws_that_belong_to_the_position_are_found(broken: Any) -> None:
    assert {"order_does_not_matter", "company_does_not_matter"} <= broken(DrawsByPosition())


def test_draws_from_a_generator_in_turn_are_found(broken: Any) -> None:
    assert {"order_does_not_matter", "company_does_not_matter"} <= broken(DrawsInTurn())


def test_a_transform_that_looks_at_other_samples_is_found(broken: Any) -> None:
    found = broken(LooksAround())
    assert "company_does_not_matter" in found
    assert "order_does_not_matter" not in found


def test_a_mixer_may_look_at_other_samples(broken: Any) -> None:
    assert broken(Mixup(scope="batch")) == set()


class TurnsByPosition(Orbit):
    """The versions of a sample begin with another one at every place in the batch."""

    def sample(self, batch: Batch, draws: Draws) -> OrbitParams:
        params = super().sample(batch, draws)
        place = torch.arange(len(batch)).repeat_interleave(len(self))
        return OrbitParams((params.member + place) % len(self), params.source)


class LosesTheSource(Orbit):
    """Rows go by their position in the batch, whatever the params say of their source."""

    def apply(self, batch: Batch, params: OrbitParams) -> Batch:
        place = torch.arange(len(params)) // len(self) % len(batch)
        return super().apply(batch, OrbitParams(params.member, batch.index[place]))


def test_several_rows_of_a_sample_are_held_to_the_contract_as_one_is(broken: Any) -> None:
    assert broken(Orbit("half_turn")) == set()
    assert broken(TurnsByPosition()) == {"order_does_not_matter"}
    assert "params_can_be_picked" in broken(LosesTheSource())
