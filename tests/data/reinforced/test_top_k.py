"""A teacher's output with most classes left out, and the soft label that is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.data.reinforced.top_k import TopK

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ml_dr.json").read_text())


def probabilities(seed: int, classes: int, *, sharpness: float = 3.0, rows: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(rows, classes, generator=generator)).softmax(dim=1)


anything = given(
    seed=st.integers(0, 10_000),
    classes=st.sampled_from([2, 3, 10, 100, 1000]),
    k=st.integers(1, 12),
    sharpness=st.floats(0.0, 30.0),
)


@anything
def test_a_dense_target_sums_to_one_and_has_no_negative_mass(
    seed: int, classes: int, k: int, sharpness: float
) -> None:
    top = TopK.of(probabilities(seed, classes, sharpness=sharpness), k)
    for densify in ("smooth", "renormalise"):
        dense = top.target(classes, densify=densify).dense(classes)
        assert (dense >= 0).all()
        torch.testing.assert_close(
            dense.double().sum(dim=1), torch.ones(4).double(), atol=1e-6, rtol=0
        )


@anything
def test_kept_probabilities_are_kept_exactly(
    seed: int, classes: int, k: int, sharpness: float
) -> None:
    top = TopK.of(probabilities(seed, classes, sharpness=sharpness), k)
    dense = top.target(classes).dense(classes)
    kept = dense.gather(1, top.label)
    left = top.rest > 0
    assert torch.equal(kept[left], top.probability.float()[left])
    # All other classes have the same share of what is left.
    others = dense.scatter(1, top.label, torch.nan)
    for row in others[left]:
        assert len(row[~row.isnan()].unique()) == 1


def test_with_all_classes_kept_it_is_the_whole_softmax() -> None:
    for classes in (2, 7, 10):
        whole = probabilities(0, classes)
        dense = TopK.of(whole, 10).target(classes).dense(classes)
        torch.testing.assert_close(dense, whole, atol=1e-3, rtol=1e-3)  # of float16
        # Of numbers that float16 has, exactly.
        halves = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
        assert torch.equal(TopK.of(halves, 3).target(3).dense(3), halves)


def test_what_rounding_brought_above_one_is_renormalised() -> None:
    # Each of the ten is rounded up: to 0.10004 in float16 from 0.10002.
    even = torch.full((1, 10), 0.10002)
    top = TopK.of(torch.cat([even, torch.zeros(1, 2)], dim=1), 10)
    assert top.probability.double().sum() > 1
    assert top.rest == 0
    dense = top.target(12).dense(12)
    torch.testing.assert_close(dense[0, top.label[0]], torch.full((10,), 0.1))
    assert dense.sum() == pytest.approx(1, abs=1e-6)
    assert (dense.sort().values[0, :2] == 0).all()


def test_renormalising_gives_nothing_to_the_others_and_keeps_ratios() -> None:
    top = TopK.of(torch.tensor([[0.5, 0.25, 0.125, 0.125]]), 2)
    assert top.label.tolist() == [[0, 1]]
    assert top.rest.tolist() == [0.25]
    torch.testing.assert_close(
        top.target(4, densify="renormalise").dense(4), torch.tensor([[2 / 3, 1 / 3, 0, 0]])
    )
    torch.testing.assert_close(top.target(4).dense(4), torch.tensor([[0.5, 0.25, 0.125, 0.125]]))


def test_the_authors_code_smooths_alike() -> None:
    whole = torch.tensor(GOLDEN["teacher_logits"]).softmax(dim=1)
    dense = TopK.of(whole, GOLDEN["k"]).target(whole.shape[1]).dense(whole.shape[1])
    # They keep float32, and here it is float16: half a unit in its last place.
    torch.testing.assert_close(dense, torch.tensor(GOLDEN["dense"]), atol=2.5e-4, rtol=0)
    exact = TopK(
        label=whole.topk(GOLDEN["k"]).indices,
        probability=whole.topk(GOLDEN["k"]).values,
        rest=1 - whole.topk(GOLDEN["k"]).values.sum(dim=1),
    )
    torch.testing.assert_close(
        exact.target(whole.shape[1]).dense(whole.shape[1]), torch.tensor(GOLDEN["dense"])
    )


def test_the_target_is_sparse() -> None:
    assert TopK.of(probabilities(0, 1000), 10).target(1000).labels.shape == (4, 10)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        TopK.of(probabilities(0, 3), 0)
    with pytest.raises(ValueError, match="densify must be one of smooth, renormalise, got 'zeros'"):
        TopK.of(probabilities(0, 3), 2).target(3, densify="zeros")  # type: ignore[arg-type]
