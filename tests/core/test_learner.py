from __future__ import annotations

import copy

import pytest
import torch
from tests.methods.ground import images, make_setting
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from vicinal.core.method import Learner


def pair() -> Learner:
    """Two networks of one weight each, 2 and 3, with plain gradient descent of rate 0.1."""
    networks: dict[str, nn.Module] = {}
    for name, value in {"model": 2.0, "other": 3.0}.items():
        networks[name] = nn.Linear(1, 1, bias=False)
        nn.init.constant_(networks[name].weight, value)
    optimisers = {name: SGD(one.parameters(), lr=0.1) for name, one in networks.items()}
    schedules = {"model": StepLR(optimisers["model"], step_size=1, gamma=0.5)}
    return Learner(make_setting(5), networks, optimisers, schedules, memory={"sum": torch.zeros(1)})


def weight(learner: Learner, name: str) -> float:
    return learner.networks[name].weight.item()


def product(learner: Learner) -> torch.Tensor:
    """The product of both weights, whose slope in each is the other."""
    return learner.networks["model"].weight.sum() * learner.networks["other"].weight.sum()


def test_a_loss_moves_the_model_alone_unless_another_optimiser_is_named() -> None:
    learner = pair()
    learner.update(product(learner))
    assert weight(learner, "model") == pytest.approx(2 - 0.1 * 3)
    assert weight(learner, "other") == 3
    assert learner.networks["other"].weight.grad is None
    learner.update(other=product(learner))
    assert weight(learner, "other") == pytest.approx(3 - 0.1 * 1.7)
    assert learner.updates == {"model": 1, "other": 1}


def test_a_leaf_may_get_its_gradient_in_the_pass_that_moves_the_model() -> None:
    learner = pair()
    x = torch.tensor([[5.0]], requires_grad=True)
    learner.backward(x, model=learner.model(x).sum())
    assert x.grad is not None
    assert x.grad.item() == 2
    learner.advance("model")
    assert weight(learner, "model") == pytest.approx(2 - 0.1 * 5)


def test_losses_of_one_graph_take_their_gradients_before_anything_moves() -> None:
    learner = pair()
    loss = product(learner)
    learner.update(loss, other=-loss)
    assert weight(learner, "model") == pytest.approx(2 - 0.1 * 3)
    assert weight(learner, "other") == pytest.approx(3 + 0.1 * 2)


def test_a_schedule_advances_with_its_optimiser_only() -> None:
    learner = pair()
    learner.update(other=product(learner))
    assert learner.schedules["model"].get_last_lr() == [0.1]
    learner.update(product(learner))
    assert learner.schedules["model"].get_last_lr() == [0.05]


def test_gradients_add_up_until_the_optimiser_advances() -> None:
    learner = pair()
    for _ in range(2):
        learner.backward(model=product(learner))
    nn.utils.clip_grad_norm_(learner.model.parameters(), 0.5)
    learner.advance("model")
    assert weight(learner, "model") == pytest.approx(2 - 0.1 * 0.5)
    assert learner.model.weight.grad is None


def test_a_frozen_parameter_gets_no_gradient_from_its_own_optimiser() -> None:
    learner = pair()
    learner.networks["other"].requires_grad_(False)
    learner.optimisers["model"].add_param_group(
        {"params": list(learner.networks["other"].parameters())}
    )
    learner.update(product(learner))
    assert weight(learner, "other") == 3


def test_what_is_saved_does_not_change_with_the_learner_that_loaded_it() -> None:
    learner = pair()
    learner.update(product(learner))
    learner.step = 1
    state = copy.deepcopy(learner.state_dict())
    other = pair()
    other.load_state_dict(state)
    other.memory["sum"] += 1
    assert state["memory"]["sum"] == 0
    assert weight(other, "model") == weight(learner, "model")
    assert other.schedules["model"].get_last_lr() == [0.05]
    assert (other.step, other.updates) == (1, {"model": 1})


def test_seeded_layers_depend_on_seed_and_name_and_leave_the_global_state() -> None:
    def drawn(seed: int, name: str) -> float:
        with make_setting(5, seed=seed).seeded(name):
            return torch.rand(()).item()

    before = torch.get_rng_state()
    assert drawn(0, "a") == drawn(0, "a")
    assert len({drawn(seed, name) for seed in range(3) for name in "abc"}) == 9
    assert torch.equal(before, torch.get_rng_state())


def test_draws_follow_the_epoch_and_those_of_the_step_the_step() -> None:
    learner = pair()
    first, later = (images().batch(torch.arange(4), epoch=epoch) for epoch in (0, 1))
    one = learner.draws(first).uniform("u")
    assert torch.equal(one, learner.draws(first).uniform("u"))
    assert not torch.equal(one, learner.draws(later).uniform("u"))
    of_step = learner.step_draws().uniform("u")
    learner.step += 1
    assert not torch.equal(of_step, learner.step_draws().uniform("u"))
