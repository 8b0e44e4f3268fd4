from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vicinal.models.averaging import EMATwin, cosine_momentum, warming_momentum


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def moved(model: nn.Module, by: float) -> nn.Module:
    """The model with another weight, other statistics and another count everywhere."""
    other = copy.deepcopy(model)
    for tensor in other.state_dict().values():
        tensor += int(4 * by) if tensor.dtype == torch.int64 else by
    return other


def test_weights_are_the_average_with_the_momentum_of_each_update() -> None:
    model = network()
    twin = EMATwin(model)
    first, second = moved(model, 1.0), moved(model, 2.0)
    twin.update(first, 0.75)
    twin.update(second, 0.5)
    # 0.5 (0.75 w + 0.25 (w + 1)) + 0.5 (w + 2)
    for name, own in twin.network.state_dict().items():
        if own.is_floating_point():
            torch.testing.assert_close(own, model.state_dict()[name] + 1.125)
        else:
            assert own == second.state_dict()[name]


def test_momentum_0_copies_and_1_keeps() -> None:
    model = network()
    twin = EMATwin(model)
    twin.update(moved(model, 1.0), 1.0)
    torch.testing.assert_close(twin.network[0].weight, model[0].weight, rtol=0, atol=0)
    twin.update(moved(model, 1.0), 0.0)
    torch.testing.assert_close(twin.network[0].weight, model[0].weight + 1, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("statistics", "mean", "count"), [("average", 0.5, 4), ("copy", 1.0, 4), ("own", 0.0, 0)]
)
def test_statistics_of_normalisation_follow_as_asked(
    statistics: str, mean: float, count: int
) -> None:
    model = network()
    twin = EMATwin(model, statistics=statistics)  # type: ignore[arg-type]
    twin.update(moved(model, 1.0), 0.5)
    norm = twin.network[1]
    assert norm.running_mean.tolist() == [mean] * 3
    assert norm.num_batches_tracked == count


def test_the_twin_shares_nothing_with_the_model_and_takes_no_gradient() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    twin = EMATwin(model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    twin.update(moved(model, 1.0), 0.0)
    assert all(torch.equal(before[name], own) for name, own in model.state_dict().items())
    x = torch.ones(2, 4, requires_grad=True)
    twin(x).sum().backward()  # what is in front of it may learn through it
    assert x.grad is not None
    assert all(parameter.grad is None for parameter in twin.parameters())


def test_types_of_weights_may_differ_within_a_network() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).bfloat16())
    twin = EMATwin(model)
    twin.update(moved(model, 1.0), 0.5)
    assert twin.network[1].weight.dtype == torch.bfloat16
    torch.testing.assert_close(twin.network[0].weight, model[0].weight + 0.5)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_a_momentum_outside_of_0_to_1_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\]"):
        EMATwin(network()).update(network(), momentum)


def test_the_warming_momentum_is_that_of_tensorflow() -> None:
    assert warming_momentum(0, highest=0.9999) == pytest.approx(0.1)
    assert warming_momentum(80, highest=0.9999) == pytest.approx(0.9)
    assert warming_momentum(10**6, highest=0.9999) == 0.9999


def test_the_cosine_momentum_starts_ends_and_is_in_the_middle_halfway() -> None:
    values = [cosine_momentum(done, start=0.9, end=1.0) for done in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([0.9, 0.95, 1.0])
