"""What goes into a model's classifier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.classifier import classifier_of
from vicinal.core.probe import ask, listening
from vicinal.models.build import build_model
from vicinal.models.penultimate import Penultimate

SHAPE = (3, 32, 32)
CLASSIFIERS = {
    "small-resnet": "head.2",
    "small-vit": "head",
    "mlp": "head",
    "resnet18": "fc",
    "vit_tiny_patch16_224": "head",
    "convnext_atto": "head.fc",
    "efficientnet_b0": "classifier",
}


def some() -> Batch:
    return Batch.of(torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("name", "layer"), CLASSIFIERS.items())
def test_the_classifier_makes_the_output_of_the_features(name: str, layer: str) -> None:
    model = build_model(name, input_shape=SHAPE, outputs=4, seed=0)
    assert classifier_of(model) is model.get_submodule(layer)
    probe = Penultimate()
    features = ask([probe], {"model": model}, some()).evidence[probe]
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(classifier_of(model)(features), model(some().x))
    assert features.shape == (3, classifier_of(model).in_features)
    assert not features.requires_grad


def test_it_can_be_heard_in_the_pass_that_trains() -> None:
    model = build_model("small-resnet:width=8", input_shape=SHAPE, outputs=4, seed=0)
    probe = Penultimate(when="during")
    with listening([probe], {"model": model}) as heard:
        output = model(some().x)
    torch.testing.assert_close(classifier_of(model)(heard[probe]), output)
    assert heard[probe].requires_grad


def test_a_model_inside_another_is_found() -> None:
    inner = build_model("resnet18", input_shape=SHAPE, outputs=4, seed=0)
    assert classifier_of(nn.Sequential(nn.Identity(), inner)) is inner.fc


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).mean(dim=(2, 3))


def test_a_model_without_a_linear_classifier_is_refused() -> None:
    with pytest.raises(ValueError, match="does not end in a linear classifier"):
        Penultimate().require(Convolutional())
