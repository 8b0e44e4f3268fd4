from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.methods.ground import BATCH, CLASSES, ConvNet, images, make_setting, run, weights
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from vicinal import Batch, ClassTarget, Draws
from vicinal.core.learner import Learner
from vicinal.core.target import SoftTarget
from vicinal.methods.recursive_mix import RecursiveMix, region_features
from vicinal.mixers.history import PasteHistory
from vicinal.mixers.paste import PasteParams, pasted_share
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet

GOLDEN = Path(__file__).parent / "golden"


def resnet(outputs: int) -> nn.Module:
    return SmallResNet((1, 8, 8), outputs, width=8)


def started(method: RecursiveMix | None = None) -> Learner:
    return (method or RecursiveMix()).start(make_setting(20, network=resnet))


def rows(first: int, *, epoch: int = 0) -> Batch:
    return images().batch(torch.arange(first, first + BATCH), epoch=epoch)


class Told(PasteHistory):
    """Pastes into boxes that are told, one a step."""

    def __init__(self, told: list[list[int]], interpolation: Any) -> None:
        super().__init__(interpolation=interpolation)
        self.told = iter(told)

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        top, left, bottom, right = next(self.told)
        count = len(batch)
        start, stop = torch.tensor([[top, left]]), torch.tensor([[bottom, right]])
        return PasteParams(batch.index, start.expand(count, -1), stop.expand(count, -1))


