from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, RegressionTarget
from vicinal.core.activation import ClassActivation, LastFeatureMap
from vicinal.core.classifier import classifier_of
from vicinal.core.probe import Probe, ask, listening
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT

CLASSES = 3


class Detectors(nn.Module):
    """Class 0 looks at the first channel, class 1 at the second; class 2 at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(2, 2, 1, bias=False)
        self.head = nn.Linear(2, CLASSES)
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(2)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return output


def spots(*labels: int) -> Batch:
    """(B, 2, 6, 9): the first channel is lit at row 1, column 7, the second at row 4, column 2."""
    x = torch.zeros(len(labels), 2, 6, 9)
    x[:, 0, 1, 7] = 1
    x[:, 1, 4, 2] = 1
    return Batch.of(x, torch.tensor(labels))


def images(count: int = 4, *, size: tuple[int, int] = (24, 16), channels: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, channels, *size, generator=generator)
    return Batch.of(x, torch.arange(count) % CLASSES)


def seeded(make: Callable[..., nn.Module], *arguments: object, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*arguments, **options)


def answer(model: nn.Module, batch: Batch, probe: Probe) -> Tensor:
    return ask([probe], {"model": model}, batch).evidence[probe]


def expected_maps(
    features: Tensor, weight: Tensor, labels: Tensor, size: tuple[int, int]
) -> Tensor:
    """By the formula, sample by sample."""
    maps = []
    for feature, label in zip(features, labels.tolist(), strict=True):
        seen = sum(w * channel.relu() for w, channel in zip(weight[label], feature, strict=True))
        seen = F.interpolate(seen[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        seen = seen - seen.min()
        maps.append(seen / seen.sum())
    return torch.stack(maps)


def test_a_map_is_lit_where_the_own_class_is() -> None:
    maps = answer(Detectors(), spots(0, 1), ClassActivation())
    assert (maps > 0.5).nonzero().tolist() == [[0, 1, 7], [1, 4, 2]]
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(2))


def test_a_map_without_contrast_is_even() -> None:
    maps = answer(Detectors(), spots(2), ClassActivation())
    assert torch.equal(maps, torch.full((1, 6, 9), 1 / 54))


def test_a_mixture_of_labels_has_the_map_of_their_weighted_sum() -> None:
    batch = spots(0)
    mixture = ClassTarget(torch.tensor([[0, 1]]), torch.tensor([[0.75, 0.25]]))
    maps = answer(Detectors(), batch.replace(target=mixture), ClassActivation())
    assert maps[0, 1, 7] == pytest.approx(0.75)
    assert maps[0, 4, 2] == pytest.approx(0.25)


def test_a_number_to_predict_has_the_map_of_its_output() -> None:
    model = Detectors()
    model.head = nn.Linear(2, 1)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[0.0, 2.0]]))
    batch = spots(0).replace(target=RegressionTarget(torch.tensor([0.3])))
    assert answer(model, batch, ClassActivation())[0, 4, 2] == pytest.approx(1)


def test_of_the_small_resnet_it_is_the_last_stage_under_the_head() -> None:
    model, batch = seeded(SmallResNet, (3, 24, 16), CLASSES, width=8), images()
    with torch.no_grad():
        model.eval()
        features = model.stage3(model.stage2(model.stage1(model.stem(batch.x))))
    labels = torch.arange(4) % CLASSES
    wanted = expected_maps(features, model.head[2].weight.detach(), labels, (24, 16))
    torch.testing.assert_close(answer(model, batch, ClassActivation()), wanted)
    assert torch.equal(answer(model, batch, LastFeatureMap()), features)


@pytest.mark.parametrize(
    "name", ["resnet10t", "convnext_atto", "efficientnet_lite0", "densenet121", "test_byobnet"]
)
def test_of_models_of_timm_it_is_what_they_call_features(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = seeded(timm.create_model, name, num_classes=CLASSES)
    batch = images(2, size=(96, 64))
    with torch.no_grad():
        features = model.eval().forward_features(batch.x)
    assert features.shape[2:].numel() > 1
    assert classifier_of(model) is model.get_classifier()
    torch.testing.assert_close(answer(model, batch, LastFeatureMap()), features)
    weight = model.get_classifier().weight.detach()
    wanted = expected_maps(features, weight, torch.arange(2), (96, 64))
    torch.testing.assert_close(answer(model, batch, ClassActivation()), wanted)


def test_layers_may_be_named() -> None:
    model = nn.ModuleDict({"early": nn.Conv2d(2, 2, 3), "late": nn.Conv2d(2, 2, 3)})
    named = nn.Sequential(model["early"], model["late"], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    named.append(nn.Linear(2, CLASSES)).append(nn.Linear(CLASSES, CLASSES))
    batch = spots(0, 1)
    first = answer(named, batch, LastFeatureMap(layer="0", classifier="4"))
    torch.testing.assert_close(first, model["early"](batch.x))
    last = answer(named, batch, LastFeatureMap(classifier="4"))
    torch.testing.assert_close(last, model["late"](model["early"](batch.x)))


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (LastFeatureMap(layer="conv"), "has no layer 'conv'; its top layers are features, head"),
        (ClassActivation(layer="conv"), "has no layer 'conv'"),
        (LastFeatureMap(classifier="fc"), "the classifier 'fc' must be a linear layer, it is not"),
        (LastFeatureMap(classifier="features"), "must be a linear layer, it is a Conv2d"),
    ],
)
def test_wrong_names_are_refused_before_training(probe: Probe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe.require(Detectors())


def class_token() -> nn.Module:
    model = Detectors()
    model.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MLP((3, 24, 16), CLASSES), "a feature map needs a convolutional network"),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1)), "end in a linear classifier"),
        (class_token(), "reads the mean of places, and Detectors has a class token"),
    ],
)
def test_models_that_cannot_answer_are_refused_before_training(
    model: nn.Module, message: str
) -> None:
    for probe in (LastFeatureMap(), ClassActivation()):
        with pytest.raises(ValueError, match=message) as refusal:
            probe.require(model)
        assert "\n" not in str(refusal.value)


def flattened() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 24 * 16, CLASSES))


def one_place() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, (24, 16)), nn.Flatten(), nn.Linear(4, CLASSES))


def tokens() -> nn.Module:
    return SmallViT((3, 24, 16), CLASSES, width=32, depth=1)


def channels_last() -> nn.Module:
    timm = pytest.importorskip("timm")
    settings = {"img_size": (64, 64), "window_size": 2, "embed_dim": 12, "num_heads": (1, 1, 1, 1)}
    model: nn.Module = timm.create_model("swin_tiny_patch4_window7_224", **settings)
    return model


def test_a_feature_map_with_channels_last_is_turned() -> None:
    model, batch = seeded(channels_last), images(size=(64, 64))
    found = answer(model, batch, LastFeatureMap())
    assert found.shape == (4, 96, 2, 2)
    with torch.no_grad():
        logits = model.get_classifier()(found.mean(dim=(2, 3)))
        torch.testing.assert_close(logits, model.eval()(batch.x))
    assert answer(model, batch, ClassActivation()).shape == (4, 64, 64)


@pytest.mark.parametrize("make", [flattened, one_place, tokens])
def test_a_classifier_that_reads_no_mean_of_places_is_refused_at_the_first_question(
    make: Callable[[], nn.Module],
) -> None:
    model = seeded(make)
    batch = images()
    with pytest.raises(ValueError, match="has to read the mean of a feature map") as refusal:
        answer(model, batch, ClassActivation())
    assert "\n" not in str(refusal.value)
    assert not any(module._forward_hooks for module in model.modules())


def test_without_enlarging_it_has_the_size_of_the_feature_map() -> None:
    model, batch = seeded(SmallResNet, (3, 24, 16), CLASSES, width=8), images()
    small = answer(model, batch, ClassActivation(upsampled=False))
    assert small.shape == (4, *answer(model, batch, LastFeatureMap()).shape[2:])
    torch.testing.assert_close(small.sum(dim=(1, 2)), torch.ones(4))


def test_asking_leaves_the_model_as_it_was() -> None:
    model, batch = seeded(SmallResNet, (3, 24, 16), CLASSES, width=8), images()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.stem.eval()
    first = answer(model, batch, ClassActivation())
    assert not first.requires_grad
    assert model.training
    assert not model.stem.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    # In evaluation mode a sample's map does not depend on the others.
    alone = answer(model, batch[:1].replace(pool=None), ClassActivation())
    torch.testing.assert_close(alone, first[:1])


def test_during_training_the_feature_map_is_heard_with_its_gradient() -> None:
    model, batch = seeded(SmallResNet, (3, 24, 16), CLASSES, width=8), images()
    probe = LastFeatureMap(when="during")
    with listening([probe], {"model": model}) as heard:
        model(batch.x)
    heard[probe].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.stage3.parameters())
    with (
        pytest.raises(ValueError, match="ask it with when='before'"),
        listening([ClassActivation(when="during")], {"model": model}),
    ):
        pass


def test_samples_without_a_class_have_no_map() -> None:
    batch = spots(0).replace(target=None)
    with pytest.raises(ValueError, match="the batch needs a target"):
        answer(Detectors(), batch, ClassActivation())
