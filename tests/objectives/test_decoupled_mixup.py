from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.target import ClassTarget, SoftTarget, Target
from vicinal.objectives.decoupled_mixup import DecoupledMixup, Rescale, Side, decoupled, present

CLASSES = 5
GOLDEN = json.loads((Path(__file__).parent / "golden" / "decoupled_mixup.json").read_text())


def logits(rows: int, *, classes: int = CLASSES, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)


def mixtures(rows: int, *, labels: int = 2, classes: int = CLASSES, seed: int = 0) -> ClassTarget:
    """Of different classes, with weights of each row's own."""
    generator = torch.Generator().manual_seed(seed + 1)
    order = torch.rand(rows, classes, generator=generator).argsort(dim=1)
    weights = torch.rand(rows, labels, generator=generator, dtype=torch.float64) + 0.05
    return ClassTarget(order[:, :labels], weights / weights.sum(dim=1, keepdim=True))


def loss_of(objective: DecoupledMixup, output: Tensor, target: Target | None) -> Tensor:
    batch = Batch(x=output, target=target, index=torch.arange(len(output)))
    return objective(output, batch, None, {})


def by_hand(output: Tensor, target: ClassTarget, eta: float, rescale: Rescale, side: Side) -> float:
    """The loss in plain Python, a row and a label at a time."""
    total = 0.0
    assert target.weights is not None
    for row in range(len(output)):
        z = output[row].tolist()
        shares: dict[int, float] = {}
        for label, weight in zip(
            target.labels[row].tolist(), target.weights[row].tolist(), strict=True
        ):
            shares[label] = shares.get(label, 0.0) + weight
        shares = {label: weight for label, weight in shares.items() if weight > 0}
        whole = math.log(sum(map(math.exp, z)))
        total += sum(weight * (whole - z[label]) for label, weight in shares.items())
        wanted = {"more": max, "less": min}.get(side, max)(shares.values())
        chosen = [one for one, weight in shares.items() if side == "both" or weight == wanted]
        for label in chosen if len(shares) > 1 else []:
            left = [z[c] for c in range(len(z)) if c == label or c not in shares]
            cost = math.log(sum(map(math.exp, left))) - z[label]
            counted = min(1.0, shares[label] / rescale.threshold) ** rescale.power
            total += eta * counted * cost / (1 if side == "both" else len(chosen))
    return total / len(output)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['kind']}")
def test_openmixup_has_the_same_loss_and_gradient(case: dict[str, Any]) -> None:
    output = torch.tensor(GOLDEN["output"]).requires_grad_()
    own, partner = Target.of(torch.tensor(GOLDEN["own"])), Target.of(torch.tensor(case["partner"]))
    target = own.mix(partner, torch.full((len(output),), case["lam"]))
    rescale = Rescale(case["thr"], case["idx"])
    if case["kind"] == "ce":
        objective = DecoupledMixup(case["eta"], rescale, side=case["side"])
    else:
        objective = DecoupledMixup(rescale=rescale, kind="bce", negatives=case["neg"])
    loss = loss_of(objective, output, target)
    assert loss.item() == pytest.approx(case["loss"], abs=2e-6)
    (gradient,) = torch.autograd.grad(loss, output)
    torch.testing.assert_close(gradient, torch.tensor(case["gradient"]), atol=1e-6, rtol=0)


def test_without_eta_it_is_the_mixtures_cross_entropy() -> None:
    output, target = logits(7), mixtures(7)
    found = loss_of(DecoupledMixup(0.0), output, target)
    torch.testing.assert_close(found, target.loss(output), atol=1e-7, rtol=0)


def test_two_samples_of_one_class_have_the_plain_cross_entropy() -> None:
    output, labels = logits(6), torch.arange(6) % CLASSES
    target = Target.of(labels).mix(Target.of(labels), torch.linspace(0, 1, 6))
    found = loss_of(DecoupledMixup(5.0), output, target)
    wanted = F.cross_entropy(output, labels)
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=0)
    unmixed = loss_of(DecoupledMixup(5.0), output, Target.of(labels))
    torch.testing.assert_close(unmixed, wanted)


