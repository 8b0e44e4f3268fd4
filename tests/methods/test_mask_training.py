"""What AutoMix, AdAutoMix and SAMix share: three networks, who moves whom, and the twin's pace."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from tests.methods.ground import CLASSES, images, make_setting, prepare, run, weights
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.core.modes import in_mode
from vicinal.methods.adautomix import AdAutoMix
from vicinal.methods.automix import AutoMix
from vicinal.methods.mask_training import (
    MaskTraining,
    first_momentum,
    mixed_head,
    momentum_at,
    twin_of,
)
from vicinal.methods.samix import SAMix
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT

every_method = pytest.mark.parametrize(
    "method", [AdAutoMix(), AutoMix(), SAMix()], ids=["ada", "auto", "sa"]
)


def small(outputs: int) -> nn.Module:
    return SmallResNet((1, 8, 8), outputs, width=8)


def started(method: MaskTraining, *, network: Any = small) -> tuple[Learner, Batch]:
    """A learner before its first step, and a batch as the model sees it."""
    rows = images().batch(torch.arange(24), epoch=0)
    setting = make_setting(10, network=network)
    learner = method.start(dataclasses.replace(setting, part=lambda _: rows))
    method.enter(learner, method.phases()[0], 10)
    return learner, rows.replace(x=prepare(rows.tensor))


@pytest.mark.parametrize(
    ("done", "wanted"),
    [
        (0.0, 0.999),
        (0.0999, 0.999),
        (0.1, 0.999999 - 0.000999 * (math.cos(0.1 * math.pi) + 1) / 2),
        (0.5, 0.9994995),
        (1.0, 0.999999),
    ],
)
def test_the_twin_slows_down_by_the_formula(done: float, wanted: float) -> None:
    assert momentum_at(done) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "wanted"), [(400_000, 0.999), (20_000, 0.999), (1000, 0.98), (200, 0.9), (5, 0.0)]
)
def test_the_twin_of_a_short_training_averages_over_a_twentieth(steps: int, wanted: float) -> None:
    assert first_momentum(steps) == pytest.approx(wanted)


def test_the_twin_is_the_average_of_the_model_after_each_step() -> None:
    method = AdAutoMix(momentum=0.9)
    learner, _ = started(method)
    batch = images().batch(torch.arange(12), epoch=0)
    average = weights(learner.networks["twin"])
    assert torch.equal(average, weights(learner.model))
    for step, momentum in enumerate([0.9, *(momentum_at(t / 10, start=0.9) for t in range(1, 10))]):
        method.step(learner, {"train": batch})
        average = momentum * average + (1 - momentum) * weights(learner.model)
        torch.testing.assert_close(weights(learner.networks["twin"]), average)
        learner.step = step + 1


@every_method
def test_all_three_networks_move(method: MaskTraining) -> None:
    before, _ = started(method)
    learner, progress = run(method, network=small, epochs=2)
    for name, network in learner.networks.items():
        assert not torch.equal(weights(network), weights(before.networks[name]))
        assert all(parameter.grad is None for parameter in network.parameters())
    assert learner.updates == {"model": 10, "generator": 10}
    assert progress.curves.keys() == {"train loss", "train score"}


@every_method
def test_each_loss_reaches_its_own_network_and_the_twin_gets_none(method: MaskTraining) -> None:
    for place, reached in enumerate(("model", "generator")):
        learner, batch = started(method)
        method.losses(learner, batch)[place].backward()
        for name, network in learner.networks.items():
            gradients = [parameter.grad is not None for parameter in network.parameters()]
            assert all(gradients) if name == reached else not any(gradients), name


@every_method
def test_a_hundredfold_loss_of_one_leaves_the_gradient_of_the_other(method: MaskTraining) -> None:
    found = []
    for model, generator in ((1.0, 1.0), (1.0, 100.0), (100.0, 1.0)):
        learner, batch = started(method)
        loss, generator_loss, _ = method.losses(learner, batch)
        (model * loss + generator * generator_loss).backward()
        assert all(p.grad is None for p in learner.networks["twin"].parameters())
        found.append(
            [
                torch.cat([p.grad.flatten() for p in learner.networks[name].parameters()])
                for name in ("model", "generator")
            ]
        )
    (q, g), (q_louder, g_louder), (q_other, g_other) = found
    assert torch.equal(q, q_louder)
    assert torch.equal(g, g_other)
    torch.testing.assert_close(g_louder, 100 * g, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(q_other, 100 * q, rtol=1e-3, atol=1e-4)


@every_method
def test_the_twins_logits_of_the_sources_are_those_of_a_pass_over_each(
    method: MaskTraining,
) -> None:
    learner, batch = started(method)
    _, judged = method.heard(learner, batch)
    twin = twin_of(learner)
    for seed in range(3):
        at = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            again = mixed_head(twin(batch.tensor[at]))
        torch.testing.assert_close(judged[at], again, atol=1e-5, rtol=1e-4)


@every_method
def test_a_trial_taken_up_again_ends_as_one_that_never_stopped(method: MaskTraining) -> None:
    saved: list[dict[str, Any]] = []

    def save(learner: Learner, _progress: object) -> None:
        state = learner.state_dict()
        saved.append(torch.utils._pytree.tree_map(_copied, state))

    whole, _ = run(method, network=small, epochs=2, observe=save)
    resumed, _ = run(method, network=small, epochs=2, state=saved[0])
    for name, network in whole.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, resumed.networks[name].state_dict()[key])


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


@every_method
def test_one_seed_gives_one_result_and_another_seed_another(method: MaskTraining) -> None:
    first, second, other = (
        weights(run(method, network=small, epochs=1, seed=seed)[0].model) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@every_method
def test_predictions_do_not_depend_on_the_other_rows(method: MaskTraining) -> None:
    learner, _ = run(method, network=small, epochs=1)
    batch = images().batch(torch.arange(8), epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        together = method.predict(learner, batch)
        alone = torch.cat([method.predict(learner, batch[at : at + 1]) for at in range(8)])
        both = learner.model(prepare(batch.tensor)).view(8, 2, CLASSES)
    assert together.shape == (8, CLASSES)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, both.mean(dim=1))


@every_method
def test_what_is_shown_of_it_are_the_mixtures_that_the_model_learns_from(
    method: MaskTraining,
) -> None:
    learner, batch = started(method)
    raw = images().batch(torch.arange(24), epoch=0)
    mixed, params = method.augmented(learner, raw)
    assert not params.scores.requires_grad
    heard, _ = method.heard(learner, batch)
    loss, _ = method.model_loss(learner, heard, params)
    torch.testing.assert_close(loss, method.losses(learner, batch)[0])
    assert not torch.equal(mixed.tensor, batch.tensor)
    assert mixed.target is not None
    torch.testing.assert_close(mixed.target.dense(CLASSES).sum(1), torch.ones(24))


@every_method
def test_patches_on_a_grid_will_do_too(method: MaskTraining) -> None:
    learner, batch = started(method, network=lambda outputs: SmallViT((1, 8, 8), outputs, depth=2))
    loss, generator_loss, _ = method.losses(learner, batch)
    learner.update(loss, generator=generator_loss)
    heard, _ = method.heard(learner, batch)
    (features,) = heard.evidence.values()
    assert features.shape == (24, 96, 4, 4)


@every_method
def test_a_model_without_maps_is_refused(method: MaskTraining) -> None:
    with pytest.raises(ValueError, match="no map of features over the image"):
        started(method, network=lambda outputs: MLP((1, 8, 8), outputs))
    with pytest.raises(ValueError, match="the model has none"):
        started(
            method, network=lambda outputs: nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))[1:]
        )


@every_method
def test_looking_at_the_features_to_begin_with_leaves_the_twin_as_it_was(
    method: MaskTraining,
) -> None:
    learner, _ = started(method)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, learner.networks["twin"].state_dict()[f"network.{name}"])
    with in_mode([learner.model], training=True):
        assert all(module.training for module in twin_of(learner).modules())
