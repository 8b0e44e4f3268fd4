from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.methods.ground import (
    CLASSES,
    ConvNet,
    MakeNetwork,
    images,
    make_setting,
    prepare,
    run,
)
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.method import Learner
from vicinal.methods.manifold_mixup import ManifoldMixup, layers_of
from vicinal.mixers.interpolate import Mixup, MixupParams
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


def mixed_at_every_layer(network: MakeNetwork) -> dict[str, Tensor]:
    """The output for the same weights and partners, mixed at each layer."""
    learner = ManifoldMixup().start(make_setting(5, network=network))
    found = {}
    for layer in layers_of(learner.model):
        learner.step = next(steps_at(learner, layer))
        found[layer] = forward(learner)[0]
    return found


def affine(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 3),
        nn.Flatten(),
        nn.Linear(24, outputs),
    )


def test_in_a_linear_network_it_does_not_matter_where() -> None:
    outputs = mixed_at_every_layer(affine)
    assert len(outputs) == 5
    for output in outputs.values():
        torch.testing.assert_close(output, outputs[""], atol=1e-5, rtol=0)


def test_in_a_network_with_relu_it_does() -> None:
    outputs = mixed_at_every_layer(resnet)
    assert not torch.allclose(outputs[""], outputs["stage2"], atol=1e-3)
    assert not torch.allclose(outputs["stage1"], outputs["stage2"], atol=1e-3)


@pytest.mark.parametrize("layer", ["", "features.0", "features.1", "features.3"])
def test_normalisation_before_the_layer_sees_clean_statistics(layer: str) -> None:
    def named(outputs: int) -> nn.Module:
        model = quiet(outputs)
        model.mixable_layers = ("features.0", "features.1", "features.3")
        return model

    learner = ManifoldMixup().start(make_setting(5, network=named))
    learner.step = next(steps_at(learner, layer))
    clean = named(CLASSES)
    clean.load_state_dict(learner.model.state_dict())
    clean(prepare(images().x[:12]))
    forward(learner)
    seen, wanted = learner.model.features[1], clean.features[1]
    before = layer in ("features.1", "features.3")  # the normalisation is features.1
    assert torch.allclose(seen.running_var, wanted.running_var) == before
    # Mixing moves no mean if every sample is a partner once and all have one weight; here each
    # has its own.
    assert torch.allclose(seen.running_mean, wanted.running_mean) == before


def test_a_batch_may_share_one_weight() -> None:
    learner = ManifoldMixup().start(make_setting(5, network=resnet))
    method = ManifoldMixup(scope="batch")
    found = set()
    for layer in layers_of(learner.model):
        learner.step = next(steps_at(learner, layer))
        seen, _ = method.augmented(learner, batch())
        _, mixed, params = method.forward(learner, seen, None)
        assert isinstance(params, MixupParams)
        assert (params.kept == params.kept[0]).all()
        assert mixed.target is not None
        found.add(float(params.kept[0]))
    assert len(found) == 1
    assert len(forward(learner)[2].kept.unique()) == 12


class Told(Mixup):
    """Mixes with partners and weights that are told."""

    def __init__(self, params: MixupParams) -> None:
        super().__init__()
        self.params = params

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return self.params


class Golden(nn.Module):
    """The network that OpenMixup's code was run with; it is mixed where they mix."""

    mixable_layers = ("layer1", "layer2")

    def __init__(self, _outputs: int) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        )
        self.layer2 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.layer2(self.layer1(x)).mean(dim=(2, 3)))
        return output


def under(prefix: str, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    length = len(prefix) + 1
    return {name[length:]: tensor for name, tensor in stored.items() if name.startswith(prefix)}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_step_is_openmixups_step_at_every_layer(number: int) -> None:
    # Westlake-AI/openmixup at 0a76cb7: ResNet_Mix._feature_mixup at its layers 0, 1 and 2, mixup's
    # loss, and a step of SGD.
    stored = load_file(Path(__file__).parent / "golden" / "manifold_mixup.safetensors")
    method = ManifoldMixup()
    method.mixup = Told(MixupParams(stored["partner"], stored["kept"]))
    setting = make_setting(5, network=Golden)
    learner = method.start(dataclasses.replace(setting, prepare=lambda x: x))
    learner.model.load_state_dict(under("before", stored))
    learner.step = next(steps_at(learner, layers_of(learner.model)[number]))
    seen, _ = method.augmented(learner, Batch.of(stored["x"], stored["y"]))
    output, mixed, _ = method.forward(learner, seen, None)
    torch.testing.assert_close(output, stored[f"{number}.output"], atol=1e-5, rtol=0)
    assert mixed.target is not None
    loss = mixed.target.loss(output)
    torch.testing.assert_close(loss, stored[f"{number}.loss"], atol=1e-5, rtol=0)
    loss.backward()
    torch.optim.SGD(learner.model.parameters(), lr=0.1).step()
    state = learner.model.state_dict()
    for name, after in under(f"{number}.after", stored).items():
        torch.testing.assert_close(state[name], after, atol=1e-5, rtol=0)


def test_the_card_says_which_alpha_belongs_to_which_data() -> None:
    meaning = ManifoldMixup.card.parameters["alpha"].meaning
    assert "2 for CIFAR" in meaning
    assert "0.2 for ImageNet" in meaning
    assert ManifoldMixup().alpha == 2.0