class Golden(nn.Module):
    """The network that the authors' code was run with, without the second head."""

    def __init__(self, _outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc(self.relu(self.conv(x)).mean(dim=(2, 3)))
        return output


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_four_steps_are_the_authors_four_steps(interpolation: Any) -> None:
    # implus/RecursiveMix-pytorch at ed381bf: recursive_mix of utils.py, the loss, and the steps of
    # main.py, on boxes along the diagonal: there the exchange of rows and columns does not show.
    stored = load_file(GOLDEN / f"recursive_mix_{interpolation}.safetensors")
    method = RecursiveMix(interpolation=interpolation)
    method.paste = Told(stored["boxes"].tolist(), interpolation)
    setting = dataclasses.replace(
        make_setting(4, network=Golden),
        prepare=lambda x: x,
        make_schedule=lambda optimiser, _: LambdaLR(
            getattr(optimiser, "optimizer", optimiser), lambda _: 1.0
        ),
    )
    learner = method.start(setting)
    names = {"conv": "model", "fc": "model", "fc_roi": "region head"}
    for name, tensor in stored.items():
        when, _, full = name.partition(".")
        layer, _, which = full.partition(".")
        if when == "before":
            network = learner.networks[names[layer]]
            own = f"{layer}.{which}" if names[layer] == "model" else which
            network.get_parameter(own).data.copy_(tensor)
    for step, (x, y) in enumerate(zip(stored["x"], stored["y"], strict=True)):
        seen: list[Tensor] = []
        update = learner.update
        learner.update = lambda loss, seen=seen, update=update: (seen.append(loss), update(loss))
        method.step(learner, {"train": Batch.of(x, y)})
        learner.update = update
        torch.testing.assert_close(learner.memory["x"], stored["mixed"][step], atol=1e-5, rtol=0)
        target = learner.memory["target"]
        torch.testing.assert_close(target, stored["target"][step], atol=1e-6, rtol=0)
        torch.testing.assert_close(seen[0].detach(), stored["loss"][step], atol=1e-5, rtol=0)
        learner.step += 1
    for name, layer in [("conv", "model"), ("fc", "model"), ("fc_roi", "region head")]:
        network = learner.networks[layer]
        module = network.get_submodule(name) if layer == "model" else network
        for which in ("weight", "bias"):
            after = stored[f"after.{name}.{which}"]
            torch.testing.assert_close(getattr(module, which), after, atol=1e-5, rtol=0)


def test_after_some_steps_every_label_has_what_later_boxes_left_of_it() -> None:
    method, learner = RecursiveMix(scope="batch"), started()
    covered: list[Tensor] = []
    labels = []
    for step in range(5):
        learner.step = step
        batch = rows(BATCH * step)
        assert isinstance(batch.target, ClassTarget)
        labels.append(batch.target.labels[:, 0])
        mixed, params = method.mixed(learner, batch)
        covered.append(torch.zeros(BATCH) if params is None else pasted_share(params, (8, 8)))
        method.step(learner, {"train": batch})
        assert isinstance(mixed.target, SoftTarget)
        expected = torch.zeros(BATCH, CLASSES)
        for at in range(step + 1):
            share = torch.ones(BATCH) if at == 0 else 1 - covered[at]
            for later in covered[at + 1 :]:
                share = share * later
            expected[torch.arange(BATCH), labels[at]] += share
        torch.testing.assert_close(mixed.target.probabilities, expected)
        torch.testing.assert_close(learner.memory["target"], expected)
        torch.testing.assert_close(expected.sum(dim=1), torch.ones(BATCH))
    assert sum(bool((one > 0).all()) for one in covered) >= 3


def test_the_first_step_of_an_epoch_is_plain() -> None:
    method, learner = RecursiveMix(), started()
    first, params = method.mixed(learner, rows(0))
    assert params is None
    report = method.step(learner, {"train": rows(0)})
    assert "consistency" not in report
    assert "consistency" in method.step(learner, {"train": rows(12)})
    again, params = method.mixed(learner, rows(0, epoch=1))
    assert params is None
    assert torch.equal(again.x, first.x)
    assert "consistency" not in method.step(learner, {"train": rows(0, epoch=1)})


def test_an_epoch_replays_from_the_params_of_its_steps() -> None:
    method, learner = RecursiveMix(), started()
    history, kept = None, []
    for step in range(4):
        batch = rows(BATCH * step)
        mixed, params = method.mixed(learner, batch)
        kept.append((batch, params, mixed.x))
        method.step(learner, {"train": batch})
        learner.step += 1
    for batch, params, seen in kept:
        ready, _ = method.ready(learner, batch)
        if params is not None:
            stored = PasteParams.from_arrow(params.to_arrow())
            ready = method.paste.apply(ready.replace(pool=history), stored)
        assert torch.equal(ready.x, seen)
        history = ready.replace(pool=None)


def lit(*places: tuple[int, int]) -> Tensor:
    """(B, 1, 6, 9) features, one place of each is 1."""
    features = torch.zeros(len(places), 1, 6, 9)
    for row, (down, across) in enumerate(places):
        features[row, 0, down, across] = 1
    return features


def test_features_are_read_inside_of_the_box() -> None:
    # Images of 12 x 18: a place of the map is two pixels. The box is off the diagonal.
    start, stop = torch.tensor([[2, 12]] * 3), torch.tensor([[6, 18]] * 3)
    found = region_features(lit((1, 7), (2, 6), (4, 1)), start, stop, (12, 18))
    torch.testing.assert_close(found, torch.tensor([[1 / 6], [1 / 6], [0.0]]))


def test_a_box_of_the_whole_image_reads_the_mean_of_the_map() -> None:
    features = torch.rand(4, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    start, stop = torch.zeros(4, 2, dtype=torch.int64), torch.tensor([[24, 18]] * 4)
    found = region_features(features, start, stop, (24, 18))
    torch.testing.assert_close(found, features.mean(dim=(2, 3)))


def test_an_empty_box_reads_nothing_and_weighs_nothing() -> None:
    nowhere = torch.tensor([[3, 3]])
    found = region_features(lit((1, 1)), nowhere, nowhere, (12, 18))
    assert found.isfinite().all()
    assert pasted_share(PasteParams(torch.tensor([0]), nowhere, nowhere), (12, 18)) == 0


def test_the_consistency_loss_pulls_the_second_head_towards_the_last_prediction() -> None:
    method, learner = RecursiveMix(scope="batch"), started()
    method.step(learner, {"train": rows(0)})
    batch, params = method.mixed(learner, rows(12))
    assert params is not None
    features = torch.rand(BATCH, 32, 2, 2)
    loss = method.consistency(learner, features, batch, params)
    share = pasted_share(params, (8, 8))
    region = region_features(features, params.start, params.stop, (8, 8))
    logits = learner.networks["region head"](region)
    before = learner.memory["output"].softmax(dim=1)
    by_hand = torch.stack(
        [-share[row] * (before[row] * logits[row].log_softmax(dim=0)).sum() for row in range(BATCH)]
    ).mean()
    torch.testing.assert_close(loss, by_hand)
    assert not learner.memory["output"].requires_grad


def test_the_consistency_loss_trains_the_second_head_and_the_features() -> None:
    free, bound = (run(RecursiveMix(omega=omega), network=resnet)[0] for omega in (0.0, 0.5))
    before = started().networks["region head"]
    assert torch.equal(weights(before), weights(free.networks["region head"]))
    assert not torch.equal(weights(before), weights(bound.networks["region head"]))
    assert not torch.equal(weights(free.model), weights(bound.model))


@pytest.mark.parametrize("step", [3, 7])
def test_training_taken_up_in_the_middle_of_an_epoch_goes_on_as_it_was(step: int) -> None:
    def losses(learner: Learner, first: int, last: int) -> list[float]:
        found = []
        for at in range(first, last):
            batch = rows(BATCH * (at % 5), epoch=at // 5)
            found.append(float(RecursiveMix().step(learner, {"train": batch})["loss"]))
            learner.step += 1
        return found

    whole = started()
    losses(whole, 0, step)
    saved = copy.deepcopy(whole.state_dict())
    expected = losses(whole, step, 12)
    taken_up = started()
    taken_up.load_state_dict(saved)
    assert losses(taken_up, step, 12) == expected
    assert torch.equal(weights(taken_up.model), weights(whole.model))
    forgetful = started()
    forgetful.load_state_dict(saved | {"memory": {}})
    assert losses(forgetful, step, 12) != expected


def test_it_learns_bars() -> None:
    learner, progress = run(RecursiveMix(), epochs=15, network=resnet)
    batch = images().batch(torch.arange(60), epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        predicted = RecursiveMix().predict(learner, batch).argmax(dim=1)
    assert (predicted == images().y).float().mean() > 0.9
    assert progress.curves["train consistency"][0] > 0


def test_the_gallery_shows_a_batch_pasted_into_itself() -> None:
    method, learner = RecursiveMix(), started()
    mixed, params = method.augmented(learner, rows(0))
    plain, _ = method.ready(learner, rows(0))
    assert isinstance(mixed.target, ClassTarget)
    assert not torch.equal(mixed.x, plain.x)
    assert isinstance(params, PasteParams)
    assert (params.partner != rows(0).index).all()
    assert not learner.memory


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda outputs: MLP((1, 8, 8), outputs), "needs a convolutional network"),
        (ConvNet, "has to read the mean of a feature map"),
    ],
)
def test_a_model_without_a_feature_map_is_refused_in_one_line(network, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        run(RecursiveMix(), network=network)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "setting", [{"alpha": 0.0}, {"omega": -1.0}, {"interpolation": "cubic"}, {"scope": "pixel"}]
)
def test_values_out_of_range_are_refused(setting) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be"):
        RecursiveMix(**setting)
