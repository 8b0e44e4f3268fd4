"""What may be asked of a model, and how often it is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vicinal import Batch, Target
from vicinal.core.probe import Features, Saliency, ask, listening


class Small(nn.Module):
    """A smooth network that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(2, 4, 3, padding=1)
            self.last = nn.Linear(4, 3)
        self.passes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(self.training)
        features: Tensor = self.first(x).tanh()
        logits: Tensor = self.last(features.mean(dim=(2, 3)))
        return logits


def some(rows: int = 3) -> Batch:
    x = torch.randn(rows, 2, 5, 4, generator=torch.Generator().manual_seed(1))
    return Batch.of(x, torch.arange(rows) % 3)


class InDouble(nn.Module):
    """The small network with numbers fine enough for differences."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Small().double()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.double())
        return logits


def test_saliency_agrees_with_finite_differences() -> None:
    model, batch = InDouble(), some()
    target, step = batch.target, 1e-5
    assert target is not None
    gradient = torch.zeros(3, 2 * 5 * 4, dtype=torch.float64)
    with torch.no_grad():
        for place in range(2 * 5 * 4):
            shift = torch.zeros(2 * 5 * 4, dtype=torch.float64)
            shift[place] = step
            higher, lower = (
                target.loss(model(batch.tensor + moved.view(2, 5, 4)), reduction="none")
                for moved in (shift, -shift)
            )
            gradient[:, place] = (higher - lower) / (2 * step)
    exact = gradient.view(3, 2, 5, 4).square().mean(1).sqrt()
    saliency = Saliency().answer(model, batch)
    assert saliency.shape == (3, 5, 4)
    torch.testing.assert_close(saliency.double(), exact, rtol=1e-4, atol=1e-8)
    assert saliency.flatten(1).std(1).min() > 0


def test_saliency_of_a_sample_does_not_depend_on_the_others() -> None:
    model, batch = Small(), some()
    alone = Saliency().answer(model, batch[1:2])
    torch.testing.assert_close(Saliency().answer(model, batch)[1:2], alone)


def test_saliency_works_where_gradients_are_off_and_leaves_none_behind() -> None:
    model, batch = Small(), some()
    with torch.no_grad():
        saliency = Saliency().answer(model, batch)
    assert not saliency.requires_grad
    assert not batch.tensor.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_saliency_needs_labels_and_parameters_and_a_pass_of_its_own() -> None:
    model = Small()
    with pytest.raises(ValueError, match="the batch needs a target"):
        Saliency().answer(model, some().replace(target=None))
    with pytest.raises(ValueError, match="parameters in training"):
        Saliency().require(model.requires_grad_(False))
    with (
        pytest.raises(ValueError, match="ask it with when='before'"),
        listening([Saliency(when="during")], {"model": model}),
    ):
        pass


def test_features_are_the_output_of_the_layer() -> None:
    model, batch = Small(), some()
    found = Features(layer="first").answer(model, batch)
    assert torch.equal(found, model.first(batch.tensor).detach())
    assert not found.requires_grad
    assert not model.first._forward_hooks


def test_a_layer_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no layer 'head'; its top layers are first, last$"):
        Features(layer="head").require(Small())
    Features(layer="last").require(Small())


def test_a_question_is_asked_once_whoever_asks_it() -> None:
    model, batch = Small(), some()
    asked = [Features(layer="first"), Saliency(), Features(layer="first"), Saliency()]
    answered = ask(asked, {"model": model}, batch)
    assert len(model.passes) == 2
    assert set(answered.evidence) == {Features(layer="first"), Saliency()}
    assert ask(asked, {"model": model}, answered) is answered
    assert len(model.passes) == 2


def test_what_is_heard_during_training_costs_no_pass() -> None:
    model, batch = Small(), some()
    probe = Features(layer="first", when="during")
    assert ask([probe], {"model": model}, batch) is batch
    with listening([probe, replace(probe)], {"model": model}) as heard:
        output = model(batch.tensor)
    assert model.passes == [True]
    assert list(heard) == [probe]
    assert heard[probe].requires_grad  # the objective may train through it
    output.sum().backward()
    model(batch.tensor)
    assert not model.first._forward_hooks


def test_hooks_are_taken_away_when_training_fails() -> None:
    model = Small()
    with (
        pytest.raises(RuntimeError, match="stop"),
        listening([Features(layer="first", when="during")], {"model": model}),
    ):
        raise RuntimeError("stop")
    assert not model.first._forward_hooks


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_answers_in_the_mode_asked_for_and_goes_back(
    before: bool, training: bool
) -> None:
    model = Small().train(before)
    ask([Features(layer="first", training=training)], {"model": model}, some())
    assert model.passes == [training]
    assert model.training is before


def test_every_network_answers_its_own_questions() -> None:
    model, teacher = Small(), Small()
    probes = [Features(layer="first"), Features(layer="first", network="teacher")]
    answered = ask(probes, {"model": model, "teacher": teacher}, some())
    assert (len(model.passes), len(teacher.passes)) == (1, 1)
    assert len(answered.evidence) == 2


def test_saliency_asks_whatever_the_target_is() -> None:
    model, batch = Small(), some()
    assert isinstance(batch.target, Target)
    mixed = batch.target.mix(batch.target[torch.tensor([1, 2, 0])], torch.tensor([0.5, 0.2, 1.0]))
    found = Saliency().answer(model, batch.replace(target=mixed))
    plain = Saliency().answer(model, batch)
    torch.testing.assert_close(found[2], plain[2])
    assert not torch.allclose(found[0], plain[0])
