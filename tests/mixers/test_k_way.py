"""Mixing several samples at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vicinal import Batch, Draws, MultiLabelTarget, RegressionTarget, SoftTarget, Target
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.k_way import KWayMixup, KWayParams, Weights, mix_many


def some(rows: int = 6, *shape: int) -> Batch:
    x = torch.randn(rows, *(shape or (3, 4, 5)), generator=torch.Generator().manual_seed(0))
    return Batch(x=x, target=Target.of(torch.arange(rows) % 4), index=torch.arange(rows) * 10)


def drawn(mixer: KWayMixup, batch: Batch, seed: int = 0) -> KWayParams:
    return mixer.sample(batch, Draws(seed, batch.index))


@given(seed=st.integers(0, 10**6), images=st.integers(2, 5))
def test_every_sample_is_the_weighted_sum_of_itself_and_its_partners(
    seed: int, images: int
) -> None:
    batch, mixer = some(), KWayMixup(images)
    params = drawn(mixer, batch, seed)
    mixed = mixer.apply(batch, params)
    assert params.partner.shape == (6, images - 1)
    for row in range(6):
        sources = [row, *(params.partner[row] // 10).tolist()]
        weights = params.weights[row].tolist()
        exact = sum(w * batch.tensor[at].double() for w, at in zip(weights, sources, strict=True))
        torch.testing.assert_close(mixed.tensor[row].double(), exact, atol=1e-5, rtol=1e-5)
        dense = [0.0] * 4
        for weight, at in zip(weights, sources, strict=True):
            dense[at % 4] += weight
        assert mixed.target is not None
        assert mixed.target.dense(4)[row].tolist() == pytest.approx(dense, abs=1e-6)


def test_two_samples_are_mixup() -> None:
    batch = some()
    params = drawn(KWayMixup(2), batch)
    several = KWayMixup(2).apply(batch, params)
    two = Mixup().apply(batch, MixupParams(params.partner[:, 0], params.weights[:, 0]))
    assert torch.equal(several.x, two.x)
    assert several.target is not None
    assert several.target.equal(two.target)


def test_masks_weigh_every_pixel_and_leave_the_labels_alone() -> None:
    batch = some(4, 2, 3, 3)
    weights = torch.tensor([[0.2, 0.3, 0.5]]).expand(4, 3)
    masks = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    partner = torch.tensor([[10, 20], [20, 0], [30, 30], [0, 10]])
    mixed = mix_many(batch, partner, weights=weights, shares=masks)
    for row in range(4):
        sources = [row, *(partner[row] // 10).tolist()]
        for channel, y, x in torch.cartesian_prod(torch.arange(2), *[torch.arange(3)] * 2).tolist():
            wanted = sum(
                masks[row, place, y, x] * batch.tensor[at, channel, y, x]
                for place, at in enumerate(sources)
            )
            torch.testing.assert_close(mixed.tensor[row, channel, y, x], wanted)
    plain = mix_many(batch, partner, weights=weights)
    assert mixed.target is not None
    assert mixed.target.equal(plain.target)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("images", [2, 3, 5])
def test_weights_sum_to_one_and_favour_no_place(alpha: float, images: int) -> None:
    batch = some(4000, 1)
    weights = drawn(KWayMixup(images, alpha=alpha), batch).weights
    torch.testing.assert_close(weights.sum(1), torch.ones(4000))
    assert weights.min() >= 0
    torch.testing.assert_close(
        weights.mean(0), torch.full((images,), 1 / images), atol=0.03, rtol=0
    )


def test_the_weight_of_three_is_a_beta_number_over_the_sum_of_three() -> None:
    weights = drawn(KWayMixup(3, alpha=1.0), some(20_000, 1)).weights
    numbers = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(3))
    wanted = (numbers / numbers.sum(1, keepdim=True)).quantile(torch.tensor([0.1, 0.5, 0.9]))
    found = weights.quantile(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_two_dirichlet_weights_are_those_of_mixup_in_distribution(alpha: float) -> None:
    batch = some(4000, 1)
    weights = drawn(KWayMixup(2, alpha=alpha, weights="dirichlet"), batch).weights
    # Of other draws than mixup's: equal numbers would prove nothing.
    kept = Mixup(alpha).sample(batch, Draws(1, batch.index)).kept
    assert not torch.equal(weights[:, 0], kept)
    assert stats.ks_2samp(weights[:, 0].numpy(), kept.numpy()).pvalue > 0.01
    assert stats.kstest(weights[:, 0].numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_dirichlet_weights_of_three_are_uniform_on_the_triangle() -> None:
    weights = drawn(KWayMixup(3, weights="dirichlet"), some(50_000, 1)).weights
    torch.testing.assert_close(weights.sum(1), torch.ones(50_000))
    torch.testing.assert_close(weights.mean(0), torch.full((3,), 1 / 3), atol=0.005, rtol=0)
    torch.testing.assert_close(weights.var(0), torch.full((3,), 1 / 18), atol=0, rtol=0.03)
    # The largest is above 2/3 in three corner triangles of a ninth of the area each.
    uneven = (weights.amax(1) > 2 / 3).double().mean().item()
    assert uneven == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("images", [2, 3, 5])
def test_dirichlet_weights_go_to_the_corners_or_to_the_centre(images: int) -> None:
    batch = some(2000, 1)
    corner = drawn(KWayMixup(images, alpha=0.001, weights="dirichlet"), batch).weights
    assert (corner.amax(1) > 0.999).double().mean() > 0.97
    torch.testing.assert_close(corner.mean(0), torch.full((images,), 1 / images), atol=0.03, rtol=0)
    centre = drawn(KWayMixup(images, alpha=1e6, weights="dirichlet"), batch).weights
    torch.testing.assert_close(centre, torch.full_like(centre, 1 / images), atol=0.005, rtol=0)


def test_mixtures_and_losses_are_the_authors() -> None:
    path = Path(__file__).parent / "golden" / "d_mixup_authors.json"
    cases = json.loads(path.read_text())["cases"]
    assert [len(case["weights"]) for case in cases] == [2, 3, 5]
    for case in cases:
        x = torch.tensor(case["x"])
        batch = Batch.of(x, torch.tensor(case["y"]))
        partner = torch.tensor(case["permutations"]).T
        weights = torch.tensor([case["weights"]] * len(x))
        mixer = KWayMixup(weights.shape[1], weights="dirichlet", scope="batch")
        mixed = mixer.apply(batch, KWayParams(partner, weights))
        torch.testing.assert_close(mixed.tensor, torch.tensor(case["mixed"]), atol=1e-6, rtol=0)
        assert mixed.target is not None
        loss = mixed.target.loss(mixed.tensor @ torch.tensor(case["classifier"]).T)
        assert loss.item() == pytest.approx(case["loss"], rel=1e-6)


def test_large_samples_are_mixed_block_by_block_as_small_ones_are() -> None:
    x = torch.randn(7, 3, 400, 400, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(x, torch.arange(7))
    mixer = KWayMixup(3, weights="dirichlet")
    params = mixer.sample(batch, Draws(0, batch.index))
    at_once = mixer.apply(batch.replace(x=x.clone().requires_grad_()), params)
    torch.testing.assert_close(mixer.apply(batch, params).tensor, at_once.tensor.detach())


@pytest.mark.parametrize("weights", ["beta", "dirichlet"])
def test_a_batch_of_one_or_of_one_class_mixes_with_itself(weights: Weights) -> None:
    one = Batch.of(torch.ones(1, 3), torch.tensor([2]))
    same = Batch.of(torch.ones(5, 3), torch.full((5,), 2))
    for batch in (one, same):
        mixed = KWayMixup(4, weights=weights)(batch)
        torch.testing.assert_close(mixed.x, batch.x)
        torch.testing.assert_close(mixed.target.dense(3), batch.target.dense(3))  # type: ignore[union-attr]


def test_a_batch_may_share_its_weights_but_not_its_partners() -> None:
    params = drawn(KWayMixup(3, scope="batch"), some(50, 1))
    assert (params.weights == params.weights[0]).all()
    assert len(params.partner[:, 0].unique()) == 50
    assert not torch.equal(params.partner[:, 0], params.partner[:, 1])


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (RegressionTarget(torch.tensor([1.0, 2.0, 4.0])), [[2.8]]),
        (SoftTarget(torch.eye(3)), [[0.2, 0.3, 0.5]]),
        (MultiLabelTarget(torch.eye(3)), [[0.2, 0.3, 0.5]]),
        (MultiLabelTarget(torch.eye(3), rule="union"), [[1.0, 1.0, 1.0]]),
        (MultiLabelTarget(torch.eye(3), rule="maximum"), [[0.2, 0.3, 0.5]]),
    ],
    ids=["regression", "soft", "by weight", "union", "maximum"],
)
def test_every_kind_of_target_mixes(target: Target, wanted: list[list[float]]) -> None:
    batch = Batch(x=torch.eye(3), target=target, index=torch.arange(3))
    weights = torch.tensor([[0.2, 0.3, 0.5]] * 3)
    partner = torch.tensor([[1, 2], [0, 2], [0, 1]])
    mixed = mix_many(batch, partner, weights=weights).target
    assert mixed is not None
    values: Tensor = next(value for _, value in mixed.leaves())  # type: ignore[assignment]
    torch.testing.assert_close(values[:1].view(1, -1), torch.tensor(wanted))


def test_gradients_reach_masks_and_inputs() -> None:
    batch = some(4, 2, 3, 3)
    x = batch.tensor.clone().requires_grad_()
    masks = torch.rand(4, 3, 3, 3, requires_grad=True)
    partner = torch.tensor([[10, 20], [20, 0], [30, 30], [0, 10]])
    weights = torch.full((4, 3), 1 / 3)
    mix_many(batch.replace(x=x), partner, weights=weights, shares=masks).tensor.sum().backward()
    sources = torch.cat([torch.arange(4)[:, None], partner // 10], dim=1)
    assert masks.grad is not None
    torch.testing.assert_close(masks.grad, x.detach()[sources].sum(2))
    assert x.grad is not None
    assert (x.grad != 0).any()


def test_what_cannot_be_interpolated_is_refused() -> None:
    batch = Batch.of(torch.zeros(3, 4, dtype=torch.uint8), torch.arange(3))
    with pytest.raises(TypeError, match="floating point"):
        KWayMixup()(batch)
    with pytest.raises(ValueError, match="images must be in"):
        KWayMixup(1)
    with pytest.raises(ValueError, match="alpha must be in"):
        KWayMixup(alpha=0.0, weights="dirichlet")
    with pytest.raises(ValueError, match="weights must be one of beta, dirichlet"):
        KWayMixup(weights="uniform")  # type: ignore[arg-type]
    short = KWayParams(torch.tensor([[1, 2]] * 4), torch.full((4, 3), 1 / 3))
    with pytest.raises(LookupError, match="partners"):
        KWayMixup().apply(some(4, 2), short)
