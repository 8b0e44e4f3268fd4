from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.core.target import ClassTarget
from vicinal.objectives.ranking import MixRank, margin_ranking, ndcg

GOLDEN = Path(__file__).parents[1] / "methods" / "golden" / "rankmixup_authors.json"


def authors_cases(kind: str) -> list[dict[str, Any]]:
    """What cvlab-yonsei/RankMixup makes of the same logits and mixtures."""
    cases = json.loads(GOLDEN.read_text())["cases"]
    return [case for case in cases if case["kind"] == kind]


def targets_of(case: dict[str, Any]) -> list[ClassTarget]:
    own = ClassTarget(torch.tensor(case["y"])[:, None])
    return [
        own.mix(own[torch.tensor(partner)], torch.tensor(kept).expand(len(own)))
        for partner, kept in zip(case["partner"], case["kept"], strict=True)
    ]


def mixture(kept: float, own: int = 0, other: int = 1) -> ClassTarget:
    return ClassTarget(torch.tensor([[own, other]]), torch.tensor([[kept, 1 - kept]]))


def logits_of(confidence: Tensor, classes: int = 5) -> Tensor:
    """Logits (..., C) whose largest probability is the confidence, of the first class."""
    rest = ((1 - confidence) / (classes - 1)).log()[..., None].expand(*confidence.shape, 4)
    return torch.cat([confidence.log()[..., None], rest], dim=-1)


# The margin ranking loss.


def test_a_mixture_lacks_the_margin_by_what_it_is_too_sure() -> None:
    raw, mixed = torch.tensor([[5.0, 0.0]]), torch.tensor([[[4.0, 0.0]]])
    rank = MixRank("mrl", weight=1.0, margin=2.0)
    assert rank(raw, mixed, [mixture(0.6)]).item() == 1.0
    assert rank(raw, mixed - torch.tensor([1.0, 0.0]), [mixture(0.6)]).item() == 0.0
    assert MixRank("mrl", weight=0.1)(raw, mixed, [mixture(0.6)]).item() == pytest.approx(0.1)


def test_a_mixture_of_one_class_is_told_by_its_labels_and_counts_as_zero_in_the_mean() -> None:
    raw = torch.tensor([[5.0, 0.0]]).repeat(4, 1)
    mixed = torch.tensor([[[4.0, 0.0]]]).repeat(1, 4, 1)
    labels = torch.tensor([[0, 1], [1, 1], [0, 1], [0, 0]])
    target = ClassTarget(labels, torch.tensor([[0.6, 0.4]]).repeat(4, 1))
    assert target.top_weight().tolist() == pytest.approx([0.6, 1.0, 0.6, 1.0])
    assert MixRank("mrl", weight=1.0)(raw, mixed, [target]).item() == 0.5


@given(kept=st.floats(0.0, 1.0, width=32))
def test_one_class_is_found_whatever_the_weight_drawn(kept: float) -> None:
    own = ClassTarget(torch.tensor([[3]]))
    relevance = own.mix(own, torch.tensor([kept])).top_weight()[:, None]
    ones = torch.ones(1)
    assert margin_ranking(ones, ones[:, None], relevance, 2.0).item() == 0.0


def test_a_constant_in_one_samples_logits_moves_the_loss_on_logits_and_not_on_probabilities() -> (
    None
):
    raw, mixed = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).split(1)
    targets = [ClassTarget(torch.tensor([[0, 1]] * 3), torch.tensor([[0.7, 0.3]] * 3))]
    shifted = raw[0] + torch.tensor([3.0, 0.0, 0.0])[:, None]
    for on, same in (("logit", False), ("prob", True)):
        rank = MixRank("mrl", on=on)  # type: ignore[arg-type]
        before, after = rank(raw[0], mixed, targets), rank(shifted, mixed, targets)
        assert bool(torch.isclose(before, after, atol=1e-6)) == same


