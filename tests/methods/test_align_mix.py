from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest
import torch
from tests.methods.ground import ConvNet, images, make_setting, prepare, run
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.align_mix import LAST_MAP, AlignMixup, last_map_layer
from vicinal.methods.manifold_mixup import ManifoldMixup
from vicinal.mixers.align_mix import AlignMixParams
from vicinal.mixers.interpolate import MixupParams
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT


def small(outputs: int) -> nn.Module:
    return SmallResNet((1, 8, 8), outputs, width=8)


def started(
    method: AlignMixup, network: Callable[[int], nn.Module] = small
) -> tuple[Learner, Batch]:
    rows = images().batch(torch.arange(12), epoch=0)
    learner = method.start(
        dataclasses.replace(make_setting(10, network=network), part=lambda _: rows)
    )
    method.enter(learner, method.phases()[0], 10)
    return learner, rows


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (small, "stage3"),
        (lambda outputs: ConvNet(outputs), "features.4"),
        (
            lambda outputs: nn.Sequential(
                nn.Conv2d(1, 4, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4, 3),
            ),
            "1",
        ),
    ],
)
def test_the_last_map_is_the_last_thing_that_has_places(network: Any, wanted: str) -> None:
    model = network(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert last_map_layer(model, torch.randn(2, 1, 8, 8)) == wanted
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_of_timms_is_found_by_its_name() -> None:
    import timm

    model = timm.create_model("resnet18", num_classes=3)
    assert last_map_layer(model, torch.randn(2, 3, 64, 64)) == "layer4"


@pytest.mark.parametrize(
    "network",
    [
        lambda outputs: MLP((1, 8, 8), outputs),
        lambda outputs: SmallViT((1, 8, 8), outputs, depth=3),
    ],
)
def test_a_model_without_feature_maps_is_refused_before_training(
    network: Callable[[int], nn.Module],
) -> None:
    with pytest.raises(ValueError, match="places of a last feature map"):
        started(AlignMixup(), network)


def kind_at(method: AlignMixup, learner: Learner, batch: Batch, step: int) -> type[Any]:
    learner.step = step
    return type(method.forward(learner, batch, None)[2])


@pytest.mark.parametrize(("aligned", "low", "high"), [(0.5, 32, 68), (0.0, 0, 0), (1.0, 100, 100)])
def test_a_coin_for_every_step_says_which_way_is_mixed(aligned: float, low: int, high: int) -> None:
    method = AlignMixup(aligned=aligned, iterations=1)
    learner, batch = started(method)
    batch, _ = method.augmented(learner, batch)
    with torch.no_grad():
        kinds = [kind_at(method, learner, batch, step) for step in range(100)]
    assert set(kinds) <= {AlignMixParams, MixupParams}
    assert low <= kinds.count(AlignMixParams) <= high


def test_aligned_features_go_on_into_the_head() -> None:
    method = AlignMixup(aligned=1.0)
    learner, batch = started(method)
    batch, _ = method.augmented(learner, batch)
    output, mixed, params = method.forward(learner, batch, None)
    model = learner.model
    hidden = model.stage3(model.stage2(model.stage1(model.stem(batch.x))))
    wanted = model.head(method.align.apply(batch.replace(x=hidden), params).x)
    torch.testing.assert_close(output, wanted, atol=1e-5, rtol=1e-4)
    assert learner.layers[LAST_MAP] == "stage3"
    assert mixed.target is not None
    assert isinstance(params, AlignMixParams)
    assert batch.target is not None
    assert mixed.target.equal(batch.target.mix(batch.target[params.partner], params.kept))
    mixed.target.loss(output).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_alignment_it_is_manifold_mixup() -> None:
    def curve(method: ManifoldMixup) -> list[float]:
        return run(method, network=small, epochs=2)[1].curves["train loss"]

    assert curve(AlignMixup(aligned=0.0)) == curve(ManifoldMixup())


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"aligned": 1.5}, {"iterations": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        AlignMixup(**settings)


def test_it_trains() -> None:
    learner, progress = run(AlignMixup(), network=small, epochs=6)
    losses = progress.curves["train loss"]
    assert mean(losses[-2:]) < mean(losses[:2])
    x: Tensor = prepare(images().x)
    with torch.no_grad(), learner.evaluating():
        right = learner.model(x).argmax(1) == images().y
    assert right.double().mean() > 0.8
