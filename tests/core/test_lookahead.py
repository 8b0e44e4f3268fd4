"""A step that is not taken, judged by steps that are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from vicinal.core.lookahead import look_ahead
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT

Make = Callable[[Iterable[Any]], Optimizer]


def sgd(**settings: Any) -> Make:
    return lambda parameters: SGD(parameters, lr=0.3, **settings)


OPTIMISERS: dict[str, Make] = {
    "plain": sgd(),
    "decay": sgd(weight_decay=0.1),
    "momentum": sgd(momentum=0.9),
    "momentum and decay": sgd(momentum=0.9, weight_decay=0.1),
    "dampening": sgd(momentum=0.9, dampening=0.4),
    "nesterov": sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
    "maximised": sgd(momentum=0.5, maximize=True),
    "adam": lambda parameters: Adam(parameters, lr=0.02, weight_decay=0.1),
    "adamw": lambda parameters: AdamW(parameters, lr=0.02, weight_decay=0.1),
}
every_optimiser = pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS.keys())


def network(seed: int = 0) -> nn.Sequential:
    """Two layers in float64, smooth."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def samples(count: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (count,), generator=generator)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Weights, and biases that do not decay."""
    return [
        {"params": [p for p in model.parameters() if p.dim() > 1]},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]


def trained(make: Make, steps: int) -> tuple[nn.Module, Optimizer]:
    """A model and its optimiser after some steps, so that there is momentum."""
    model = network()
    optimiser = make(groups(model))
    for step in range(steps):
        x, y = samples(seed=10 + step)
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
        optimiser.zero_grad()
    return model, optimiser


@every_optimiser
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_it_is_the_step_that_the_optimiser_takes(make: Make, steps: int) -> None:
    model, optimiser = trained(make, steps)
    x, y = samples()
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(x), y), optimiser=optimiser)
    F.cross_entropy(model(x), y).backward()
    optimiser.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ahead.parameters[name], parameter, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ahead(x), model(x), rtol=1e-12, atol=1e-14)


@every_optimiser
def test_the_outer_gradient_is_that_of_explicit_steps_by_finite_differences(make: Make) -> None:
    model, optimiser = trained(make, 2)
    (x, y), (held_x, held_y) = samples(), samples(seed=1)
    policy = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64) / 4

    def explicit(value: Tensor) -> float:
        own = copy.deepcopy(model)
        stepping = make(groups(own))
        stepping.load_state_dict(copy.deepcopy(optimiser.state_dict()))
        F.cross_entropy(own(x + x @ value), y).backward()
        stepping.step()
        with torch.no_grad():
            return F.cross_entropy(own(held_x), held_y).item()

    policy.requires_grad_()
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(x + x @ policy), y), optimiser=optimiser)
    outer = F.cross_entropy(ahead(held_x), held_y)
    (slope,) = torch.autograd.grad(outer, policy)
    assert outer.item() == pytest.approx(explicit(policy.detach()), rel=1e-12)
    differences = torch.empty_like(slope)
    for at in range(16):
        step = torch.zeros(16, dtype=torch.float64)
        step[at] = 1e-5
        up, down = (explicit(policy.detach() + sign * step.view(4, 4)) for sign in (1, -1))
        differences.view(-1)[at] = (up - down) / 2e-5
    assert (slope - differences).norm() / differences.norm() < 1e-4


def test_model_and_optimiser_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)).double()
    optimiser = SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = samples()
    F.cross_entropy(model(x), y).backward()
    optimiser.step()
    optimiser.zero_grad()
    weights = copy.deepcopy(model.state_dict())
    state = copy.deepcopy(optimiser.state_dict())
    policy = torch.ones(4, dtype=torch.float64, requires_grad=True)
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(policy * x), y), optimiser=optimiser)
    outer = F.cross_entropy(ahead(x), y)
    outer.backward(inputs=[policy])
    assert policy.grad is not None
    assert policy.grad.abs().sum() > 0
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    for at, found in optimiser.state_dict()["state"].items():
        assert torch.equal(found["momentum_buffer"], state["state"][at]["momentum_buffer"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_statistics_of_the_inner_pass_are_in_the_copy_and_of_later_passes_nowhere() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=0.5), nn.Linear(4, 3)).double()
    x, y = samples()
    optimiser = SGD(model.parameters(), lr=0.1)
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(x), y), optimiser=optimiser)
    torch.testing.assert_close(ahead.buffers["0.running_mean"], 0.5 * x.mean(dim=0))
    before = ahead.buffers["0.running_mean"].clone()
    ahead(x + 100)
    assert torch.equal(ahead.buffers["0.running_mean"], before)
    assert not model[0].running_mean.any()


def test_what_the_optimiser_does_not_move_or_the_loss_does_not_need_stays() -> None:
    model = network()
    model[0].bias.requires_grad_(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    x, y = samples()
    moving = [model[0].weight, model[0].bias, model.unused]
    optimiser = SGD(moving, lr=0.1, weight_decay=0.5)
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(x), y), optimiser=optimiser)
    assert ahead.parameters.keys() == {"0.weight", "unused"}
    assert ahead.parameters["unused"] is model.unused
    expected = F.linear(
        F.linear(x, ahead.parameters["0.weight"], model[0].bias).tanh(),
        model[2].weight,
        model[2].bias,
    )
    torch.testing.assert_close(ahead(x), expected)


def test_state_loaded_behind_fabrics_wrapper_is_used() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimiser = trained(OPTIMISERS["momentum"], 2)
    wrapped: Any = fabric.setup_optimizers(OPTIMISERS["momentum"](groups(model)))
    wrapped.load_state_dict(optimiser.state_dict())
    x, y = samples()
    ours, theirs = (
        look_ahead(model, lambda f: F.cross_entropy(f(x), y), optimiser=one)
        for one in (wrapped, optimiser)
    )
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("kind", [SmallResNet, SmallViT])
@pytest.mark.parametrize("training", [True, False])
def test_convolutions_and_attention_have_second_derivatives(
    kind: type[SmallResNet] | type[SmallViT], training: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind((1, 8, 8), 3).train(training)
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(6) % 3
    shift = torch.zeros(8, 8, requires_grad=True)
    optimiser = SGD(model.parameters(), lr=0.1, momentum=0.9)
    ahead = look_ahead(model, lambda f: F.cross_entropy(f(x + shift), y), optimiser=optimiser)
    (slope,) = torch.autograd.grad(F.cross_entropy(ahead(x), y), shift)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0


def test_an_optimiser_without_a_differentiable_rule_is_refused() -> None:
    model = network()
    for optimiser in (
        RMSprop(model.parameters()),
        Adam(model.parameters(), amsgrad=True),
    ):
        with pytest.raises(ValueError, match="a look-ahead needs SGD"):
            look_ahead(model, lambda f: f(samples()[0]).sum(), optimiser=optimiser)
