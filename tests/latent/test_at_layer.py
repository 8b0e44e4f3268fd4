from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import RegressionTarget
from vicinal.latent.at_layer import AtLayer
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.label_kernel import LabelKernel
from vicinal.mixers.paste import CutMix

LAYERS = ("", "first", "second", "third")


class Chain(nn.Module):
    """Three linear layers, with an activation between them or without."""

    def __init__(self, activation: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 16)
        self.third = nn.Linear(16, 3)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.first(x))
        output: Tensor = self.third(self.activation(self.second(x)))
        return output


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def samples(count: int = 8, *shape: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, *(shape or (4,)), generator=generator)
    return Batch.of(x, torch.arange(count) % 3)


def at(
    layer: str, model: nn.Module, batch: Batch, *, seed: int = 0
) -> tuple[Tensor, Batch, Params]:
    return AtLayer(Mixup(), layer).forward(model, batch, Draws(seed, batch.index))


def test_in_a_linear_network_it_does_not_matter_where_samples_are_mixed() -> None:
    model, batch = Chain(), samples()
    outputs = [at(layer, model, batch)[0] for layer in LAYERS]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])
    assert not torch.allclose(outputs[0], model(batch.x))


def test_in_a_network_with_relu_it_does_matter_from_the_first_relu_on() -> None:
    model, batch = Chain(nn.ReLU), samples()
    at_input, at_first, at_second, at_third = (at(layer, model, batch)[0] for layer in LAYERS)
    torch.testing.assert_close(at_first, at_input)
    assert not torch.allclose(at_second, at_input, atol=1e-3)
    assert not torch.allclose(at_third, at_second, atol=1e-3)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_target_belongs_to_what_was_mixed(layer: str) -> None:
    model, batch = Chain(nn.ReLU), samples()
    _, mixed, params = at(layer, model, batch)
    assert isinstance(params, MixupParams)
    assert batch.target is not None
    assert mixed.target is not None
    expected = batch.target.mix(batch.target[params.partner], params.kept)
    assert mixed.target.equal(expected)
    assert torch.equal(mixed.index, batch.index)


def test_a_hidden_mixture_is_of_the_layers_own_outputs() -> None:
    model, batch = Chain(nn.ReLU), samples()
    output, _, params = at("second", model, batch)
    assert isinstance(params, MixupParams)
    hidden = model.second(model.first(batch.x).relu())
    kept = params.kept[:, None]
    mixed = kept * hidden + (1 - kept) * hidden[params.partner]
    torch.testing.assert_close(output, model.third(mixed.relu()))


def test_gradients_flow_through_both_halves_of_a_mixture() -> None:
    model, batch = Chain(nn.ReLU), samples()
    x = batch.x.clone().requires_grad_()
    output, _, params = at("first", model, batch.replace(x=x))
    assert isinstance(params, MixupParams)
    (slope,) = torch.autograd.grad(output[0].sum(), x)
    reached = set(slope.abs().sum(dim=1).nonzero().flatten().tolist())
    assert reached == {0, int(params.partner[0])}


def test_normalisation_before_the_layer_sees_clean_statistics_and_after_it_mixed_ones() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    batch = samples(64)
    batch = batch.replace(x=batch.x * 3 + 2)
    clean = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    clean.load_state_dict(model.state_dict())
    clean(batch.x)
    at("1", model, batch)
    assert torch.equal(model[0].running_mean, clean[0].running_mean)
    assert torch.equal(model[0].running_var, clean[0].running_var)
    # A mixture of two independent samples varies less than either.
    assert (model[2].running_var < clean[2].running_var).all()


def test_cutmix_pastes_parts_of_feature_maps() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 3))
    batch = samples(6, 1, 8, 8)
    output, mixed, params = AtLayer(CutMix(), "0").forward(model, batch, Draws(0, batch.index))
    maps = model[0](batch.x)
    inside = box_mask(params.start, params.stop, (8, 8))[:, None]
    pasted = torch.where(inside, maps[params.partner], maps)
    torch.testing.assert_close(output, model[2](pasted.flatten(1)))
    shares = inside.float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(mixed.target.weights[:, 1], shares)


