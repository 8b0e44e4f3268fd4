from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.methods.ground import CLASSES, ConvNet, images, make_setting, run
from torch import nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.core.target import ClassTarget
from vicinal.methods.named_mixer import MIXERS
from vicinal.methods.sumix import SUMix
from vicinal.objectives.uncertainty_labels import CLEAN, CLEAN_PARTNER


def quiet(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, outputs))


def started(method: SUMix) -> tuple[Learner, Batch]:
    learner = method.start(make_setting(5, network=quiet))
    return learner, images().batch(torch.arange(12), epoch=0)


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_objective_hears_of_the_samples_before_they_were_mixed(mixer: str) -> None:
    method = SUMix(mixer)
    assert method.prepared is not None
    assert method.prepared.card.name == mixer
    learner, batch = started(method)
    mixed, params = method.augmented(learner, batch)
    output, told, _ = method.forward(learner, mixed, params)
    ready, _ = method.ready(learner, batch)
    torch.testing.assert_close(output, learner.model(mixed.x))
    torch.testing.assert_close(told.extras[CLEAN], learner.model(ready.x))
    partner = learner.model(ready.x[params.partner])  # type: ignore[union-attr]
    torch.testing.assert_close(told.extras[CLEAN_PARTNER], partner)
    assert output.shape == (12, 2 * CLASSES)


def test_the_other_half_of_the_last_layer_is_learnt_too() -> None:
    learner, batch = started(SUMix())
    before = learner.model[-1].weight.detach().clone()
    SUMix().step(learner, {"train": batch})
    moved = (learner.model[-1].weight - before).abs().amax(dim=1)
    assert (moved > 0).all()
    learner, batch = started(SUMix(uncertainty=0.0))
    before = learner.model[-1].weight.detach().clone()
    SUMix(uncertainty=0.0).step(learner, {"train": batch})
    moved = (learner.model[-1].weight - before).abs().amax(dim=1)
    assert (moved[:CLASSES] > 0).all()
    assert (moved[CLASSES:] == 0).all()


def test_it_predicts_by_the_logits_alone_and_reports_their_score() -> None:
    method = SUMix()
    learner, batch = started(method)
    with torch.no_grad():
        learner.model[-1].bias[CLASSES:] += 100  # of the uncertainty: no class
    told = method.step(learner, {"train": batch})
    assert told["score"] > 0
    with torch.no_grad(), learner.evaluating():
        predicted = method.predict(learner, batch.replace(target=None))
        wanted = learner.model(learner.setting.prepare(batch.x))[:, :CLASSES]
    assert torch.equal(predicted, wanted)
    assert learner.setting.outputs == CLASSES


def test_it_learns() -> None:
    def network(outputs: int) -> nn.Module:
        return ConvNet(outputs, dropout=0)

    learner, progress = run(SUMix("mixup"), network=network, epochs=6)
    assert progress.curves["train loss"][-1] < progress.curves["train loss"][0]
    batch = images().batch(torch.arange(60), epoch=0)
    assert isinstance(batch.target, ClassTarget)
    with torch.no_grad(), learner.evaluating():
        right = SUMix().predict(learner, batch).argmax(1) == batch.target.labels[:, 0]
    assert right.double().mean() > 0.8


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"uncertainty": -1.0}, {"sharpness": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SUMix(**settings)
