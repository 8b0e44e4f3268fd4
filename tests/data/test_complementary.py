from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from vicinal import Draws
from vicinal.data.complementary import complementary_labels, noise_rate

ROWS = torch.arange(20_000)


def drawn(labels: Tensor, seed: int = 0, **options: Tensor) -> Tensor:
    draws = Draws(seed, ROWS[: len(labels)])
    return complementary_labels(labels, num_classes=4, draws=draws, **options)


def test_every_wrong_class_is_as_likely_and_the_right_one_never_comes() -> None:
    labels = ROWS % 4
    found = drawn(labels)
    assert (found != labels).all()
    for label in range(4):
        counts = found[labels == label].bincount(minlength=4)
        assert stats.chisquare(counts[torch.arange(4) != label].numpy()).pvalue > 1e-3


def test_labels_come_as_often_as_the_transition_says() -> None:
    transition = torch.tensor(
        [[0.0, 0.7, 0.2, 0.1], [0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 0.1, 0.9], [1.0, 0.0, 0.0, 0.0]]
    )
    labels = ROWS % 4
    found = drawn(labels, transition=transition)
    for label, chances in enumerate(transition):
        counts = found[labels == label].bincount(minlength=4)
        possible = chances > 0
        assert (counts[~possible] == 0).all()
        if possible.sum() > 1:
            expected = chances[possible].double() / chances.double().sum() * 5000
            assert stats.chisquare(counts[possible].numpy(), expected.numpy()).pvalue > 1e-3


def test_a_row_has_its_label_in_any_company_and_another_one_for_another_seed() -> None:
    labels = ROWS[:100] % 4
    some = torch.tensor([70, 3, 41])
    alone = complementary_labels(labels[some], num_classes=4, draws=Draws(0, some))
    assert torch.equal(alone, drawn(labels)[some])
    assert not torch.equal(drawn(labels), drawn(labels, seed=1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"labels must be in \[0, 4\), got 1 to 4"):
        drawn(torch.tensor([1, 4]))
    with pytest.raises(ValueError, match=r"must be \(4, 4\) for 4 classes, got \(3, 3\)"):
        drawn(torch.tensor([1, 2]), transition=torch.ones(3, 3) / 3)
    with pytest.raises(ValueError, match="at least 2 classes"):
        complementary_labels(ROWS[:2] * 0, num_classes=1, draws=Draws(0, ROWS[:2]))


def test_a_pair_is_noisy_where_what_one_excludes_is_the_other() -> None:
    classes, excluded = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 2])
    # 0 meets 1, which it excludes; 1 meets 3, neither excludes the other; 2 excludes 0, which is 3.
    assert noise_rate(excluded, classes, torch.tensor([1, 3, 3, 3])) == 0.5


def test_random_pairs_of_ten_classes_are_noisy_one_time_in_five() -> None:
    classes = ROWS % 10
    excluded = complementary_labels(classes, num_classes=10, draws=Draws(0, ROWS))
    partner = Draws(1, ROWS).permutation("partner")
    # 1 - (1 - 1/10)^2, and a standard deviation of 0.003.
    assert float(noise_rate(excluded, classes, partner)) == pytest.approx(0.19, abs=0.011)
    assert float(noise_rate(excluded, classes, ROWS.roll(10))) == 0  # the same class
