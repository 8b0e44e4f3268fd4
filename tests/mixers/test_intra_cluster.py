from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Batch, Draws, IntraClusterMixup, RegressionTarget
from vicinal.core.complementary_target import ComplementaryTarget
from vicinal.mixers.k_way import KWayParams

GOLDEN = Path(__file__).parent / "golden" / "icm_mixing.json"


def clouds(count: int = 40) -> Batch:
    """Even rows around 0, odd ones around 50; row i excludes the class i modulo 5."""
    rows = torch.arange(count)
    x = 50.0 * (rows % 2)[:, None] + torch.randn(
        count, 3, generator=torch.Generator().manual_seed(2)
    )
    return Batch(x, ComplementaryTarget((rows % 5)[:, None]), rows)


def drawn(mix: IntraClusterMixup, batch: Batch, seed: int = 0) -> KWayParams:
    return mix.sample(batch, Draws(seed, batch.index))


@given(
    points=st.integers(2, 4),
    alpha=st.floats(0.01, 4),
    seed=st.integers(0, 1000),
    pool=st.sampled_from(["dataset", "batch"]),
)
def test_weights_are_on_the_simplex_and_partners_of_the_cluster(
    points: int, alpha: float, seed: int, pool: str
) -> None:
    data = clouds()
    mix = IntraClusterMixup(points, alpha=alpha, clusters=2, pool=pool).fit(data)  # type: ignore[arg-type]
    params = drawn(mix, data[:10], seed)
    assert params.partner.shape == (10, points - 1)
    assert torch.equal(params.partner % 2, (torch.arange(10) % 2)[:, None].expand(-1, points - 1))
    assert params.weights.min() >= 0
    torch.testing.assert_close(params.weights.sum(dim=1), torch.ones(10))


def test_inputs_and_excluded_classes_are_mixed_by_the_same_weights() -> None:
    data = clouds()
    mix = IntraClusterMixup(3, alpha=1.0, clusters=2).fit(data)
    batch = data[5:15]
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    assert isinstance(mixed.target, ComplementaryTarget)
    members = torch.cat([batch.index[:, None], params.partner], dim=1)  # (B, 3)
    weights = params.weights[:, :, None]
    torch.testing.assert_close(mixed.x, (data.tensor[members] * weights).sum(dim=1))
    dense = (torch.eye(5)[members % 5] * weights).sum(dim=1)
    torch.testing.assert_close(mixed.target.dense(5), dense)


@pytest.mark.parametrize("points", [2, 3])
def test_all_the_weight_on_itself_gives_the_sample_and_its_label(points: int) -> None:
    data = clouds()
    mix = IntraClusterMixup(points, clusters=2).fit(data)
    params = drawn(mix, data)
    only = torch.zeros(len(data), points)
    only[:, 0] = 1
    mixed = mix.apply(data, KWayParams(params.partner, only))
    assert torch.equal(mixed.x, data.x)
    assert isinstance(mixed.target, ComplementaryTarget)
    assert torch.equal(mixed.target.dense(5), torch.eye(5)[data.index % 5])


@pytest.mark.parametrize("points", [2, 3])
def test_whoever_is_alone_in_a_cluster_stays_as_it_is(points: int) -> None:
    lonely = clouds(9)
    lonely = lonely.replace(x=lonely.tensor.index_fill(0, torch.tensor([4]), 1000.0))
    mix = IntraClusterMixup(points, alpha=1.0, clusters=3).fit(lonely)
    mixed = mix(lonely, draws=Draws(0, lonely.index))
    torch.testing.assert_close(mixed.x[4], lonely.tensor[4])
    assert mixed.x.isfinite().all()
    torch.testing.assert_close(mixed.target.dense(5)[4], torch.eye(5)[4])


@pytest.mark.parametrize("points", [2, 3])
def test_the_mixture_is_the_authors_for_the_same_partners_and_weights(points: int) -> None:
    golden = json.loads(GOLDEN.read_text())
    x, excluded = torch.tensor(golden["x"]), torch.tensor(golden["excluded"])
    batch = Batch.of(x, ComplementaryTarget(excluded[:, None]))
    if points == 2:
        partner, wanted = torch.tensor(golden["partner"])[:, None], torch.tensor(golden["mixed"])
        weights = torch.tensor([[golden["kept"], 1 - golden["kept"]]]).expand(8, -1)
        assert excluded[partner[:, 0]].tolist() == golden["other"]
    else:
        three = golden["three"]
        partner, wanted = torch.tensor(three["partner"]), torch.tensor(three["mixed"])
        weights = torch.tensor([three["weights"]]).expand(8, -1)
    mixed = IntraClusterMixup(points).apply(batch, KWayParams(partner, weights))
    torch.testing.assert_close(mixed.x, wanted, atol=1e-6, rtol=1e-6)


def test_mean_weights_are_equal_and_their_spread_is_that_of_a_dirichlet() -> None:
    data = Batch.of(torch.zeros(6000, 1))
    for points, alpha in [(2, 0.2), (3, 0.2), (3, 1.0)]:
        mix = IntraClusterMixup(points, alpha=alpha, clusters=1).fit(data)
        weights = drawn(mix, data).weights
        mean = 1 / points
        variance = mean * (1 - mean) / (points * alpha + 1)
        assert weights.mean(dim=0).tolist() == pytest.approx([mean] * points, abs=0.02)
        assert weights.var(dim=0).tolist() == pytest.approx([variance] * points, rel=0.06)


def test_one_set_of_weights_may_do_for_the_batch() -> None:
    data = clouds()
    weights = drawn(IntraClusterMixup(3, scope="batch", clusters=2).fit(data), data).weights
    assert len(weights.unique(dim=0)) == 1


def test_numbers_to_predict_are_mixed_too() -> None:
    data = clouds()
    data = data.replace(target=RegressionTarget(data.index.float()))
    mix = IntraClusterMixup(2, clusters=2).fit(data)
    params = drawn(mix, data)
    both: Tensor = torch.stack([data.index, params.partner[:, 0]], dim=1).float()
    mixed = mix.apply(data, params).target
    assert isinstance(mixed, RegressionTarget)
    torch.testing.assert_close(mixed.values, (both * params.weights).sum(dim=1))


def test_what_is_out_of_range_is_refused() -> None:
    for options, said in [
        ({"points": 1}, "points must be in"),
        ({"alpha": 0.0}, "alpha must be in"),
        ({"clusters": 0}, "clusters must be in"),
        ({"pool": "memory"}, "pool must be one of"),
    ]:
        with pytest.raises(ValueError, match=said):
            IntraClusterMixup(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="call fit"):
        drawn(IntraClusterMixup(), clouds())
