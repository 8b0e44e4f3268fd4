"""SMMix's training: the authors' losses, and who is asked when."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.methods.digits_in_frames import accuracy_of
from tests.methods.ground import CLASSES, ConvNet, images, make_setting, run
from tests.methods.test_transmix import transformer
from torch import Tensor

from vicinal import Batch, ClassTarget
from vicinal.core.learner import Learner
from vicinal.core.patch_tokens import PatchTokens
from vicinal.core.probe import ask
from vicinal.methods.self_motivated_mix import (
    SelfMotivatedMix,
    consistency,
    recognition,
    region_tokens,
)
from vicinal.mixers.interpolate import MixupParams
from vicinal.mixers.sm_mix import SMMixParams

FILE = Path(__file__).parents[1] / "mixers" / "golden" / "sm_mix_authors.json"
GOLDEN = json.loads(FILE.read_text())


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"side {golden['side']}")
def test_the_losses_are_those_of_the_authors_code(golden: dict[str, Any]) -> None:
    # engine.py and deit.py in ChenMnZ/SMMix at 14b1edc, with a head without a shift.
    source, side = torch.tensor(golden["source"]), golden["side"]
    first = torch.stack([source.amax(2).long().argmax(1), source.amax(1).long().argmax(1)], dim=1)
    params = SMMixParams(
        partner=torch.arange(4).flip(0),
        start=first * 2,
        stop=(first + side) * 2,
        source_start=first * 0,
    )
    given = side**2 / 49
    labels = torch.stack([torch.arange(4), torch.arange(4).flip(0)], dim=1)
    target = ClassTarget(labels, torch.tensor([[1 - given, given]] * 4))
    batch = Batch(
        x=torch.zeros(4, 3, 14, 14),
        target=target,
        index=torch.arange(4),
        extras={"clean output": filled(4, 5, phase=2.0) * 2},
    )
    tokens = filled(4, 49, 6, phase=3.0).view(4, 7, 7, 6)
    own, pasted = (
        mean @ filled(5, 6, phase=4.0).T for mean in region_tokens(tokens, batch, params)
    )
    fine = recognition(own, pasted, batch, 0.1)
    assert fine.item() == pytest.approx(golden["fine"], abs=1e-5)
    output = filled(4, 5, phase=1.0) * 2
    found = consistency(output, batch, params)
    assert found.item() == pytest.approx(golden["consistency"], abs=1e-5)
    smoothed = target.smooth(0.1).loss(output)
    assert smoothed.item() == pytest.approx(golden["cls"], abs=1e-5)


class Counting(SelfMotivatedMix):
    """Keeps what every batch was mixed by, and the passes that took."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.kinds: list[type] = []
        self.modes: list[bool] = []

    def start(self, setting: Any) -> Learner:
        learner = super().start(setting)
        learner.model.register_forward_pre_hook(
            lambda module, _inputs: self.modes.append(module.training)
        )
        return learner

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, SMMixParams | MixupParams]:
        mixed, params = super().augmented(learner, batch)
        self.kinds.append(type(params))
        return mixed, params


def test_half_of_the_batches_are_pasted_with_one_more_pass_for_these() -> None:
    method = Counting()
    run(method, epochs=12, network=transformer)
    pasted = method.kinds.count(SMMixParams)
    assert 0.3 < pasted / len(method.kinds) < 0.7
    trained = method.modes.count(True)
    assert trained == len(method.kinds)
    # Predictions of the last rows are no steps.
    assert method.modes.count(False) >= pasted


@pytest.mark.parametrize(("share", "kind"), [(0.0, MixupParams), (1.0, SMMixParams)])
def test_all_or_none_are_pasted(share: float, kind: type) -> None:
    method = Counting(share=share)
    run(method, epochs=1, network=transformer)
    assert set(method.kinds) == {kind}


def test_every_part_of_the_loss_moves_the_model() -> None:
    method = SelfMotivatedMix(1.0)
    setting = make_setting(1, network=transformer)
    learner = method.start(setting)
    examples = images()
    batch = examples.batch(torch.arange(12), epoch=0, labelled=True)
    before = learner.model.blocks[0].attn.qkv.weight.detach().clone()
    report = method.step(learner, {"train": batch})
    assert report["loss"].isfinite()
    assert not torch.equal(before, learner.model.blocks[0].attn.qkv.weight)


def test_patches_tokens_are_those_that_the_head_reads() -> None:
    model = transformer(CLASSES).eval()
    batch = Batch.of(torch.rand(3, 1, 8, 8))
    probe = PatchTokens(when="before")
    found = ask([probe], {"model": model}, batch).evidence[probe]
    with torch.no_grad():
        tokens = model.forward_features(batch.x)
    torch.testing.assert_close(found, tokens[:, 1:].view(3, 4, 4, -1))


def test_a_model_without_a_class_token_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="needs a model with a class token") as refusal:
        run(SelfMotivatedMix(), network=ConvNet)
    assert "\n" not in str(refusal.value)


def test_labels_mixed_before_are_refused() -> None:
    target = ClassTarget(torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 4) / 4)
    batch = Batch(x=torch.zeros(2, 1), target=target, index=torch.arange(2))
    with pytest.raises(TypeError, match="one class label each"):
        recognition(torch.zeros(2, 3), torch.zeros(2, 3), batch, 0.1)


@pytest.mark.parametrize("settings", [{"share": 1.1}, {"mixup_alpha": 0}, {"smoothing": 1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        SelfMotivatedMix(**settings)


@pytest.mark.slow
def test_it_learns_to_read_digits() -> None:
    # That it is better than plain training is no claim of so small a training: it is not.
    for seed in range(3):
        assert accuracy_of(SelfMotivatedMix(), seed=seed, epochs=15) > 0.25  # chance is 0.1