@pytest.mark.parametrize("classes", [2, 3])
def test_where_all_classes_are_mixed_nothing_is_added(classes: int) -> None:
    output = logits(4, classes=classes).requires_grad_()
    target = mixtures(4, labels=classes, classes=classes)
    assert (decoupled(output, target.labels) == 0).all()
    plain, found = target.loss(output), loss_of(DecoupledMixup(3.0), output, target)
    assert found == plain
    slopes = [torch.autograd.grad(one, output)[0] for one in (found, plain)]
    torch.testing.assert_close(*slopes, atol=0, rtol=0)


@given(seed=st.integers(0, 2**20), shift=st.floats(-50, 50))
def test_a_constant_added_to_all_logits_changes_nothing(seed: int, shift: float) -> None:
    output, target = logits(5, seed=seed), mixtures(5, seed=seed)
    objective = DecoupledMixup(0.7, Rescale(0.8))
    assert loss_of(objective, output + shift, target).item() == pytest.approx(
        loss_of(objective, output, target).item(), abs=2e-5
    )


def test_the_partners_logit_gets_exactly_no_gradient() -> None:
    output, target = logits(6).requires_grad_(), mixtures(6)
    log = decoupled(output, target.labels)
    (slope,) = torch.autograd.grad(-log[:, 0].sum(), output)
    own, partner = (slope.gather(1, target.labels[:, at : at + 1])[:, 0] for at in (0, 1))
    assert (partner == 0).all()
    torch.testing.assert_close(own, log[:, 0].exp().detach() - 1)
    others = slope.scatter(1, target.labels, 0)
    assert (others.gather(1, target.labels) == 0).all()
    assert (others > 0).sum() == 6 * 3


@pytest.mark.parametrize("partner", [40.0, 1000.0, -1000.0])
def test_however_sure_of_the_partner_a_model_is_the_term_is_finite_and_right(
    partner: float,
) -> None:
    # p_a / (1 - p_b) is 0 / 0 there in single precision.
    output = torch.tensor([[1.0, partner, 2.0, 0.0]]).requires_grad_()
    log = decoupled(output, torch.tensor([[0, 1]]))[0, 0]
    wanted = 1 - math.log(math.e + math.e**2 + 1)
    assert log.item() == pytest.approx(wanted, abs=1e-6)
    (slope,) = torch.autograd.grad(-log, output)
    assert slope[0, 0].item() == pytest.approx(math.exp(wanted) - 1, abs=1e-6)
    assert slope[0, 1] == 0
    loss = loss_of(DecoupledMixup(), output, ClassTarget(torch.tensor([[0, 1]]), torch.ones(1, 2)))
    assert loss.isfinite()


@given(
    seed=st.integers(0, 2**20),
    labels=st.integers(2, 4),
    side=st.sampled_from(["both", "more", "less"]),
    power=st.sampled_from([0.0, 0.5, 1.0]),
    threshold=st.sampled_from([0.5, 0.8, 1.0]),
)
def test_every_row_has_its_own_shares_however_many_classes_are_mixed(
    seed: int, labels: int, side: Side, power: float, threshold: float
) -> None:
    output, target = logits(5, seed=seed), mixtures(5, labels=labels, seed=seed)
    rescale = Rescale(threshold, power)
    found = loss_of(DecoupledMixup(0.3, rescale, side=side), output, target)
    assert found.item() == pytest.approx(by_hand(output, target, 0.3, rescale, side), abs=2e-5)


@pytest.mark.parametrize("side", ["both", "more", "less"])
def test_a_half_each_is_a_mixture_like_others_and_no_side_is_preferred(side: Side) -> None:
    output, target = logits(6), mixtures(6)
    halves = target.reweight(torch.full((6, 2), 0.5, dtype=torch.float64))
    swapped = ClassTarget(halves.labels.flip(1), halves.weights)
    objective = DecoupledMixup(0.3, side=side)
    found = loss_of(objective, output, halves)
    assert found.item() == pytest.approx(
        by_hand(output, halves, 0.3, Rescale(power=0.0), side), abs=2e-5
    )
    assert found > halves.loss(output)
    torch.testing.assert_close(loss_of(objective, output, swapped), found)


