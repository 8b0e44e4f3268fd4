from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, SoftTarget, Target
from vicinal.objectives.uncertainty_labels import UncertaintyLabels, distance, halves, reweighted

GOLDEN = json.loads((Path(__file__).parent / "golden" / "sumix.json").read_text())
CLASSES = 4


def outputs(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, 2 * CLASSES, generator=generator)


def mixed(own: Tensor, partner: Tensor, target: Target) -> Batch:
    rows = torch.arange(len(own))
    extras = {"clean": own, "clean partner": partner}
    return Batch(x=own, target=target, index=rows, extras=extras)


def pairs(rows: int = 5) -> ClassTarget:
    labels = torch.stack([torch.arange(rows) % CLASSES, (torch.arange(rows) + 1) % CLASSES], dim=1)
    kept = torch.linspace(0.1, 0.9, rows)
    return ClassTarget(labels, torch.stack([kept, 1 - kept], dim=1))


def test_openmixups_head_has_the_same_loss_and_gradient() -> None:
    features = torch.tensor(GOLDEN["features"])
    weight, bias = torch.tensor(GOLDEN["weight"]).requires_grad_(), torch.tensor(GOLDEN["bias"])
    at, labels = torch.tensor(GOLDEN["partner"]), Target.of(torch.tensor(GOLDEN["labels"]))
    rows = len(features)
    clean = features @ weight.T + bias
    mixture = GOLDEN["kept"] * features + (1 - GOLDEN["kept"]) * features[at]
    target = labels.mix(labels[at], torch.full((rows,), GOLDEN["kept"]))
    objective = UncertaintyLabels(0.1, sharpness=rows)
    loss = objective(mixture @ weight.T + bias, mixed(clean, clean[at], target), None, {})
    assert loss.item() == pytest.approx(GOLDEN["loss"], abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(gradient, torch.tensor(GOLDEN["gradient"]), atol=1e-5, rtol=0)


@given(kept=st.floats(0, 1), far=st.floats(0, 50))
def test_where_both_are_as_far_the_weights_stay(kept: float, far: float) -> None:
    weights = torch.tensor([[kept, 1 - kept]])
    distances = torch.full((1, 2, CLASSES), far)
    found = reweighted(weights, distances, torch.tensor([[0, 2]]))
    torch.testing.assert_close(found, weights)


def test_the_weight_falls_with_the_exponential_of_the_distance() -> None:
    distances = torch.zeros(1, 2, CLASSES)
    distances[0, 0, 1], distances[0, 1, 3] = 0.7, 0.2
    found = reweighted(torch.tensor([[0.6, 0.4]]), distances, torch.tensor([[1, 3]]))
    own, partner = 0.6 * torch.tensor(-0.7).exp(), 0.4 * torch.tensor(-0.2).exp()
    torch.testing.assert_close(found[0, 0], own / (own + partner))
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    # However far both are, one of them is left.
    assert (
        reweighted(torch.tensor([[0.6, 0.4]]), distances + 1e4, torch.tensor([[1, 3]])).sum() > 0.99
    )


def test_distances_are_of_length_one_whatever_the_size_of_the_batch() -> None:
    logits, clean = outputs(6, 0)[:, :CLASSES], outputs(6, 1)[:, :CLASSES]
    without = torch.arange(6) % CLASSES
    found = distance(logits, clean, without=without)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(found[:2], distance(logits[:2], clean[:2], without=without[:2]))


@pytest.mark.parametrize("seen", [0, 1])
def test_the_class_that_the_mixture_shows_less_of_than_its_sample_gains_weight(seen: int) -> None:
    target = ClassTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    pair = torch.full((2, 1, 2 * CLASSES), -4.0)
    pair[0, 0, 0] = pair[1, 0, 1] = 4
    output = pair[seen]  # the mixture is seen as one of the two
    own, partner = (
        distance(output[:, :CLASSES], one[:, :CLASSES], without=torch.tensor([other]))
        for one, other in zip(pair, (1, 0), strict=True)
    )
    assert (own[0, 0] < partner[0, 1]) == (seen == 1)
    loss = UncertaintyLabels(0.0, sharpness=4.0)(output, mixed(*pair, target), None, {})
    assert loss > target.loss(output[:, :CLASSES])


def test_without_sharpness_and_uncertainty_it_is_the_mixers_loss() -> None:
    output, target = outputs(5, 2), pairs()
    batch = mixed(outputs(5, 3), outputs(5, 4), target)
    found = UncertaintyLabels(0.0, sharpness=0.0)(output, batch, None, {})
    torch.testing.assert_close(found, target.loss(output[:, :CLASSES]))


def test_rows_are_judged_alone_and_in_any_order() -> None:
    output, own, partner, target = outputs(5, 2), outputs(5, 3), outputs(5, 4), pairs()
    objective = UncertaintyLabels(0.3)
    whole = objective(output, mixed(own, partner, target), None, {})
    each = [
        objective(output[row], mixed(own[row], partner[row], target[row]), None, {})
        for row in torch.tensor([3, 0, 4, 2, 1]).split(1)
    ]
    torch.testing.assert_close(torch.stack(each).mean(), whole)


def test_the_weights_pass_no_gradient_and_the_uncertainties_do() -> None:
    output = outputs(5, 2).requires_grad_()
    own, partner = outputs(5, 3).requires_grad_(), outputs(5, 4).requires_grad_()
    batch = mixed(own, partner, pairs())
    loss = UncertaintyLabels(0.0)(output, batch, None, {})
    slopes = torch.autograd.grad(loss, [output, own, partner], allow_unused=True)
    assert slopes[1] is None
    assert slopes[2] is None
    assert (slopes[0][:, CLASSES:] == 0).all()
    slopes = torch.autograd.grad(
        UncertaintyLabels(0.5)(output, batch, None, {}), [output, own, partner]
    )
    for slope in slopes[1:]:
        assert (slope[:, :CLASSES] == 0).all()
        assert (slope[:, CLASSES:] != 0).any()


def test_uncertainties_are_positive_and_of_length_one() -> None:
    _, unsure = halves(outputs(6, 0).bfloat16())
    assert unsure.dtype == torch.float32
    assert (unsure > 0).all()
    torch.testing.assert_close(unsure.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("settings", [{"uncertainty": -0.1}, {"sharpness": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        UncertaintyLabels(**settings)


def test_what_it_cannot_weigh_is_named() -> None:
    objective, output = UncertaintyLabels(), outputs(3, 0)
    three = ClassTarget(torch.zeros(3, 3, dtype=torch.int64), torch.ones(3, 3) / 3)
    with pytest.raises(ValueError, match="the mixture has 3"):
        objective(output, mixed(output, output, three), None, {})
    for target in (Target.of(torch.arange(3)), SoftTarget(torch.eye(3))):
        with pytest.raises(TypeError, match="mix the batch"):
            objective(output, mixed(output, output, target), None, {})
    bare = mixed(output, output, pairs(3)).replace(extras={})
    with pytest.raises(LookupError, match="brings no outputs"):
        objective(output, bare, None, {})
