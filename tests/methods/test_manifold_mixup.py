from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.methods.ground import ConvNet, images, make_setting, prepare, run
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.manifold_mixup import ManifoldMixup, layers_of
from vicinal.mixers.interpolate import MixupParams
from vicinal.models.small_resnet import SmallResNet


def quiet(outputs: int) -> nn.Module:
    return ConvNet(outputs, dropout=0.0)


def resnet(outputs: int) -> nn.Module:
    return SmallResNet((1, 8, 8), outputs, width=8)


def batch() -> Batch:
    return images().batch(torch.arange(12), epoch=0)


def forward(learner: Learner) -> tuple[Tensor, Batch, MixupParams]:
    method = ManifoldMixup()
    seen, _ = method.augmented(learner, batch())
    output, mixed, params = method.forward(learner, seen, None)
    assert isinstance(params, MixupParams)
    return output, mixed, params


def steps_at(learner: Learner, layer: str) -> Iterator[int]:
    """The steps at which a layer is drawn, found by drawing."""
    layers = layers_of(learner.model)
    for step in range(50):
        learner.step = step
        if layers[int(learner.step_draws().below("layer", len(layers)))] == layer:
            yield step


def test_samples_are_mixed_at_the_input_or_an_earlier_stage() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=resnet))
    assert layers_of(learner.model) == ("", "stem", "stage1", "stage2")


def test_at_the_input_it_is_mixup() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=quiet))
    learner.step = next(steps_at(learner, ""))
    output, mixed, params = forward(learner)
    x = prepare(images().x[:12])
    kept = params.kept[:, None, None, None]
    torch.testing.assert_close(mixed.x, kept * x + (1 - kept) * x[params.partner])
    torch.testing.assert_close(output, learner.model(mixed.x))


def test_deeper_it_mixes_what_the_layer_puts_out() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=resnet))
    learner.step = next(steps_at(learner, "stage1"))
    output, mixed, params = forward(learner)
    model = learner.model
    hidden = model.stage1(model.stem(prepare(images().x[:12])))
    kept = params.kept[:, None, None, None]
    mixture = kept * hidden + (1 - kept) * hidden[params.partner]
    expected = model.head(model.stage3(model.stage2(mixture)))
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)
    plain = batch().target
    assert plain is not None
    assert mixed.target is not None
    assert mixed.target.equal(plain.mix(plain[params.partner], params.kept))


def test_one_layer_is_drawn_for_a_step_and_every_layer_as_often() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=resnet))
    layers = layers_of(learner.model)
    counts = dict.fromkeys(layers, 0)
    for step in range(2000):
        learner.step = step
        counts[layers[int(learner.step_draws().below("layer", len(layers)))]] += 1
    # Four standard deviations of a count of 2,000 at 1/4.
    assert all(abs(count - 500) < 78 for count in counts.values())


def test_the_layer_does_not_depend_on_the_batch_nor_the_weights_on_the_layer() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=quiet))
    kept = []
    for layer in layers_of(learner.model):
        learner.step = next(steps_at(learner, layer))
        kept.append(forward(learner)[2].kept)
    assert len(kept) > 1
    assert all(torch.equal(one, kept[0]) for one in kept)


def test_gradients_reach_the_layers_before_the_mixture() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=resnet))
    learner.step = next(steps_at(learner, "stage2"))
    output, mixed, _ = forward(learner)
    assert mixed.target is not None
    mixed.target.loss(output).backward()
    assert all(parameter.grad is not None for parameter in learner.model.parameters())


def test_nothing_is_left_on_the_model_after_training() -> None:
    learner, progress = run(ManifoldMixup(), network=quiet)
    assert not any(module._forward_hooks for module in learner.model.modules())
    assert len(progress.curves["train loss"]) == 3


def test_a_model_without_hidden_layers_is_refused_before_training() -> None:
    def flat(outputs: int) -> nn.Module:
        return nn.Linear(64, outputs)

    with pytest.raises(ValueError, match="needs a model with named hidden layers"):
        ManifoldMixup().start(make_setting(5, network=flat))


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_alpha_must_be_positive(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\), got"):
        ManifoldMixup(alpha)
