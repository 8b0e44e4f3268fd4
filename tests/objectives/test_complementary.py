from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Target
from vicinal.core.complementary_target import ComplementaryTarget, uniform_transition
from vicinal.objectives.complementary import ComplementaryLoss, Loss

KINDS: tuple[Loss, ...] = ("scl_nl", "scl_exp", "scl_lin", "forward", "lw")
GOLDEN = Path(__file__).parent / "golden" / "icm_losses.json"


def loss_of(kind: Loss, output: Tensor, target: Target, **options: Any) -> Tensor:
    batch = Batch(output, target, torch.arange(len(output)))
    return ComplementaryLoss(kind, **options)(output, batch, None, {})


def excluding(*classes: int) -> ComplementaryTarget:
    return ComplementaryTarget(torch.tensor(classes)[:, None])


@pytest.mark.parametrize("kind", [*KINDS, "forward_biased"])
def test_mixed_labels_cost_what_the_authors_code_says(kind: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    tensors = {name: torch.tensor(golden[name]) for name in golden if name != "losses"}
    target = ComplementaryTarget(tensors["excluded"], tensors["weights"])
    torch.testing.assert_close(target.dense(5), tensors["targets"])
    biased = kind == "forward_biased"
    loss = loss_of(
        "forward" if biased else kind,  # type: ignore[arg-type]
        tensors["logits"],
        target,
        **({"transition": tensors["transition"]} if biased else {}),
    )
    assert float(loss) == pytest.approx(golden["losses"][kind], rel=1e-5)


def test_one_excluded_class_costs_by_its_probability() -> None:
    output = torch.tensor([[1.0, -0.5, 0.3]])
    p, target = float(output.softmax(dim=1)[0, 1]), excluding(1)
    assert float(loss_of("scl_nl", output, target)) == pytest.approx(-math.log(1 - p), rel=1e-5)
    assert float(loss_of("scl_exp", output, target)) == pytest.approx(math.exp(p), rel=1e-5)
    assert float(loss_of("scl_lin", output, target)) == pytest.approx(p, rel=1e-5)
    # Under a uniform transition the class is excluded with a chance of (1 - p) / 2.
    forward = float(loss_of("forward", output, target))
    assert forward == pytest.approx(-math.log((1 - p) / 2), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("excluded", [0, 1, 2])
def test_a_step_takes_probability_from_the_excluded_class_and_gives_it_to_all_others(
    kind: Loss, excluded: int
) -> None:
    output = torch.zeros(1, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(loss_of(kind, output, excluding(excluded)), output)
    moved = (output - slope).softmax(dim=1)[0].detach() - 1 / 3
    assert moved[excluded] < 0
    assert (moved[torch.arange(3) != excluded] > 0).all()


def test_a_transition_that_never_leads_to_a_class_makes_it_no_wiser() -> None:
    # Only samples of class 0 are ever said not to be of class 1: the label proves class 0.
    transition = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    output = torch.zeros(1, 3, requires_grad=True)
    loss = loss_of("forward", output, excluding(1), transition=transition)
    (slope,) = torch.autograd.grad(loss, output)
    moved = (output - slope).softmax(dim=1)[0].detach() - 1 / 3
    assert moved[0] > 0
    assert (moved[1:] < 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_give_a_float32_loss(kind: Loss) -> None:
    output = torch.tensor([[30.0, -2.0, 1.0], [0.1, 0.2, 0.3]])
    half = loss_of(kind, output.bfloat16(), excluding(0, 2))
    assert half.dtype == torch.float32
    assert half.isfinite()
    assert float(half) == pytest.approx(float(loss_of(kind, output, excluding(0, 2))), rel=2e-2)


def test_what_does_not_fit_is_refused() -> None:
    output = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="kind must be one of scl_nl, "):
        ComplementaryLoss("nl")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="complementary labels, got targets of kind classes"):
        loss_of("scl_nl", output, Target.of(torch.tensor([0, 1])))
    with pytest.raises(ValueError, match="leave it out, or take forward"):
        ComplementaryLoss("scl_nl", transition=uniform_transition(3))
    with pytest.raises(ValueError, match="transition of 4 classes, for 3 outputs"):
        loss_of("forward", output, excluding(0, 1), transition=uniform_transition(4))
    for wrong in (torch.ones(3, 3), torch.ones(2, 3) / 3, torch.full((3, 3), math.nan)):
        with pytest.raises(ValueError, match="transition must be"):
            ComplementaryLoss("forward", transition=wrong)