def test_the_heavier_and_the_lighter_sides_terms_are_both_sides_terms() -> None:
    output, target = logits(8), mixtures(8)
    plain = target.loss(output)
    both, more, less = (
        loss_of(DecoupledMixup(1.0, side=side), output, target) - plain
        for side in ("both", "more", "less")
    )
    torch.testing.assert_close(more + less, both)
    assert not torch.isclose(more, less)


def test_rows_may_come_in_any_order() -> None:
    output, target = logits(9), mixtures(9, labels=3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    for objective in (DecoupledMixup(0.4), DecoupledMixup(kind="bce")):
        torch.testing.assert_close(
            loss_of(objective, output[order], target[order]), loss_of(objective, output, target)
        )


def test_a_third_label_that_is_one_of_the_two_is_counted_once() -> None:
    output = logits(1)
    three = ClassTarget(torch.tensor([[1, 4, 1]]), torch.tensor([[0.2, 0.5, 0.3]]).double())
    two = ClassTarget(torch.tensor([[1, 4]]), torch.tensor([[0.5, 0.5]]).double())
    for objective in (
        DecoupledMixup(0.4, Rescale()),
        DecoupledMixup(rescale=Rescale(), kind="bce"),
    ):
        torch.testing.assert_close(
            loss_of(objective, output, three), loss_of(objective, output, two)
        )


def test_a_label_without_weight_is_no_part_of_the_mixture() -> None:
    # Padding of shorter mixtures is label 0 with weight 0.
    output = logits(1)
    padded = ClassTarget(torch.tensor([[2, 3, 0]]), torch.tensor([[0.6, 0.4, 0.0]]).double())
    labels, _ = present(padded)
    assert labels.tolist() == [[2, 3, 2]]
    short = ClassTarget(padded.labels[:, :2], padded.weights[:, :2])  # type: ignore[index]
    for objective in (DecoupledMixup(2.0), DecoupledMixup(kind="bce", negatives=0.5)):
        torch.testing.assert_close(
            loss_of(objective, output, padded), loss_of(objective, output, short)
        )


def test_binary_labels_are_rescaled_shares() -> None:
    output = logits(1)
    target = ClassTarget(torch.tensor([[0, 3]]), torch.tensor([[0.7, 0.3]]).double())
    labels = torch.tensor([[0.875, 0.0, 0.0, 0.375, 0.0]]).double()
    wanted = F.binary_cross_entropy_with_logits(output, labels, reduction="none")
    objective = DecoupledMixup(rescale=Rescale(0.8), kind="bce")
    torch.testing.assert_close(loss_of(objective, output, target), wanted.sum())
    fewer = wanted * torch.tensor([1.0, 0.1, 0.1, 1.0, 0.1]).double()
    objective = DecoupledMixup(rescale=Rescale(0.8), kind="bce", negatives=0.1)
    torch.testing.assert_close(loss_of(objective, output, target), fewer.sum())
    # Without rescaling the labels are two-hot.
    hot = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]]).double()
    wanted = F.binary_cross_entropy_with_logits(output, hot, reduction="sum")
    torch.testing.assert_close(loss_of(DecoupledMixup(kind="bce"), output, target), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_single(dtype: torch.dtype) -> None:
    output, target = logits(4).to(dtype), mixtures(4)
    exact = loss_of(DecoupledMixup(), output.float(), target)
    torch.testing.assert_close(loss_of(DecoupledMixup(), output, target), exact)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"eta": -0.1}, "eta"),
        ({"kind": "mse"}, "kind"),
        ({"side": "none"}, "side"),
        ({"negatives": 1.5}, "negatives"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DecoupledMixup(**settings)


def test_a_rescaling_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold must be in"):
        Rescale(0.0)
    with pytest.raises(ValueError, match="power must be at least 0"):
        Rescale(power=-1.0)


def test_targets_that_cannot_be_decoupled_are_named() -> None:
    output = logits(3)
    with pytest.raises(TypeError, match="needs class labels, got a soft target"):
        loss_of(DecoupledMixup(), output, SoftTarget(output.softmax(1)))
    with pytest.raises(TypeError, match="needs class labels, got no target"):
        loss_of(DecoupledMixup(), output, None)
    with pytest.raises(ValueError, match="smoothed"):
        loss_of(DecoupledMixup(kind="bce"), output, mixtures(3).smooth(0.1))
