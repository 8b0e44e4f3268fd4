"""Partners from the same cluster, or from any groups that are known."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn

from vicinal import Batch, Draws, Mixup, Target
from vicinal.core.probe import Features
from vicinal.data.complementary import complementary_labels, noise_rate
from vicinal.mixers import cluster_pairing
from vicinal.mixers.cluster_pairing import Pool, SameCluster, SameGroup, k_means, scaled_values
from vicinal.mixers.pairing import Pairing

POOLS: tuple[Pool, ...] = ("dataset", "batch")


def numbered(count: int) -> Batch:
    """Rows of a dataset whose numbers are neither sorted nor consecutive."""
    index = torch.randperm(5 * count, generator=torch.Generator().manual_seed(0))[:count]
    return Batch(index.float()[:, None], None, index)


def met(pairing: Pairing, batch: Batch, seed: int = 0) -> Tensor:
    """The partners' rows in the dataset."""
    return pairing.partner(batch, Draws(seed, batch.index))


def blobs(count: int = 60) -> tuple[Batch, Tensor]:
    """Three clouds far apart, and which of them each sample is of."""
    cloud = torch.arange(count) % 3
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(1))
    centre = torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]])[cloud]
    return Batch(centre + noise, None, torch.arange(count) + 100), cloud


@pytest.mark.parametrize("pool", POOLS)
@given(groups=st.lists(st.integers(0, 4), min_size=1, max_size=25), seed=st.integers(0, 10**6))
def test_partners_are_of_the_same_group_and_whoever_is_alone_meets_itself(
    pool: Pool, groups: list[int], seed: int
) -> None:
    group, data = torch.tensor(groups), numbered(len(groups))
    pairing = SameGroup(group, data.index, pool=pool)
    partner = met(pairing, data, seed)
    assert torch.equal(pairing.groups_of(partner), group)
    alone = group.bincount()[group] == 1
    assert torch.equal(partner[alone], data.index[alone])


@pytest.mark.parametrize(("pool", "met_by_some"), [("dataset", True), ("batch", False)])
def test_partners_come_from_the_pool(pool: Pool, met_by_some: bool) -> None:
    data = numbered(40)
    pairing = SameGroup(torch.arange(40) % 2, data.index, pool=pool)
    batch = data[:8]
    partner = met(pairing, batch)
    assert pairing.pooled == (pool == "dataset")
    assert bool((~torch.isin(partner, batch.index)).any()) == met_by_some


@pytest.mark.parametrize("pool", POOLS)
def test_every_member_of_a_group_is_as_likely(pool: Pool) -> None:
    data = numbered(7)
    pairing = SameGroup(torch.tensor([4, 0, 4, 1, 4, 0, 4]), data.index, pool=pool)
    counts: dict[int, int] = {}
    for seed in range(3000):
        partner = int(met(pairing, data, seed)[2])
        counts[partner] = counts.get(partner, 0) + 1
    assert counts.keys() == set(data.index[[0, 2, 4, 6]].tolist())
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_partners_of_one_group_are_those_of_any_pairing_with_replacement() -> None:
    # One cluster for all: every pair of positions is as likely, as with partners drawn at random.
    data = numbered(6)
    pairing = SameGroup(torch.zeros(6, dtype=torch.int64), data.index)
    place = {row: at for at, row in enumerate(data.index.tolist())}
    counts = torch.zeros(6, 6)
    for seed in range(2000):
        for own, partner in enumerate(met(pairing, data, seed).tolist()):
            counts[own, place[partner]] += 1
    assert stats.chisquare(counts.flatten().numpy()).pvalue > 1e-3


@pytest.mark.parametrize("pool", POOLS)
def test_the_order_of_the_rows_does_not_matter(pool: Pool) -> None:
    data = numbered(12)
    order = torch.tensor([5, 0, 11, 3, 7, 1, 10, 2, 9, 4, 8, 6])
    group = torch.arange(12) % 3
    pairing = SameGroup(group, data.index, pool=pool)
    other = SameGroup(group[order], data.index[order], pool=pool)
    shuffled = data[order].replace(pool=None)
    assert torch.equal(met(other, shuffled), met(pairing, data)[order])


def test_clouds_far_apart_are_never_mixed() -> None:
    data, cloud = blobs()
    mix = Mixup(pairing=SameCluster(3)).fit(data)
    assert mix.pooled
    assert not mix.unfitted
    partner = mix.sample(data[10:40], Draws(0, data.index[10:40])).partner
    assert torch.equal(cloud[partner - 100], cloud[10:40])
    assert len(k_means(data.tensor, 3).unique()) == 3


