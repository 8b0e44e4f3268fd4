from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import BalancedMixup, Batch, ClassTarget, Draws, MultiLabelTarget, Target
from vicinal.mixers.balanced_mixup import (
    BalancedParams,
    ClassGroups,
    Rule,
    smooth_share,
    threshold_share,
)

RULES: tuple[Rule, ...] = ("threshold", "smooth")
counts = st.lists(st.floats(1, 1000), min_size=6, max_size=6)
seeds = st.integers(0, 10**6)


def groups(*samples: float) -> ClassGroups:
    """Classes 0, 1 and 2 are common, 3, 4 and 5 rare."""
    numbers = samples or (10.0,) * 6
    return ClassGroups(torch.arange(6) >= 3, torch.tensor(numbers))


def batch_of(*classes: int) -> Batch:
    """Row i holds i in every value; its number in the dataset is 7 i + 3."""
    rows = torch.arange(len(classes))
    x = rows.float()[:, None, None, None].expand(-1, 2, 4, 3)
    return Batch(x, Target.of(torch.tensor(classes)), 7 * rows + 3)


def drawn(mix: BalancedMixup, batch: Batch, seed: int = 0) -> BalancedParams:
    return mix.sample(batch, Draws(seed, batch.index))


def labels(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    return batch.target.labels[:, 0]


some_classes = st.lists(st.integers(0, 5), min_size=1, max_size=20).map(lambda c: batch_of(*c))


@pytest.mark.parametrize("rule", RULES)
@given(batch=some_classes, seed=seeds, samples=counts)
def test_pairs_never_are_of_one_group_and_weights_are_shares(
    rule: Rule, batch: Batch, seed: int, samples: list[float]
) -> None:
    mix = BalancedMixup(rule=rule, groups=groups(*samples))
    params = drawn(mix, batch, seed)
    rare = labels(batch) >= 3
    partner = labels(batch.take(params.partner)) >= 3
    if rare.all() or not rare.any():
        assert (params.kept == 1).all()
        assert (params.own_weight == 1).all()
    else:
        assert (rare != partner).all()
    assert ((params.own_weight >= 0) & (params.own_weight <= 1)).all()
    total = mix.apply(batch, params).target.dense(6).sum(dim=1)  # type: ignore[union-attr]
    torch.testing.assert_close(total, torch.ones(len(batch)))


@pytest.mark.parametrize("rule", RULES)
def test_inputs_and_labels_have_weights_of_their_own(rule: Rule) -> None:
    batch = batch_of(0, 3, 4, 1, 2, 5, 0)
    mix = BalancedMixup(rule=rule, groups=groups(90, 90, 90, 10, 10, 10))
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    place = ((params.partner - 3) // 7).float()
    shown = params.kept * torch.arange(7) + (1 - params.kept) * place
    torch.testing.assert_close(mixed.x, shown[:, None, None, None].expand(-1, 2, 4, 3))
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    torch.testing.assert_close(mixed.target.weights[:, 0], params.own_weight)
    # Whoever is rare has at least its share of the input.
    rare = labels(batch) >= 3
    favour = params.own_weight - params.kept
    assert (favour[rare] >= 0).all()
    assert (favour[~rare] <= 0).all()
    assert favour.abs().max() > 0.1


@pytest.mark.parametrize("rule", RULES)
@given(batch=some_classes, seed=seeds)
def test_classes_of_equal_numbers_have_the_shares_of_their_inputs(
    rule: Rule, batch: Batch, seed: int
) -> None:
    params = drawn(BalancedMixup(rule=rule, groups=groups()), batch, seed)
    torch.testing.assert_close(params.own_weight, params.kept)


def test_ten_new_ones_to_an_old_one_give_a_pure_old_label_below_the_threshold() -> None:
    batch = batch_of(*[0, 3] * 200)
    mix = BalancedMixup(kappa=3.0, tau=0.5, groups=groups(100, 100, 100, 10, 10, 10))
    params = drawn(mix, batch)
    new = labels(batch) == 0
    low = torch.where(new, params.kept, 1 - params.kept) < 0.5
    weight = torch.where(new, params.own_weight, 1 - params.own_weight)
    share = torch.where(new, params.kept, 1 - params.kept)
    assert (weight[low] == 0).all()
    torch.testing.assert_close(weight[~low], share[~low])
    assert low.any()
    assert (~low).any()
    fewer = drawn(BalancedMixup(kappa=11.0, groups=mix.groups), batch)
    torch.testing.assert_close(fewer.own_weight, fewer.kept)


@given(share=st.floats(0, 1), ratio=st.floats(1e-3, 1e3), power=st.floats(0, 2))
def test_the_smooth_rule_is_the_one_of_the_sheet(share: float, ratio: float, power: float) -> None:
    # lam n_old^q / (lam n_old^q + (1 - lam) n_new^q), here with n_old = 7.
    new, old = share * 7.0**power, (1 - share) * (7.0 * ratio) ** power
    given_share = torch.tensor([share], dtype=torch.float64)
    found = smooth_share(given_share, torch.tensor([ratio], dtype=torch.float64), power=power)
    assert float(found) == pytest.approx(new / (new + old), rel=1e-9, abs=1e-12)


@given(share=st.floats(0.01, 0.99), power=st.floats(0.1, 2))
def test_the_smooth_rule_falls_with_the_ratio_and_is_the_share_at_one(
    share: float, power: float
) -> None:
    ratio = torch.tensor([1e-4, 0.1, 0.5, 1.0, 2.0, 10.0, 1e4])
    given_share = torch.full((7,), share)
    found = smooth_share(given_share, ratio, power=power)
    assert (found.diff() < 0).all()
    assert float(found[3]) == pytest.approx(share, rel=1e-5)
    torch.testing.assert_close(smooth_share(given_share, ratio, power=0.0), given_share)
    ends = smooth_share(torch.tensor([0.0, 1.0]), torch.tensor([1e4, 1e4]), power=2.0)
    assert ends.tolist() == [0.0, 1.0]


def test_the_threshold_holds_at_the_ratio_and_not_at_the_share() -> None:
    share = torch.tensor([0.49, 0.49, 0.5])
    ratio = torch.tensor([2.99, 3.0, 3.0])
    found = threshold_share(share, ratio, kappa=3.0, tau=0.5)
    assert found.tolist() == pytest.approx([0.49, 0.0, 0.5])


def test_fitting_finds_the_rarer_half_of_the_classes_that_are_there() -> None:
    # Class 1 is not there; of the other five the two rarest are 4 and 0.
    data = batch_of(*[0] * 2, *[2] * 5, *[3] * 4, *[4] * 1, *[5] * 3)
    found = BalancedMixup().fit(data).groups
    assert found is not None
    assert found.rare.tolist() == [True, False, False, False, True, False]
    assert found.counts.tolist() == [2, 0, 5, 4, 1, 3]


def test_a_long_tail_is_seen_as_often_as_the_head_once_it_is_mixed() -> None:
    classes = [0] * 60 + [1] * 30 + [2] * 6 + [3] * 4
    data = batch_of(*classes)
    mix = BalancedMixup(rule="smooth").fit(data)
    weights = torch.stack(
        [mix(data, draws=Draws(seed, data.index)).target.dense(4).mean(dim=0) for seed in range(20)]
    ).mean(dim=0)
    head, tail = weights[:2].sum(), weights[2:].sum()
    assert tail > head  # with a tenth of the samples
    assert float(head) > 0.1


def test_soft_labels_are_of_their_heaviest_class() -> None:
    batch = batch_of(0, 4, 1, 3)
    soft = Target.of(labels(batch)).smooth(0.1)
    params = drawn(BalancedMixup(groups=groups()), batch.replace(target=soft))
    assert params.equal(drawn(BalancedMixup(groups=groups()), batch))


def test_one_draw_may_do_for_the_batch() -> None:
    params = drawn(BalancedMixup(scope="batch", groups=groups()), batch_of(0, 4, 1, 3))
    assert len(params.kept.unique()) == 1


def test_what_does_not_fit_is_refused() -> None:
    batch = batch_of(0, 4)
    with pytest.raises(ValueError, match="call fit"):
        drawn(BalancedMixup(), batch)
    with pytest.raises(ValueError, match="of 6 classes, the batch has class 8"):
        drawn(BalancedMixup(groups=groups()), batch_of(0, 8))
    with pytest.raises(ValueError, match="needs a batch with targets"):
        drawn(BalancedMixup(groups=groups()), batch.replace(target=None))
    several = batch.replace(target=MultiLabelTarget(torch.ones(2, 6)))
    with pytest.raises(TypeError, match="got multilabel"):
        drawn(BalancedMixup(groups=groups()), several)
    for options, said in [
        ({"alpha": 0.0}, "alpha must be in"),
        ({"tau": 1.5}, "tau must be in"),
        ({"kappa": 0.0}, "kappa must be in"),
        ({"power": -1.0}, "power must be in"),
        ({"rule": "remix"}, "rule must be one of"),
    ]:
        with pytest.raises(ValueError, match=said):
            BalancedMixup(**options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rare must be"):
        ClassGroups(torch.zeros(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)"):
        ClassGroups(torch.zeros(3, dtype=torch.bool), torch.ones(2))
    with pytest.raises(ValueError, match="negative"):
        ClassGroups(torch.zeros(2, dtype=torch.bool), torch.tensor([1.0, -1.0]))


def test_a_batch_of_one_is_left_as_it_is() -> None:
    batch = batch_of(4)
    mix = BalancedMixup(groups=groups())
    mixed = mix.apply(batch, drawn(mix, batch))
    assert torch.equal(mixed.x, batch.tensor)
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.dense(6).tolist() == [[0, 0, 0, 0, 1, 0]]
