from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Batch, Draws
from vicinal.mixers.farthest import FarthestCycle, farthest_cycle
from vicinal.mixers.paste import CutMix


def cycle_from(follower: Tensor, start: int) -> list[int]:
    """The positions met from one on, until it is met again."""
    met = [start]
    while int(follower[met[-1]]) != start and len(met) <= len(follower):
        met.append(int(follower[met[-1]]))
    return met


@given(seed=st.integers(0, 2**31 - 1), count=st.integers(1, 40))
def test_it_is_one_cycle_through_all(seed: int, count: int) -> None:
    places = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    follower = farthest_cycle(torch.cdist(places, places))
    assert sorted(cycle_from(follower, 0)) == list(range(count))


@given(seed=st.integers(0, 2**31 - 1), count=st.integers(3, 12))
def test_it_starts_with_the_farthest_two_and_goes_on_to_the_farthest_left(
    seed: int, count: int
) -> None:
    places = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    distances = torch.cdist(places, places)
    follower = farthest_cycle(distances)
    first = int(distances.amax(dim=1).argmax())
    met = cycle_from(follower, first)
    assert distances[met[0], met[1]] == distances.max()
    for step, here in enumerate(met[:-1]):
        left = met[step + 1 :]
        assert distances[here, met[step + 1]] == distances[here, left].max()


def test_samples_alike_meet_each_other_once_as_well() -> None:
    follower = farthest_cycle(torch.zeros(7, 7))
    assert sorted(cycle_from(follower, 0)) == list(range(7))
    assert farthest_cycle(torch.zeros(0, 0)).shape == (0,)


def test_two_sides_of_a_line_take_turns() -> None:
    side = torch.tensor([0.0, 100.0]).repeat(5) + torch.rand(10)
    batch = Batch.of(side[:, None], torch.arange(10))
    partner = FarthestCycle().partner(batch, Draws(0, batch.index))
    assert ((side[partner] > 50) != (side > 50)).all()


def test_the_order_of_the_batch_leaves_no_trace_and_the_seed_draws_the_direction() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    index = torch.arange(100, 112)
    batch = Batch(x=x, target=None, index=index)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = Batch(x=x[order], target=None, index=index[order])
    pairing = FarthestCycle()
    partner = pairing.partner(batch, Draws(3, index))
    assert torch.equal(pairing.partner(shuffled, Draws(3, index[order])), partner[order])
    found = {tuple(pairing.partner(batch, Draws(seed, index)).tolist()) for seed in range(12)}
    assert len(found) == 2


def test_any_mixer_takes_it() -> None:
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(x, torch.arange(6))
    params = CutMix(pairing=FarthestCycle()).sample(batch, Draws(0, batch.index))
    assert len(cycle_from(params.partner, 0)) == 6


def test_inputs_that_are_not_finite_are_refused() -> None:
    x = torch.randn(4, 3)
    x[1, 2] = torch.nan
    batch = Batch.of(x)
    with pytest.raises(ValueError, match="NaN in the inputs"):
        FarthestCycle().partner(batch, Draws(0, batch.index))
