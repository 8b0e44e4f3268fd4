"""Partners by the distance of labels: the table of chances, and draws that follow it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vicinal import Batch, Draws, RegressionTarget, Target
from vicinal.mixers import label_kernel
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.label_kernel import Kernel, LabelKernel, pair_probabilities, spread
from vicinal.mixers.pairing import Pairing
from vicinal.mixers.paste import CutMix

GOLDEN = json.loads((Path(__file__).parent / "golden" / "c_mixup_authors.json").read_text())
KERNELS: tuple[Kernel, ...] = ("gaussian", "tophat")


def rows(labels: Tensor) -> Batch:
    """Samples with these labels, whose rows in the dataset are their places."""
    return Batch.of(torch.zeros(len(labels), 1), RegressionTarget(labels))


def awkward(count: int = 200) -> Tensor:
    """Labels with ties, a dense cluster, one sample three bandwidths (of 0.5) off, and outliers."""
    generator = torch.Generator().manual_seed(0)
    spread_out = torch.randn(count - 104, generator=generator) * 2
    cluster = 10 + torch.rand(100, generator=generator) * 1e-3
    labels = torch.cat([spread_out, cluster, torch.tensor([8.5, 60.0, 61.9, -50.0])])
    labels[:40] = labels[:40].round()
    return labels


def counts(pairing: Pairing, labels: Tensor, anchor: int, *, times: int) -> np.ndarray:
    """How often each row is drawn for one of them."""
    batch = rows(labels)[torch.full((times,), anchor)]
    partner = pairing.partner(batch, Draws(1, torch.arange(times)))
    return partner.bincount(minlength=len(labels)).numpy()


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["case"])
def test_chances_are_those_of_the_authors_code(case: dict[str, Any]) -> None:
    labels = torch.tensor(case["labels"])
    table = pair_probabilities(labels, labels, case["bandwidth"], kernel=case["kernel"])
    wanted = torch.tensor(case["probabilities"], dtype=torch.float64)
    torch.testing.assert_close(table, wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
@given(seed=st.integers(0, 10**6), bandwidth=st.floats(0.1, 5))
def test_the_table_is_the_papers_formula(width: int, seed: int, bandwidth: float) -> None:
    labels = torch.randn(9, width, generator=torch.Generator().manual_seed(seed))
    table = pair_probabilities(labels, labels, bandwidth)
    for i, own in enumerate(labels.tolist()):
        chances = [
            math.exp(-(math.dist(own, other) ** 2) / (2 * bandwidth**2))
            for other in labels.tolist()
        ]
        assert table[i].tolist() == pytest.approx([c / sum(chances) for c in chances], abs=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_neither_the_zero_nor_the_unit_of_labels_matters(kernel: Kernel) -> None:
    labels = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    table = pair_probabilities(labels, labels, 0.7, kernel=kernel)
    shifted = pair_probabilities(labels + 16, labels + 16, 0.7, kernel=kernel)
    scaled = pair_probabilities(labels * 4, labels * 4, 2.8, kernel=kernel)
    torch.testing.assert_close(shifted, table, atol=1e-5, rtol=0)  # labels are float32
    torch.testing.assert_close(scaled, table, atol=1e-12, rtol=0)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_tiny_bandwidth_leaves_partners_with_the_same_label(width: int, kernel: Kernel) -> None:
    labels = torch.randint(0, 12, (50, 1)).float().expand(50, width) / 8
    pairing = LabelKernel(1e-6, kernel).fit(rows(labels))
    met = set()
    for seed in range(40):
        partner = pairing.partner(rows(labels), Draws(seed, torch.arange(50)))
        assert torch.equal(labels[partner], labels)
        met |= set(zip(range(50), partner.tolist(), strict=True))
    ties = (labels[:, None] == labels[None]).all(dim=2)
    assert len(met) > 0.8 * int(ties.sum())  # any of them, not always the sample itself


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_huge_bandwidth_makes_all_rows_as_likely(width: int, kernel: Kernel) -> None:
    labels = torch.randn(50, width, generator=torch.Generator().manual_seed(0))
    drawn = counts(LabelKernel(1e6, kernel).fit(rows(labels)), labels, 7, times=200_000)
    assert stats.chisquare(drawn).pvalue > 0.01


# One among the ties, one of the cluster, the one three bandwidths from it, the outliers: the second
# of them is at 3.8 bandwidths from the first, the third is alone.
@pytest.mark.parametrize("anchor", [0, 120, 196, 197, 199])
def test_draws_follow_the_table(anchor: int) -> None:
    labels = awkward()
    table = pair_probabilities(labels[:, None], labels[:, None], 0.5)[anchor].numpy()
    drawn = counts(LabelKernel(0.5).fit(rows(labels)), labels, anchor, times=250_000)
    assert np.abs(drawn / drawn.sum() - table).sum() / 2 < 0.02


@pytest.mark.parametrize("kernel", KERNELS)
def test_draws_of_all_rows_follow_the_table(kernel: Kernel) -> None:
    labels = awkward()
    table = pair_probabilities(labels[:, None], labels[:, None], 0.5, kernel=kernel).numpy()
    pairing, batch = LabelKernel(0.5, kernel).fit(rows(labels)), rows(labels)
    drawn = np.zeros((200, 200))
    for seed in range(500):
        drawn[np.arange(200), pairing.partner(batch, Draws(seed, batch.index)).numpy()] += 1
    wanted = 500 * table
    often = wanted > 5
    statistic = ((drawn - wanted)[often] ** 2 / wanted[often]).sum()
    assert stats.chi2(often.sum()).sf(statistic) > 0.001
    assert drawn[wanted < 1e-6].sum() == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_draws_by_several_numbers_follow_the_table(kernel: Kernel) -> None:
    labels = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    table = pair_probabilities(labels, labels, 1.0, kernel=kernel)
    pairing = LabelKernel(1.0, kernel).fit(rows(labels))
    for anchor in (0, 17):
        drawn, chances = counts(pairing, labels, anchor, times=20_000), table[anchor].numpy()
        assert np.abs(drawn / drawn.sum() - chances).sum() / 2 < 0.02
        assert drawn[chances < 1e-6].sum() == 0


def test_a_random_pool_stands_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_kernel, "POOL_ROWS", 64)
    labels = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    drawn = counts(LabelKernel(0.6).fit(rows(labels)), labels, 5, times=10_000) / 10_000
    table = pair_probabilities(labels[5:6], labels, 0.6)[0]
    assert drawn[5] < 3 * table[5]  # it is in every pool, and weighs less for it
    apart = (labels - labels[5]).square().sum(dim=1).sqrt().numpy()
    assert drawn @ apart == pytest.approx(table.numpy() @ apart, rel=0.1)
    assert (drawn > 0).sum() > 100  # from all rows, not from 64


@pytest.mark.parametrize("width", [1, 2])
def test_neither_the_order_of_the_rows_nor_the_company_matters(width: int) -> None:
    labels = torch.randint(0, 9, (60, width), generator=torch.Generator().manual_seed(0)).float()
    data = rows(labels)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    pairing, again = LabelKernel(1.0).fit(data), LabelKernel(1.0).fit(data[order])
    partner = pairing.partner(data, Draws(0, data.index))
    some = data[torch.tensor([11, 3, 44])]
    assert torch.equal(again.partner(data, Draws(0, data.index)), partner)
    assert torch.equal(again.partner(some, Draws(0, some.index)), partner[some.index])


def test_partners_from_the_batch_are_in_it_and_need_no_fitting() -> None:
    data = rows(torch.arange(100.0))
    batch = data[torch.tensor([1, 50, 52, 99, 54])].replace(pool=None)
    pairing = LabelKernel(2.0, pool="batch")
    assert not pairing.unfitted
    assert not pairing.pooled
    met = {tuple(pairing.partner(batch, Draws(s, batch.index)).tolist()) for s in range(100)}
    first, middle, near, last, upper = (set(column) for column in zip(*met, strict=True))
    assert (first, last) == ({1}, {99})
    assert middle == near == upper == {50, 52, 54}


def test_without_a_bandwidth_it_is_a_quarter_of_the_spread_of_the_training_labels() -> None:
    labels = torch.tensor([1.0, 3.0, 5.0, 7.0])
    assert spread(labels[:, None]) == pytest.approx(math.sqrt(5))
    fitted = LabelKernel(pool="batch").fit(rows(labels))
    assert fitted == LabelKernel(math.sqrt(5) / 4, pool="batch")
    assert LabelKernel(pool="batch").unfitted
    assert not fitted.unfitted
    same = LabelKernel().fit(rows(torch.ones(4)))
    assert set(same.partner(rows(torch.ones(4)), Draws(0, torch.arange(4))).tolist()) <= {
        0,
        1,
        2,
        3,
    }


def test_a_label_that_nothing_is_near_to_meets_itself() -> None:
    pairing = LabelKernel(1.0).fit(rows(torch.tensor([0.0, 1.0])))
    far = Batch(
        torch.zeros(3, 1), RegressionTarget(torch.tensor([-90.0, 40.0, 0.5])), torch.arange(3) + 7
    )
    partner = pairing.partner(far, Draws(0, far.index))
    assert partner[:2].tolist() == [7, 8]
    assert partner[2] in (0, 1)


def test_fitting_again_forgets_what_was_known() -> None:
    other = LabelKernel().fit(rows(torch.zeros(3))).fit(rows(torch.tensor([0.0, 8.0])))
    batch = rows(torch.tensor([0.0, 8.0]))
    assert other.partner(batch, Draws(0, batch.index)).tolist() == [0, 1]


def test_any_mixer_takes_it() -> None:
    labels = torch.tensor([0.0, 0.0, 10.0, 10.0])
    data = Batch.of(
        torch.arange(4.0)[:, None, None, None].expand(4, 1, 6, 6), RegressionTarget(labels)
    )
    for mixer in (Mixup(pairing=LabelKernel(1.0)), CutMix(pairing=LabelKernel(1.0))):
        assert mixer.pooled
        assert mixer.unfitted
        fitted = mixer.fit(data)
        assert fitted.pooled
        assert not fitted.unfitted
        assert mixer.unfitted  # left as it was
        batch = data[torch.tensor([0, 3])]
        partners = {
            tuple(fitted.sample(batch, Draws(seed, batch.index)).partner.tolist())
            for seed in range(40)
        }
        assert partners == {(0, 2), (0, 3), (1, 2), (1, 3)}
        mixed = fitted(batch, draws=Draws(0, batch.index))
        assert mixed.target.barycentre.tolist() == [0.0, 10.0]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"bandwidth": math.nan}, "bandwidth"),
        ({"bandwidth": math.inf}, "bandwidth"),
        ({"kernel": "linear"}, "kernel"),
        ({"pool": "memory"}, "pool"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        LabelKernel(**settings)


def test_what_it_cannot_pair_is_refused() -> None:
    batch = rows(torch.zeros(3))
    with pytest.raises(ValueError, match=r"call fit\(data\) first"):
        LabelKernel(1.0).partner(batch, Draws(0, batch.index))
    with pytest.raises(TypeError, match="needs regression targets, got classes"):
        LabelKernel(1.0).fit(batch.replace(target=Target.of(torch.arange(3))))
    with pytest.raises(ValueError, match="needs a batch with targets"):
        LabelKernel(1.0).fit(batch.replace(target=None))
    with pytest.raises(ValueError, match="needs finite labels"):
        LabelKernel(1.0).fit(rows(torch.tensor([0.0, math.nan])))
