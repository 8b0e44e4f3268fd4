from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vicinal.core.layer_output import replace_output
from vicinal.models.build import build_model
from vicinal.models.layers import layer_names, mixable_layers, suggested_layers

SHAPE = (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("small-resnet", ("stem", "stage1", "stage2")),
        ("small-vit", ("blocks.0", "blocks.1")),
        ("mlp:depth=3", ("hidden.0", "hidden.1", "hidden.2")),
        ("resnet18", ("layer1", "layer2", "layer3")),
        ("torchvision.models:resnet18", ("layer1", "layer2", "layer3")),
        ("vit_tiny_patch16_224", ("blocks.0", "blocks.1", "blocks.2", "blocks.3")),
        ("convnext_atto", ("stages.0", "stages.1", "stages.2")),
        ("swin_tiny_patch4_window7_224", ("layers.0", "layers.1", "layers.2")),
        ("efficientnet_b0", ("blocks.0", "blocks.1", "blocks.2")),
    ],
)
def test_rows_reversed_at_a_mixable_layer_come_out_reversed(
    name: str, layers: tuple[str, ...]
) -> None:
    if name.startswith("torchvision"):
        model: nn.Module = pytest.importorskip("torchvision").models.resnet18(num_classes=4)
    else:
        model = build_model(name, input_shape=SHAPE, outputs=4, seed=0)
    assert mixable_layers(model) == layers
    model.eval()
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x)
        for layer in (layers[0], layers[-1]):
            with replace_output(model, layer, lambda output: output.flip(0)):
                torch.testing.assert_close(model(x), expected.flip(0), rtol=1e-3, atol=1e-5)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)
        return output


def small() -> nn.Module:
    return build_model("small-resnet:width=8", input_shape=SHAPE, outputs=4, seed=0)


def test_names_lead_to_the_layers_of_a_model_inside_another() -> None:
    assert mixable_layers(Wrapped(small())) == ("inner.stem", "inner.stage1", "inner.stage2")
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert mixable_layers(plain) == ("0", "1")
    assert mixable_layers(Wrapped(Wrapped(plain))) == ("inner.inner.0", "inner.inner.1")


def test_names_lead_through_the_wrappers_of_fabric_and_of_compilation() -> None:
    fabric = pytest.importorskip("lightning_fabric").Fabric(accelerator="cpu", devices=1)
    for model in (small(), build_model("test_resnet", input_shape=SHAPE, outputs=4, seed=0)):
        inner = dict(model.named_modules())
        for wrapped in (fabric.setup_module(model), torch.compile(model, backend="eager")):
            modules = dict(wrapped.named_modules())
            found = [modules[layer] for layer in mixable_layers(wrapped)]
            assert found == [inner[layer] for layer in mixable_layers(model)]
            assert len(found) == 3


def test_a_model_may_say_itself_where_it_can_be_mixed() -> None:
    class Declares(nn.Sequential):
        mixable_layers = ("1",)

    model = Declares(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    assert suggested_layers(model) == ("0", "1")
    assert mixable_layers(model) == ("1",)


def test_a_model_of_one_layer_has_none_to_mix_at() -> None:
    assert mixable_layers(nn.Linear(3, 2)) == ()
    assert mixable_layers(nn.Sequential(nn.Linear(3, 2))) == ()


def test_lists_of_modules_are_never_named_since_they_never_run() -> None:
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.branches = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
            self.last = nn.Linear(3, 2)

    assert mixable_layers(Parallel()) == ("first",)


def test_layer_names_are_those_of_pytorch_without_the_model_itself() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    assert layer_names(model) == ("0", "0.0", "1")
