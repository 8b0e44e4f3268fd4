"""Mixup: one weight for samples and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from vicinal import (
    Batch,
    ClassTarget,
    Draws,
    MultiLabelTarget,
    RegressionTarget,
    SoftTarget,
    Target,
)
from vicinal.mixers.interpolate import Mixup, MixupParams

GOLDEN = Path(__file__).parent / "golden"


def some(rows: int = 5, *shape: int, seed: int = 0) -> Batch:
    x = torch.randn(rows, *(shape or (3, 4)), generator=torch.Generator().manual_seed(seed))
    return Batch(x=x, target=Target.of(torch.arange(rows)), index=torch.arange(rows) * 10)


def drawn(mix: Mixup, batch: Batch, seed: int = 0) -> MixupParams:
    return mix.sample(batch, Draws(seed, batch.index))


@pytest.mark.parametrize("shape", [(), (6,), (3, 5), (3, 4, 2), (1, 2, 3, 2)])
@given(seed=st.integers(0, 10**6))
def test_every_number_is_the_weighted_mean_of_two(shape: tuple[int, ...], seed: int) -> None:
    batch = some(5, *shape, seed=seed) if shape else Batch.of(torch.arange(5.0), torch.arange(5))
    params = drawn(Mixup(), batch, seed)
    mixed = Mixup().apply(batch, params)
    rows = batch.index.tolist()
    for row in range(5):
        at, weight = rows.index(int(params.partner[row])), float(params.kept[row])
        exact = weight * batch.tensor[row].double() + (1 - weight) * batch.tensor[at].double()
        torch.testing.assert_close(mixed.tensor[row].double(), exact, atol=1e-6, rtol=1e-6)
        assert isinstance(mixed.target, ClassTarget)
        assert mixed.target.labels[row].tolist() == [row, at]
        assert mixed.target.weights is not None
        assert mixed.target.weights[row].tolist() == pytest.approx([weight, 1 - weight], abs=1e-7)


def test_the_ends_are_the_samples_themselves() -> None:
    batch = some(4)
    partner = batch.index.roll(1)
    whole = Mixup().apply(batch, MixupParams(partner, torch.ones(4)))
    assert torch.equal(whole.tensor, batch.tensor)
    none = Mixup().apply(batch, MixupParams(partner, torch.zeros(4)))
    assert torch.equal(none.tensor, batch.tensor.roll(1, 0))
    assert none.target.dense(4).argmax(1).tolist() == [3, 0, 1, 2]  # type: ignore[union-attr]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha: float) -> None:
    batch = some(20_000, 1)
    kept = drawn(Mixup(alpha), batch).kept.double().numpy()
    assert stats.kstest(kept, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_towards_zero_one_of_the_two_is_kept_as_it_is() -> None:
    kept = drawn(Mixup(1e-3), some(20_000, 1)).kept
    assert ((kept < 1e-3) | (kept > 1 - 1e-3)).float().mean() > 0.98
    assert kept.mean().item() == pytest.approx(0.5, abs=0.02)


def test_one_weight_a_sample_or_one_for_the_batch() -> None:
    batch = some(30)
    each, shared = drawn(Mixup(), batch), drawn(Mixup(scope="batch"), batch)
    assert len(each.kept.unique()) == 30
    assert len(shared.kept.unique()) == 1
    assert torch.equal(each.partner, shared.partner)
    assert (
        len({float(drawn(Mixup(scope="batch"), batch, seed).kept[0]) for seed in range(20)}) == 20
    )


def test_one_weight_for_the_batch_is_what_the_authors_code_computes() -> None:
    # lam * x + (1 - lam) * x[index]; the loss is lam * CE(y) + (1 - lam) * CE(y[index]).
    batch, mix = some(6, 3, 4, 4), Mixup(scope="batch")
    params = drawn(mix, batch)
    lam, index = float(params.kept[0]), params.partner // 10
    mixed = mix.apply(batch, params)
    exact = lam * batch.tensor + (1 - lam) * batch.tensor[index]
    torch.testing.assert_close(mixed.tensor, exact)
    output = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    criterion, labels = torch.nn.CrossEntropyLoss(), torch.arange(6)
    loss = lam * criterion(output, labels) + (1 - lam) * criterion(output, labels[index])
    assert mixed.target is not None
    torch.testing.assert_close(mixed.target.loss(output), loss, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "target",
    [
        SoftTarget(torch.eye(5)),
        MultiLabelTarget(torch.eye(5)),
        RegressionTarget(torch.arange(5.0)),
        RegressionTarget(torch.eye(5)),
    ],
    ids=["soft", "multilabel", "regression", "regression of several"],
)
def test_every_kind_of_target_is_mixed_with_the_weight_of_the_sample(target: Target) -> None:
    # The sample is its own target, so that both must come out alike.
    values = next(iter(vars(target).values()))
    batch = Batch(x=values.clone(), target=target, index=torch.arange(5))
    mixed = Mixup()(batch, draws=Draws(0, batch.index))
    torch.testing.assert_close(next(iter(vars(mixed.target).values())), mixed.tensor)


def test_a_batch_of_one_meets_itself() -> None:
    batch = some(1)
    mixed = Mixup()(batch, draws=Draws(0, batch.index))
    torch.testing.assert_close(mixed.tensor, batch.tensor)


def test_a_partner_may_come_from_a_pool_without_labels() -> None:
    batch = some(2).replace(pool=Batch(torch.ones(2, 3, 4), None, torch.tensor([7, 8])))
    mixed = Mixup().apply(batch, MixupParams(torch.tensor([8, 7]), torch.tensor([0.5, 0.25])))
    torch.testing.assert_close(mixed.tensor[1], 0.25 * batch.tensor[1] + 0.75)


def test_bytes_are_rounded_to_the_nearest() -> None:
    x = torch.tensor([[0, 7, 255], [10, 8, 254]], dtype=torch.uint8)
    params = MixupParams(torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    mixed = Mixup().apply(Batch.of(x), params).tensor
    assert mixed.dtype == torch.uint8
    assert mixed.tolist() == [[3, 7, 255], [5, 8, 255]]  # 2.5, 7.25, 254.75; 5, 7.5, 254.5


def test_whole_numbers_are_refused() -> None:
    batch = Batch.of(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"uint8 to be interpolated, got torch\.int64"):
        Mixup()(batch, draws=Draws(0, batch.index))


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"alpha": 0}, ValueError),
        ({"alpha": float("inf")}, ValueError),
        ({"alpha": "1"}, TypeError),
        ({"scope": "group"}, ValueError),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = settings
    with pytest.raises(error, match=f"{name} must be"):
        Mixup(**settings)


def test_params_and_result_are_those_of_the_golden_file() -> None:
    golden = json.loads((GOLDEN / "mixup.json").read_text())
    x = torch.arange(8.0).view(4, 2)
    index = torch.tensor(golden["index"])
    batch = Batch(x=x, target=Target.of(torch.arange(4)), index=index)
    params = drawn(Mixup(golden["alpha"]), batch, golden["seed"])
    assert params.partner.tolist() == golden["params"]["partner"]
    assert params.kept.tolist() == pytest.approx(golden["params"]["kept"], abs=1e-7)
    mixed = Mixup(golden["alpha"]).apply(batch, params)
    assert mixed.tensor.flatten().tolist() == pytest.approx(golden["x"], abs=1e-6)


def gradient_of(x: Tensor, kept: Tensor) -> Tensor:
    batch = Batch.of(x)
    params = MixupParams(torch.tensor([1, 2, 0]), kept)
    (gradient,) = torch.autograd.grad(Mixup().apply(batch, params).tensor.sum(), x)
    return gradient


def test_gradients_reach_both_samples_by_weight() -> None:
    kept = torch.tensor([0.25, 0.5, 1.0])
    gradient = gradient_of(torch.randn(3, 2, requires_grad=True), kept)
    # Own weight, and what the row gives to the one that it is the partner of.
    torch.testing.assert_close(gradient[:, 0], torch.tensor([0.25 + 0.0, 0.5 + 0.75, 1.0 + 0.5]))


def test_gradients_reach_params_that_a_network_made() -> None:
    kept = torch.tensor([0.25, 0.5, 1.0], requires_grad=True)
    batch = some(3, 2)
    mixed = Mixup().apply(batch, MixupParams(batch.index.roll(1), kept))
    (gradient,) = torch.autograd.grad(mixed.tensor.sum(), kept)
    torch.testing.assert_close(gradient, (batch.tensor - batch.tensor.roll(1, 0)).sum(1))


def test_the_partners_share_is_its_weight_at_every_place() -> None:
    params = MixupParams(torch.tensor([1, 0]), torch.tensor([0.25, 1.0]))
    share = params.partner_share((torch.arange(3), torch.arange(5)))
    assert share.shape == (2, 3, 5)
    assert share.flatten(1).unique(dim=1).tolist() == [[0.75], [0.0]]


def test_mixtures_are_those_of_openmixup() -> None:
    golden = json.loads((GOLDEN / "mixup_openmixup.json").read_text())
    x = torch.tensor(golden["x"]).view(golden["shape"])
    batch = Batch.of(x, torch.tensor(golden["y"]))
    for case in golden["cases"]:
        params = MixupParams(torch.tensor(case["partner"]), torch.full((5,), case["kept"]))
        mixed = Mixup().apply(batch, params)
        torch.testing.assert_close(
            mixed.tensor, torch.tensor(case["x"]).view_as(x), rtol=1e-6, atol=1e-6
        )
        assert isinstance(mixed.target, ClassTarget)
        assert mixed.target.labels.T.tolist() == case["labels"]
        assert mixed.target.weights is not None
        assert (mixed.target.weights[:, 0] == params.kept).all()