def test_the_layer_s_draws_are_the_batch_s() -> None:
    model, batch = Chain(), samples()
    first, again, other = (at("first", model, batch, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_is_left_on_the_model(layer: str) -> None:
    model, batch = Chain(nn.ReLU), samples()
    before = model(batch.x)
    at(layer, model, batch)
    assert torch.equal(model(batch.x), before)
    assert not any(module._forward_hooks for module in model.modules())


@dataclass(frozen=True)
class NoParams(Params):
    index: Tensor


class Failing(Transform):
    def sample(self, batch: Batch, draws: Draws) -> NoParams:
        raise ZeroDivisionError

    def apply(self, batch: Batch, params: NoParams) -> Batch:
        return batch


def test_nothing_is_left_on_the_model_after_an_error() -> None:
    model, batch = Chain(), samples()
    with pytest.raises(ZeroDivisionError):
        AtLayer(Failing(), "second").forward(model, batch, Draws(0, batch.index))
    assert not any(module._forward_hooks for module in model.modules())
    assert model(batch.x).shape == (8, 3)


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="the model has no layer 'fourth'"):
        at("fourth", Chain(), samples())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.shared(self.shared(x))
        return output


@pytest.mark.parametrize("layer, runs", [("shared", 2), ("unused", 0)])
def test_a_layer_must_run_once(layer: str, runs: int) -> None:
    with pytest.raises(ValueError, match=f"layer '{layer}' runs {runs} times in a forward pass"):
        at(layer, Twice(), samples())


class Folding(nn.Module):
    """Puts out a tuple, and a tensor whose rows are not the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(4, 3, batch_first=True)
        self.pairs = nn.Flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.recurrent(self.pairs(x)[:, None])[0][:, 0]
        return output


@pytest.mark.parametrize(
    "layer, fault",
    [("recurrent", "puts out a tuple"), ("pairs", "does not put out a row a sample")],
)
def test_a_layer_must_put_out_a_row_for_each_sample(layer: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"layer '{layer}' {fault}"):
        at(layer, Folding(), samples(4, 2, 4))


def labelled(count: int = 30) -> Batch:
    """Samples with the numbers 0, 1, 2, ... to predict."""
    return samples(count).replace(target=RegressionTarget(torch.arange(float(count))))


@pytest.mark.parametrize("layer", LAYERS)
def test_partners_from_the_pool_run_through_the_layers_before(layer: str) -> None:
    model, data = Chain(nn.ReLU), labelled()
    mix = Mixup(pairing=LabelKernel(2.0)).fit(data)
    batch = data[torch.tensor([3, 20, 11, 29])]
    draws = Draws(0, batch.index)
    output, mixed, params = AtLayer(mix, layer).forward(model, batch, draws)
    assert isinstance(params, MixupParams)
    assert not set(params.partner.tolist()) <= set(batch.index.tolist())
    assert params.equal(mix.sample(batch, draws))

    # By hand: both halves up to the layer, mixed there, and on.
    names = ("first", "second", "third")
    before = names[: names.index(layer) + 1] if layer else ()
    own, partner = batch.x, data.x[params.partner]
    for at, name in enumerate(before):
        own, partner = (model.get_submodule(name)(half) for half in (own, partner))
        if at < len(before) - 1:
            own, partner = own.relu(), partner.relu()
    hidden = params.kept[:, None] * own + (1 - params.kept)[:, None] * partner
    for at, name in enumerate(names[len(before) :], start=len(before)):
        hidden = hidden.relu() if at else hidden
        hidden = model.get_submodule(name)(hidden)
    torch.testing.assert_close(output, hidden)
    values = params.kept * batch.index + (1 - params.kept) * params.partner
    torch.testing.assert_close(mixed.target.barycentre, values)


def test_gradients_flow_to_partners_from_the_pool() -> None:
    model, data = Chain(nn.ReLU), labelled()
    x = data.x.clone().requires_grad_()
    data = data.replace(x=x)
    mix = Mixup(pairing=LabelKernel(2.0)).fit(data)
    batch = data[torch.tensor([3, 20])]
    output, _, params = AtLayer(mix, "first").forward(model, batch, Draws(2, batch.index))
    assert isinstance(params, MixupParams)
    (slope,) = torch.autograd.grad(output[0].sum(), x)
    reached = set(slope.abs().sum(dim=1).nonzero().flatten().tolist())
    assert reached == {3, int(params.partner[0])}
    assert len(reached) == 2


def test_partners_of_the_batch_are_hidden_states_though_it_has_a_pool() -> None:
    model, data = Chain(nn.ReLU), samples()
    batch = data[torch.tensor([6, 1, 4])]
    alone = batch.replace(pool=None)
    torch.testing.assert_close(at("second", model, batch)[0], at("second", model, alone)[0])


def test_feature_maps_are_pasted_from_the_pool_in_their_own_size() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten(), nn.Linear(18, 1))
    data = samples(20, 1, 8, 8).replace(target=RegressionTarget(torch.arange(20.0)))
    mix = CutMix(pairing=LabelKernel(2.0)).fit(data)
    batch = data[torch.tensor([2, 15, 9])]
    output, _, params = AtLayer(mix, "0").forward(model, batch, Draws(0, batch.index))
    inside = box_mask(params.start, params.stop, (3, 3))[:, None]
    pasted = torch.where(inside, model[0](data.x[params.partner]), model[0](batch.x))
    torch.testing.assert_close(output, model[2](pasted.flatten(1)))
    assert inside.any()


def test_normalisation_before_the_layer_sees_the_batch_and_its_partners() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=1.0), nn.Linear(4, 3))
    data = labelled()
    mix = Mixup(pairing=LabelKernel(2.0)).fit(data)
    batch = data[torch.tensor([3, 20, 11, 29])]
    _, _, params = AtLayer(mix, "0").forward(model, batch, Draws(0, batch.index))
    assert isinstance(params, MixupParams)
    both = torch.cat([batch.x, data.x[params.partner]])
    torch.testing.assert_close(model[0].running_mean, both.mean(dim=0))
