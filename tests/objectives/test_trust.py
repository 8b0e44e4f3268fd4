"""How far labels by attention are trusted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal import Batch, ClassTarget, MaskMix
from vicinal.mixers.cells import CellsParams
from vicinal.objectives.attention_labels import AttentionLabels
from vicinal.objectives.trust import CosineTrust

FILE = Path(__file__).parents[1] / "mixers" / "golden" / "mixpro_authors.json"
GOLDEN = json.loads(FILE.read_text())


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def mixed_as(golden: dict[str, Any]) -> tuple[Batch, CellsParams]:
    cells = torch.tensor(golden["cells"]).bool()
    extent = torch.full((4, 2), cells.shape[1] * golden["cell"])
    params = CellsParams(torch.tensor(golden["partner"]), cells, extent)
    mixer = MaskMix(cell=golden["cell"], weights="cells")
    batch = Batch.of(torch.zeros(4, 1, golden["size"], golden["size"]), torch.arange(4))
    return mixer.apply(batch, params), params


def pair(kept: float = 0.3) -> ClassTarget:
    weights = torch.tensor([[kept, 1 - kept]] * 2)
    return ClassTarget(torch.tensor([[0, 2], [1, 0]]), weights)


ATTENTION = torch.ones(2, 4, 4)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['size']}/{golden['cell']}")
def test_trust_weights_loss_and_gradient_are_the_authors(golden: dict[str, Any]) -> None:
    # The step of main.py in fistyee/MixPro at 53a229e, whose gradient flows through the trust.
    mixed, params = mixed_as(golden)
    output = (filled(4, 5, phase=3.0) * 2).requires_grad_()
    attention = torch.tensor(golden["attention"])
    assert isinstance(mixed.target, ClassTarget)
    trust = CosineTrust(differentiable=True)
    similarity = trust(output, mixed.target, attention)
    expected = torch.tensor(golden["similarity"])
    torch.testing.assert_close(similarity, expected, atol=1e-6, rtol=0)
    objective = AttentionLabels(trust=trust)
    target = objective.target(mixed, params, attention, output=output)
    assert target.weights is not None
    torch.testing.assert_close(
        target.weights[:, 0], torch.tensor(golden["kept"]), atol=1e-6, rtol=0
    )
    loss = objective(output, mixed, params, {objective.probe: attention})
    assert loss.item() == pytest.approx(golden["loss"], abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, output)
    torch.testing.assert_close(gradient, torch.tensor(golden["gradient"]), atol=1e-6, rtol=0)


def test_trust_is_whole_where_the_prediction_is_the_smoothed_target() -> None:
    target = pair()
    exact = target.smooth(0.1).dense(4).log()
    torch.testing.assert_close(CosineTrust()(exact, target, ATTENTION), torch.ones(2))
    flat = CosineTrust()(torch.zeros(2, 4), target, ATTENTION)
    assert ((flat > 0) & (flat < 1)).all()
    # By hand: (0.9 w + 0.025 for both, 0.025 for two others) against a quarter each.
    wanted = torch.tensor([0.295, 0.655, 0.025, 0.025])
    assert flat[0].item() == pytest.approx(1 / (2 * wanted.norm().item()), abs=1e-6)


@pytest.mark.parametrize("trusted", [0.0, 0.4, 1.0])
def test_labels_lie_between_area_and_attention_by_the_trust(trusted: float) -> None:
    mixed, params = mixed_as(GOLDEN[0])
    attention = torch.tensor(GOLDEN[0]["attention"])

    def constant(output: Tensor | None, target: ClassTarget, looked: Tensor) -> Tensor:
        return torch.full((len(target),), trusted)

    found = AttentionLabels(trust=constant).target(mixed, params, attention)
    by_share = AttentionLabels(1 - trusted).target(mixed, params, attention)
    assert found.weights is not None
    torch.testing.assert_close(found.weights, by_share.weights)
    assert found.weights.min() >= 0
    assert found.weights.max() <= 1
    even = AttentionLabels(trust=constant).target(mixed, params, torch.ones_like(attention))
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    assert even.weights is not None
    torch.testing.assert_close(even.weights, mixed.target.weights)


@pytest.mark.parametrize("differentiable", [True, False])
def test_gradients_flow_through_the_trust_only_where_they_are_let(differentiable: bool) -> None:
    mixed, params = mixed_as(GOLDEN[0])
    output = (filled(4, 5) * 2).requires_grad_()
    objective = AttentionLabels(trust=CosineTrust(differentiable=differentiable))
    attention = torch.tensor(GOLDEN[0]["attention"])
    target = objective.target(mixed, params, attention, output=output)
    assert target.weights is not None
    assert target.weights.requires_grad == differentiable
    if differentiable:
        (gradient,) = torch.autograd.grad(target.weights[:, 0].sum(), output)
        assert gradient.abs().max() > 1e-4


def test_trust_by_the_prediction_needs_one() -> None:
    with pytest.raises(ValueError, match="needs the model's output"):
        CosineTrust()(None, pair(), ATTENTION)
