"""Labels that say what a sample is not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Batch, Draws, Mixup
from vicinal.core.complementary_target import ComplementaryTarget, uniform_transition


def excluding(*classes: int) -> ComplementaryTarget:
    return ComplementaryTarget(torch.tensor(classes)[:, None])


def logits(rows: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_one_excluded_class_costs_minus_log_of_what_the_others_have() -> None:
    output = logits(4, 5)
    p = output.softmax(dim=1)
    wanted = [-math.log(1 - p[row, label]) for row, label in enumerate([3, 0, 4, 4])]
    loss = excluding(3, 0, 4, 4).loss(output, reduction="none")
    torch.testing.assert_close(loss, torch.tensor(wanted), atol=1e-6, rtol=1e-6)
    mean = excluding(3, 0, 4, 4).loss(output)
    torch.testing.assert_close(mean, torch.tensor(wanted).mean(), atol=1e-6, rtol=1e-6)


def test_a_sure_prediction_of_an_excluded_class_costs_a_finite_number() -> None:
    output = torch.tensor([[80.0, 0.0, 0.0]])
    assert float(excluding(0).loss(output)) == pytest.approx(-math.log(1e-6), rel=1e-3)
    assert float(excluding(1).loss(output)) == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize("excluded", [0, 1, 2])
def test_a_step_takes_probability_from_the_excluded_class_and_gives_it_to_all_others(
    excluded: int,
) -> None:
    output = torch.zeros(1, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(excluding(excluded).loss(output), output)
    moved = (output - slope).softmax(dim=1)[0].detach() - 1 / 3
    assert moved[excluded] < 0
    assert (moved[torch.arange(3) != excluded] > 0).all()


@given(
    kept=st.floats(0, 1),
    seed=st.integers(0, 1000),
    first=st.integers(0, 3),
    other=st.integers(0, 3),
)
def test_a_mixture_costs_the_weighted_sum_of_both(
    kept: float, seed: int, first: int, other: int
) -> None:
    output, weight = logits(1, 4, seed), torch.tensor([kept])
    mixed = excluding(first).mix(excluding(other), weight)
    wanted = weight * excluding(first).loss(output) + (1 - weight) * excluding(other).loss(output)
    torch.testing.assert_close(mixed.loss(output, reduction="none"), wanted)
    torch.testing.assert_close(mixed.total(), torch.ones(1))


def test_equal_classes_add_up_and_mixing_composes() -> None:
    half, fifth = torch.tensor([0.5]), torch.tensor([0.2])
    both = excluding(1).mix(excluding(2), half).mix(excluding(1), 1 - fifth)
    torch.testing.assert_close(both.dense(4), torch.tensor([[0.0, 0.6, 0.4, 0.0]]))
    given_less = excluding(1).mix(excluding(2), half, fifth)
    torch.testing.assert_close(given_less.total(), torch.tensor([0.7]))


def test_the_score_is_what_the_prediction_stays_clear_of() -> None:
    output = torch.eye(3) * 4
    mixed = excluding(0, 0, 0).mix(excluding(1, 1, 0), torch.tensor([0.75, 0.75, 0.5]))
    torch.testing.assert_close(mixed.score(output), torch.tensor([0.25, 0.75, 1.0]))


def test_rows_are_picked_and_joined_whatever_they_were_mixed_of() -> None:
    plain = excluding(0, 2)
    mixed = excluding(1, 1).mix(excluding(2, 0), torch.tensor([0.25, 1.0]))
    joined = ComplementaryTarget.concatenate([plain, mixed])
    torch.testing.assert_close(joined.dense(3)[:2], plain.dense(3))
    torch.testing.assert_close(joined[torch.tensor([3, 2])].dense(3), mixed.dense(3).flip(0))
    assert ComplementaryTarget.concatenate([plain, plain]).weights is None


def test_mixers_carry_it_as_any_other_target() -> None:
    batch = Batch(logits(6, 3), excluding(0, 1, 2, 0, 1, 2), torch.arange(6))
    mix = Mixup()
    params = mix.sample(batch, Draws(0, batch.index))
    mixed = mix.apply(batch, params).target
    assert isinstance(mixed, ComplementaryTarget)
    own, other = torch.eye(3)[batch.index % 3], torch.eye(3)[params.partner % 3]
    kept = params.kept[:, None]
    torch.testing.assert_close(mixed.dense(3), kept * own + (1 - kept) * other)


@pytest.mark.parametrize(
    ("excluded", "weights", "said"),
    [
        (torch.zeros(3), None, "int64"),
        (torch.zeros(3, 1), None, "int64"),
        (torch.zeros(3, 2, dtype=torch.int64), None, "need weights"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 1), "shape of excluded"),
    ],
)
def test_what_cannot_be_excluded_is_refused(
    excluded: Tensor, weights: Tensor | None, said: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        ComplementaryTarget(excluded, weights)
    with pytest.raises(ValueError, match="nothing to concatenate"):
        ComplementaryTarget.concatenate([])


def test_a_uniform_transition_leads_to_every_wrong_class_alike() -> None:
    matrix = uniform_transition(4)
    assert matrix.diagonal().tolist() == [0.0] * 4
    assert matrix[0, 1:].tolist() == [1 / 3] * 3
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        uniform_transition(1)