def test_several_mixtures_are_each_held_against_their_own_sample() -> None:
    raw = torch.tensor([[1.0, 0.0], [7.0, 0.0]])
    mixed = torch.tensor([[[2.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [6.0, 0.0]]])
    weights = torch.tensor([[0.6, 0.4]] * 2)
    targets = [ClassTarget(torch.tensor([[0, 1]] * 2), weights)] * 2
    # 2 - 1 + 2, 0 - 1 + 2, nothing for 2 against 7, 6 - 7 + 2.
    assert MixRank("mrl", weight=1.0)(raw, mixed, targets).item() == (3 + 1 + 0 + 1) / 4


@pytest.mark.parametrize("case", authors_cases("mrl"))
def test_the_margin_ranking_loss_is_the_authors_but_for_how_one_class_is_left_out(
    case: dict[str, Any],
) -> None:
    raw, mixed = torch.tensor(case["output"]), torch.tensor(case["mixed"])
    targets = targets_of(case)
    same = torch.stack([target.top_weight() for target in targets], 1)[:, 0] > 0.999
    assert same.tolist() == case["same_class"]
    for on, wanted in (("logit", case["ranking"]), ("prob", case["ranking_prob"])):
        if same.any():
            # Their mask (B,) meets a column (B, 1): it scales the mean of all rows by the share of
            # those that are mixed, and leaves none of them out.
            mixes = [mixture(0.5)] * 1
            one = ClassTarget(mixes[0].labels.expand(5, 2), torch.full((5, 2), 0.5))
            every = MixRank("mrl", weight=1.0, margin=case["margin"], on=on)(raw, mixed, [one])
            assert (every * (~same).float().mean()).item() == pytest.approx(wanted, abs=1e-5)
        else:
            rank = MixRank("mrl", weight=1.0, margin=case["margin"], on=on)
            assert rank(raw, mixed, targets).item() == pytest.approx(wanted, abs=1e-5)


# The normalised discounted cumulative gain.


def test_confidence_equal_to_relevance_costs_nothing() -> None:
    values = torch.tensor([[1.0, 0.9, 0.7, 0.55], [1.0, 0.6, 1.0, 0.8]])
    assert ndcg(values, values).tolist() == [1.0, 1.0]


def test_the_gain_is_as_computed_by_hand() -> None:
    relevance = torch.tensor([[1.0, 0.6, 0.8]])
    confidence = torch.tensor([[0.9, 0.7, 0.5]])
    gained = 0.9 + 0.5 / math.log2(3) + 0.7 / 2  # 0.8 comes before 0.6
    ideal = 1.0 + 0.8 / math.log2(3) + 0.6 / 2
    assert ndcg(confidence, relevance).item() == pytest.approx(gained / ideal)
    sure = torch.tensor([[1.0, 1.0, 1.0]])
    gained = 1 + 1 / math.log2(3) + 1 / 2
    assert ndcg(sure, relevance).item() == pytest.approx(ideal / gained)


numbers = st.integers(0, 10_000)


def drawn(seed: int, mixes: int, rows: int = 6) -> tuple[Tensor, Tensor]:
    """Confidences and relevances in double precision, the sample's own first."""
    generator = torch.Generator().manual_seed(seed)
    confidence, relevance = (
        0.5 + 0.5 * torch.rand(2, rows, 1 + mixes, generator=generator, dtype=torch.float64)
    ).unbind()
    relevance[:, 0] = 1
    return confidence, relevance


@given(seed=numbers, mixes=st.integers(1, 5))
def test_the_gain_lies_between_0_and_1(seed: int, mixes: int) -> None:
    confidence, relevance = drawn(seed, mixes)
    gain = ndcg(confidence, relevance)
    assert ((gain > 0) & (gain <= 1)).all()


@given(seed=numbers, mixes=st.integers(2, 5))
def test_the_order_in_which_mixtures_are_given_does_not_matter(seed: int, mixes: int) -> None:
    confidence, relevance = drawn(seed, mixes)
    relevance[::2, -1] = relevance[::2, 1]  # ties too
    order = torch.randperm(mixes, generator=torch.Generator().manual_seed(seed)) + 1
    order = torch.cat([torch.zeros(1, dtype=torch.int64), order])
    given_one, other = ndcg(confidence, relevance), ndcg(confidence[:, order], relevance[:, order])
    torch.testing.assert_close(other, given_one, rtol=1e-12, atol=0)


@given(seed=numbers, mixes=st.integers(2, 5))
def test_swapping_two_confidences_of_unlike_relevance_costs(seed: int, mixes: int) -> None:
    _, relevance = drawn(seed, mixes)
    relevance[:, 1:] = relevance[:, 1:].sort(dim=1, descending=True).values
    shy = relevance * 0.9
    swapped = shy.clone()
    swapped[:, [1, 2]] = shy[:, [2, 1]]
    for right in (relevance, shy):
        wrong = right.clone()
        wrong[:, [1, 2]] = right[:, [2, 1]]
        assert (ndcg(wrong, relevance) < ndcg(right, relevance)).all()


def test_above_the_ideal_the_same_swap_gains() -> None:
    # As coded: what is too sure in sum is paid for by the sum, whatever the order.
    relevance = torch.tensor([[1.0, 0.9, 0.6]])
    ordered, swapped = torch.tensor([[1.0, 0.99, 0.9]]), torch.tensor([[1.0, 0.9, 0.99]])
    assert ndcg(swapped, relevance) > ndcg(ordered, relevance)


@pytest.mark.parametrize("case", authors_cases("ndcg"))
def test_the_gain_is_the_authors(case: dict[str, Any]) -> None:
    raw, mixed = torch.tensor(case["output"]), torch.tensor(case["mixed"])
    targets = targets_of(case)
    relevance = torch.stack([target.top_weight() for target in targets], dim=1)
    torch.testing.assert_close(relevance, torch.tensor(case["relevance"]), atol=1e-6, rtol=0)
    confidence = torch.cat([raw[None], mixed]).softmax(-1).amax(-1).T
    relevance = torch.cat([torch.ones(len(raw), 1), relevance], dim=1)
    torch.testing.assert_close(
        ndcg(confidence, relevance), torch.tensor(case["ndcg"]), atol=1e-5, rtol=0
    )
    rank = MixRank("ndcg", weight=case["weight"])
    wanted = case["weight"] * case["ranking"]
    assert rank(raw, mixed, targets).item() == pytest.approx(wanted, abs=1e-5)


# Gradients.


@pytest.mark.parametrize(
    ("confidence", "relevance"),
    [([0.6, 0.5, 0.55], [1.0, 0.9, 0.8]), ([0.99, 0.9, 0.95], [1.0, 0.55, 0.6])],
    ids=["less sure than ideal", "surer than ideal"],
)
def test_gradients_of_the_gain_are_its_slopes(
    confidence: list[float], relevance: list[float]
) -> None:
    logits = logits_of(torch.tensor([confidence], dtype=torch.float64)).requires_grad_()
    targets = [mixture(one) for one in relevance[1:]]
    rank = MixRank("ndcg", weight=1.0)
    assert torch.autograd.gradcheck(
        lambda z: rank(z[:, 0], z[:, 1:].transpose(0, 1), targets), (logits,)
    )


@pytest.mark.parametrize("on", ["logit", "prob"])
def test_gradients_of_the_margin_are_its_slopes_and_both_sides_have_them(on: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    raw, mixed = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64).unbind()
    raw, mixed = raw.requires_grad_(), mixed[None].requires_grad_()
    target = ClassTarget(torch.tensor([[0, 1]] * 4), torch.tensor([[0.7, 0.3]] * 4))
    rank = MixRank("mrl", on=on)
    assert torch.autograd.gradcheck(lambda a, b: rank(a, b, [target]), (raw, mixed))
    slopes = torch.autograd.grad(rank(raw, mixed, [target]), (raw, mixed))
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_the_order_passes_no_gradient_to_the_relevances() -> None:
    confidence, relevance = drawn(3, 4)
    confidence.requires_grad_()
    ndcg(confidence, relevance).sum().backward()
    assert confidence.grad is not None
    # A confidence moves its own gain alone, by its discount over the ideal sum, up to the branch.
    discount = 1 / torch.arange(2, 7, dtype=torch.float64).log2()
    place = relevance.argsort(dim=1, descending=True).argsort(dim=1)
    ideal = (relevance.sort(dim=1, descending=True).values * discount).sum(1, keepdim=True)
    gained = (confidence.detach() * discount[place]).sum(1, keepdim=True)
    slope = torch.where(
        ideal > gained, discount[place] / ideal, -ideal / gained**2 * discount[place]
    )
    torch.testing.assert_close(confidence.grad, slope)


def test_half_precision_logits_are_ranked_in_single() -> None:
    raw, mixed = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = [ClassTarget(torch.tensor([[0, 1]] * 3), torch.tensor([[0.7, 0.3]] * 3))]
    for kind in ("mrl", "ndcg"):
        rank = MixRank(kind)  # type: ignore[arg-type]
        wide = rank(raw.float(), mixed[None].float(), targets)
        assert rank(raw, mixed[None], targets).equal(wide)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "listwise"}, "kind must be one of mrl, ndcg, got 'listwise'"),
        ({"on": "odds"}, "on must be one of logit, prob, got 'odds'"),
        ({"weight": -1.0}, "weight must not be negative, got -1.0"),
    ],
)
def test_unknown_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixRank(**settings)