def test_clusters_may_be_of_what_an_encoder_sees() -> None:
    # The encoder drops the axis along which two of the clouds differ.
    data, cloud = blobs()
    encoder = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 3))
    with torch.no_grad():
        encoder[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
    features = functools.partial(Features(layer="0").answer, encoder)
    pairing = SameCluster(2, features=features).fit(data)
    group = pairing.groups_of(data.index)
    assert len(group[cloud != 1].unique()) == len(group[cloud == 1].unique()) == 1
    assert len(group.unique()) == 2


def test_the_unit_of_a_column_does_not_matter() -> None:
    data, _ = blobs()
    wide = data.replace(x=torch.cat([data.tensor, data.tensor[:, :1].sin() * 1e-3], dim=1))
    stretched = wide.replace(x=wide.tensor * torch.tensor([1.0, 1000.0, 1.0]))
    torch.testing.assert_close(scaled_values(stretched), scaled_values(wide), rtol=1e-4, atol=1e-4)
    constant = Batch.of(torch.ones(4, 2))
    assert scaled_values(constant).isfinite().all()
    images = Batch.of(torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8))
    assert scaled_values(images).shape == (5, 48)


@pytest.mark.parametrize("rows", ["equal", "few"])
def test_there_may_be_fewer_rows_than_clusters(rows: str) -> None:
    x = torch.zeros(7, 2) if rows == "equal" else torch.eye(3)
    data = Batch.of(x)
    pairing = SameCluster(50).fit(data)
    group = pairing.groups_of(data.index)
    assert len(group.unique()) == (1 if rows == "equal" else 3)
    assert torch.isin(met(pairing, data), data.index).all()


def test_many_rows_are_clustered_from_parts_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    data, cloud = blobs(600)
    monkeypatch.setattr(cluster_pairing, "MANY_ROWS", 500)
    group = SameCluster(3).fit(data).groups_of(data.index)
    assert len({(int(a), int(b)) for a, b in zip(group, cloud, strict=True)}) == 3
    assert torch.equal(group, SameCluster(3).fit(data).groups_of(data.index))


def test_noise_is_nothing_with_classes_as_clusters_and_a_fiftieth_with_clusters_of_digits() -> None:
    digits = load_digits()
    x, y = torch.from_numpy(digits.images).float()[:, None], torch.from_numpy(digits.target).long()
    data = Batch.of(x, y)
    excluded = complementary_labels(y, num_classes=10, draws=Draws(0, data.index))

    def noise(pairing: Pairing) -> float:
        rates = [noise_rate(excluded, y, met(pairing, data, seed)) for seed in range(5)]
        return float(torch.stack(rates).mean())

    assert noise(SameGroup(y)) == 0
    assert noise(SameGroup(y * 0)) == pytest.approx(0.19, abs=0.01)  # 1 - (1 - 1/10)^2
    assert noise(SameCluster(50).fit(data)) == pytest.approx(0.02, abs=0.01)


def test_what_does_not_fit_is_refused() -> None:
    data = numbered(4)
    with pytest.raises(ValueError, match="call fit"):
        met(SameCluster(2), data)
    with pytest.raises(ValueError, match=r"rows \[\d+\] have no group"):
        met(SameGroup(torch.tensor([0, 1, 0]), data.index[:3]), data)
    with pytest.raises(ValueError, match="clusters must be at least 1, got 0"):
        SameCluster(0)
    for make in (SameCluster, functools.partial(SameGroup, torch.zeros(4, dtype=torch.int64))):
        with pytest.raises(ValueError, match="pool must be dataset or batch, got 'memory'"):
            make(pool="memory")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="group must be"):
        SameGroup(torch.zeros(4))
    with pytest.raises(ValueError, match="3 groups, for 2 rows"):
        SameGroup(torch.tensor([0, 1, 0]), torch.tensor([4, 5]))
    with pytest.raises(ValueError, match="a row twice"):
        SameGroup(torch.tensor([0, 1, 0]), torch.tensor([4, 5, 4]))
    with pytest.raises(ValueError, match="finite"):
        SameCluster(2).fit(Batch.of(torch.full((3, 2), torch.nan)))
    with pytest.raises(ValueError, match="features of 2 rows, for 4 samples"):
        SameCluster(2, features=lambda batch: batch.tensor[:2]).fit(data)
    assert repr(SameGroup(torch.tensor([3, 1, 3]))) == (
        "SameGroup(2 groups of 3 rows, pool='dataset')"
    )


def test_targets_play_no_part() -> None:
    data, _ = blobs()
    labelled = data.replace(target=Target.of(torch.arange(60)))
    pairing = SameCluster(3)
    assert torch.equal(met(pairing.fit(labelled), labelled), met(pairing.fit(data), data))
