from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vicinal.core.errors import InputError
from vicinal.models.build import build_model, model_fingerprint, seeded

NAMES = ["small-resnet", "small-vit", "mlp", "test_resnet", "test_vit"]


def weights(name: str, seed: int) -> Tensor:
    model = build_model(name, input_shape=(3, 32, 32), outputs=4, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = weights(name, 7)
    torch.manual_seed(2)
    torch.rand(3)
    assert torch.equal(weights(name, 7), first)
    assert not torch.equal(weights(name, 8), first)


@pytest.mark.parametrize("name", NAMES)
def test_building_leaves_the_global_generators_as_they_were(name: str) -> None:
    def state() -> tuple[bytes, str, object]:
        numpy = np.random.get_state()
        return torch.get_rng_state().numpy().tobytes(), repr(numpy), random.getstate()

    before = state()
    build_model(name, input_shape=(3, 32, 32), outputs=4, seed=0)
    assert state() == before


@given(seed=st.integers(-(2**31), 2**40))
def test_a_users_factory_may_draw_from_any_generator(seed: int) -> None:
    def drawn() -> tuple[float, float, float]:
        with seeded(seed):
            return float(torch.rand(())), np.random.rand(), random.random()

    first = drawn()
    random.random(), np.random.rand(), torch.rand(())
    assert drawn() == first


def test_the_generators_are_put_back_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "outputs"), [((3, 32, 32), 10), ((1, 32, 32), 1)])
def test_models_come_in_training_mode_and_give_a_row_a_sample(
    name: str, shape: tuple[int, ...], outputs: int
) -> None:
    model = build_model(name, input_shape=shape, outputs=outputs, seed=0)
    assert all(module.training for module in model.modules())
    assert model(torch.zeros(3, *shape)).shape == (3, outputs)


class Odd(nn.Module):
    """A network with layers that cannot be mixed among those that can."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.lift = nn.Linear(input_shape[0], 6)
        self.pair = Pair()
        self.unused = nn.Linear(2, 2)
        self.twice = nn.Linear(6, 6)
        self.last = nn.Linear(6, outputs)

    def forward(self, x: Tensor) -> Tensor:
        state, _ = self.pair(self.lift(x))
        output: Tensor = self.last(self.twice(self.twice(state)))
        return output


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Declares(Odd):
    mixable_layers = ("lift", "pair")


class Nested(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = nn.Linear(3, outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.outputs(x)}


class Exploding(nn.Linear):
    def __init__(self, outputs: int) -> None:
        super().__init__(3, outputs)
        nn.init.constant_(self.bias, torch.inf)


class Frozen(nn.Linear):
    def __init__(self, outputs: int) -> None:
        super().__init__(3, outputs)
        self.requires_grad_(False)


class TooMany(nn.Linear):
    def __init__(self, outputs: int) -> None:
        super().__init__(3, outputs + 1)


def built(factory: str) -> nn.Module:
    return build_model(f"{Path(__file__)}:{factory}", input_shape=(3,), outputs=2, seed=0)


def test_layers_that_run_twice_or_never_or_give_no_tensor_are_not_mixed() -> None:
    assert built("Odd").mixable_layers == ("lift",)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("Nested", r"must give a tensor \(B, 2\) for inputs \(B, 3\), but gave dict for B = 2"),
        ("TooMany", r"but gave \(2, 3\) for B = 2"),
        ("Exploding", "outputs that are not finite"),
        ("Frozen", "no parameter that can be trained"),
        ("Declares", "'pair' in its mixable_layers does not run once"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_training(factory: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        built(factory)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("small-resnet", (30,), r"'small-resnet' does not fit: .*got rows of shape \(30,\)"),
        ("small-vit:width=40", (3, 8, 8), "width must be a multiple of 32, got 40"),
        ("resnet18", (30,), "'resnet18' does not fit"),
        ("inception_v3", (3, 32, 32), r"cannot run on inputs of shape \(3, 32, 32\): RuntimeErr"),
        ("torch.nn:LazyLinear", (3, 8, 8), r"gave \(2, 3, 8, 2\)"),
        ("torch.nn:Identity", (2,), "no parameter that can be trained"),
    ],
)
def test_inputs_that_a_model_does_not_take_are_said_in_one_line(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        build_model(name, input_shape=shape, outputs=2, seed=0)
    assert len(str(refusal.value).splitlines()) == 1


def test_lazy_layers_get_their_weights_from_the_seed() -> None:
    first, second = (
        build_model("torch.nn:LazyLinear", input_shape=(3,), outputs=2, seed=seed).weight
        for seed in (0, 0)
    )
    assert torch.equal(first, second)  # type: ignore[arg-type]


def test_fingerprints_tell_models_apart_and_spell_out_defaults(tmp_path: Path) -> None:
    assert model_fingerprint("small-resnet") == model_fingerprint("small-resnet:blocks=1:width=24")
    path = tmp_path / "net.py"
    path.write_text("from torch.nn import Linear")
    names = ["small-resnet", "small-resnet:width=25", "small-vit", "mlp", "resnet18", "resnet34"]
    names += ["resnet18:drop_rate=0.1", f"{path}:Linear", "torch.nn:Linear", "torch.nn:Bilinear"]
    assert len({model_fingerprint(name) for name in names}) == len(names)
    assert model_fingerprint("small-resnet").startswith("small-resnet:blocks=1:width=24:")
    assert "timm 1." in model_fingerprint("resnet18")


def test_own_models_are_built_without_loading_timm_or_torchvision() -> None:
    code = (
        "import sys; from vicinal.models import build_model;"
        "build_model('small-resnet', input_shape=(1, 8, 8), outputs=2, seed=0);"
        "heavy = {'timm', 'torchvision', 'torch._dynamo'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
