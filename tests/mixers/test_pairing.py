"""Who is mixed with whom, whatever they are mixed by."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, RegressionTarget, SoftTarget, Target
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.pairing import (
    AnotherClass,
    Pairing,
    PairMixer,
    Permutation,
    Reversed,
    SameClass,
)
from vicinal.mixers.paste import CutMix

PAIRINGS = (Permutation(), SameClass(), AnotherClass())


def classes(*labels: int) -> Batch:
    """A batch whose rows in the dataset are 10 times their places."""
    rows = torch.arange(len(labels))
    return Batch(rows.float()[:, None], Target.of(torch.tensor(labels)), rows * 10)


def partners(pairing: Pairing, batch: Batch, seed: int = 0) -> Tensor:
    """The places in the batch of the partners."""
    return batch.partners(pairing.partner(batch, Draws(seed, batch.index)))[1]


def class_of(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    return batch.target.labels[:, 0]


some_classes = st.lists(st.integers(0, 3), min_size=1, max_size=30).map(lambda some: classes(*some))


@pytest.mark.parametrize("mixer", [Mixup, CutMix])
def test_a_permutation_of_the_batch_is_what_mixers_pair_by(mixer: type[PairMixer]) -> None:
    batch = classes(*range(20)).replace(x=torch.randn(20, 1, 4, 4))
    draws = Draws(3, batch.index)
    wanted = batch.index[draws.permutation("partner")]
    for mix in (mixer(), mixer(pairing=Permutation())):  # type: ignore[call-arg]
        assert torch.equal(mix.sample(batch, draws).partner, wanted)
        assert not mix.pooled
        assert not mix.unfitted
        assert repr(mix).endswith("pairing=Permutation())")


@given(batch=some_classes, seed=st.integers(0, 10**6))
def test_in_a_permutation_every_sample_is_a_partner_once(batch: Batch, seed: int) -> None:
    assert sorted(partners(Permutation(), batch, seed).tolist()) == list(range(len(batch)))


@given(batch=some_classes, seed=st.integers(0, 10**6))
def test_partners_of_the_same_class_have_it(batch: Batch, seed: int) -> None:
    label = class_of(batch)
    assert torch.equal(label[partners(SameClass(), batch, seed)], label)


@given(batch=some_classes, seed=st.integers(0, 10**6))
def test_partners_of_another_class_have_another_wherever_there_is_one(
    batch: Batch, seed: int
) -> None:
    label, place = class_of(batch), partners(AnotherClass(), batch, seed)
    if len(label.unique()) > 1:
        assert (label[place] != label).all()
    else:
        assert torch.equal(place, torch.arange(len(batch)))


@pytest.mark.parametrize(
    ("pairing", "allowed"),
    [(SameClass(), [0, 3, 6]), (AnotherClass(), [1, 2, 4, 5])],
    ids=["same", "another"],
)
def test_every_partner_that_is_allowed_is_as_likely(pairing: Pairing, allowed: list[int]) -> None:
    batch = classes(1, 0, 2, 1, 2, 0, 1)
    counts = torch.zeros(7)
    for seed in range(3000):
        counts[partners(pairing, batch, seed)[3]] += 1
    assert counts.nonzero().flatten().tolist() == allowed
    assert stats.chisquare(counts[allowed].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("pairing", PAIRINGS, ids=repr)
def test_the_order_of_the_batch_does_not_matter(pairing: Pairing) -> None:
    batch = classes(0, 1, 1, 2, 0, 1, 2, 2, 0)
    order = torch.tensor([3, 0, 8, 5, 1, 7, 2, 6, 4])
    other = batch[order].replace(pool=None)
    first = pairing.partner(batch, Draws(0, batch.index))
    again = pairing.partner(other, Draws(0, other.index))
    assert torch.equal(again, first[order])


@pytest.mark.parametrize("pairing", PAIRINGS, ids=repr)
def test_a_batch_of_one_meets_itself(pairing: Pairing) -> None:
    assert partners(pairing, classes(4)).tolist() == [0]


def test_the_class_of_a_mixed_label_is_the_heaviest() -> None:
    rows = torch.arange(3)
    # 0.4 + 0.2 of class 1 outweigh 0.4 of class 0.
    mixed = ClassTarget(
        torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 0]]),
        torch.tensor([[0.4, 0.4, 0.2], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
    )
    for target in (mixed, SoftTarget(mixed.dense(2))):
        batch = Batch(rows, target, rows)
        met = {tuple(partners(AnotherClass(), batch, seed).tolist()) for seed in range(30)}
        assert met == {(2, 2, 0), (2, 2, 1)}


def test_mixing_within_a_class_keeps_the_class() -> None:
    batch = classes(*[0, 1] * 8)
    mixed = Mixup(pairing=SameClass())(batch, draws=Draws(0, batch.index))
    kept = torch.nn.functional.one_hot(class_of(batch), 2).float()
    torch.testing.assert_close(mixed.target.dense(2), kept)
    assert not torch.equal(mixed.x, batch.x)


@pytest.mark.parametrize("pairing", [SameClass(), AnotherClass()], ids=repr)
def test_pairing_by_class_needs_classes(pairing: Pairing) -> None:
    batch = classes(0, 1)
    with pytest.raises(TypeError, match="needs classes as targets, got regression"):
        partners(pairing, batch.replace(target=RegressionTarget(torch.zeros(2))))
    with pytest.raises(ValueError, match="needs a batch with targets"):
        partners(pairing, batch.replace(target=None))


def test_what_is_no_pairing_is_refused() -> None:
    with pytest.raises(TypeError, match="pairing must be a Pairing, got 'same'"):
        Mixup(pairing="same")  # type: ignore[arg-type]


def test_a_batch_meets_itself_backwards() -> None:
    batch = Batch(torch.zeros(4, 2), None, torch.tensor([7, 3, 9, 5]))
    assert Reversed().partner(batch, Draws(0, batch.index)).tolist() == [5, 9, 3, 7]
