from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.mixers.sinkhorn import squared_distances, transport_plan


def costs(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def by_logarithms(cost: Tensor, iterations: int, epsilon: float = 0.1) -> Tensor:
    """The iteration as it is written in textbooks, in double precision."""
    kernel = cost.double() / -epsilon
    rows, columns = (-math.log(size) for size in cost.shape[1:])
    second = torch.zeros_like(kernel[:, :1])
    for _ in range(iterations):
        first = rows - (kernel + second).logsumexp(2, keepdim=True)
        second = columns - (kernel + first).logsumexp(1, keepdim=True)
    return (kernel + first + second).exp()


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("iterations", [1, 2, 6, 40])
def test_it_is_sinkhorns_iteration_where_elements_underflow_too(
    scale: float, iterations: int
) -> None:
    cost = costs(5, 9, 16, scale=scale)
    found = transport_plan(cost, iterations=iterations, tolerance=0)
    wanted = by_logarithms(cost, iterations)
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=0)


@given(seed=st.integers(0, 2**20), size=st.integers(1, 9), scale=st.floats(0, 30))
def test_every_place_has_the_same_weight(seed: int, size: int, scale: float) -> None:
    plan = transport_plan(costs(3, size, size, seed=seed, scale=scale), epsilon=1.0, tolerance=1e-4)
    even = torch.full((3, size), 1 / size)
    torch.testing.assert_close(plan.sum(1), even, atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.sum(2), even, atol=2e-3, rtol=0)
    assert (plan >= 0).all()


def test_with_little_entropy_it_is_the_cheapest_assignment() -> None:
    cost = costs(4, 5, 5, scale=5.0, seed=3)
    plan = transport_plan(cost, epsilon=0.005, iterations=3000, tolerance=0) * 5
    for row in range(4):
        best = min(
            itertools.permutations(range(5)),
            key=lambda order: sum(cost[row, at, to].item() for at, to in enumerate(order)),
        )
        assert plan[row].argmax(dim=1).tolist() == list(best)
        assert plan[row].amax(dim=1).min() > 0.8


def test_equal_costs_send_every_place_everywhere() -> None:
    plan = transport_plan(torch.full((2, 4, 6), 7.0))
    torch.testing.assert_close(plan, torch.full((2, 4, 6), 1 / 24))


def test_each_pair_stops_by_itself() -> None:
    cost = torch.cat([costs(1, 6, 6, scale=1.0), costs(1, 6, 6, scale=4.0, seed=3)])
    together = transport_plan(cost, tolerance=0.05)
    alone = torch.cat([transport_plan(one, tolerance=0.05) for one in cost.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-7, rtol=1e-5)
    # The first has stopped short of the end, though the second goes on.
    longer = transport_plan(cost, tolerance=0)
    assert not torch.allclose(together[0], longer[0], atol=1e-4, rtol=0)
    early = next(
        n
        for n in range(1, 50)
        if _same(transport_plan(cost[:1], iterations=n, tolerance=0), together[:1])
    )
    late = next(
        n
        for n in range(1, 50)
        if _same(transport_plan(cost[1:], iterations=n, tolerance=0), together[1:])
    )
    assert early < late


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-6, rtol=1e-5)


def test_no_gradient_flows_through_the_plan() -> None:
    assert not transport_plan(costs(2, 3, 3).requires_grad_()).requires_grad


def test_half_precision_is_computed_in_single() -> None:
    cost = costs(2, 4, 4, scale=20.0).bfloat16()
    found = transport_plan(cost)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, transport_plan(cost.float()).bfloat16())


def test_distances_are_those_of_all_places_to_all_others() -> None:
    generator = torch.Generator().manual_seed(5)
    one, other = (torch.randn(3, 7, size, generator=generator) for size in (4, 6))
    far = 1000.0  # what all have in common must not cost digits
    found = squared_distances(one + far, other + far)
    wanted = torch.stack(
        [
            torch.stack([(a[:, :, None] - b[:, None, :]).square().sum(0)])[0]
            for a, b in zip(one + far, other + far, strict=True)
        ]
    )
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert (squared_distances(one, one).diagonal(dim1=1, dim2=2) < 1e-5).all()
