"""Masks that show as many places as they are told to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers.quantile_mask import quantile_mask, soft_quantile_mask

AUTHORS = load_file(Path(__file__).parent / "golden" / "fmix_authors.safetensors")


@st.composite
def scored(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Rows of scores, many of them equal, and a count for each."""
    rows, places = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    distinct = draw(st.sampled_from([1, 3, 1000]))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    score = generator.integers(-distinct, distinct, (rows, places)).astype(np.float32)
    return torch.from_numpy(score), torch.from_numpy(generator.integers(0, places + 1, rows))


def by_sorting(score: Tensor, count: Tensor) -> Tensor:
    mask = torch.zeros_like(score, dtype=torch.bool)
    for row, wanted in enumerate(count.tolist()):
        order = sorted(range(score.shape[1]), key=lambda at: (-float(score[row, at]), at))
        mask[row, order[:wanted]] = True
    return mask


@given(scored())
def test_it_shows_the_largest_and_of_equal_ones_the_first(case: tuple[Tensor, Tensor]) -> None:
    score, count = case
    mask = quantile_mask(score, count)
    assert torch.equal(mask, by_sorting(score, count))
    assert torch.equal(mask.sum(dim=1), count)


@pytest.mark.parametrize("distinct", [2, 1000])
def test_other_devices_than_the_cpu_give_the_same(distinct: int) -> None:
    generator = torch.Generator().manual_seed(distinct)
    score = torch.randint(distinct, (60, 50), generator=generator).float()
    count = torch.randint(51, (60,), generator=generator)
    # What is compiled goes the way of other devices.
    compiled = torch.compile(quantile_mask, fullgraph=True, backend="eager")
    assert torch.equal(compiled(score, count), quantile_mask(score, count))


@given(scored(), st.integers(0, 20))
def test_an_edge_without_reach_is_hard_and_others_keep_the_sum(
    case: tuple[Tensor, Tensor], most: int
) -> None:
    score, count = case
    score = score + torch.arange(score.shape[1]) * 1e-3  # all different
    hard = quantile_mask(score, count)
    assert torch.equal(soft_quantile_mask(score, count, torch.zeros_like(count)), hard.float())
    reach = count.minimum(score.shape[1] - count).clamp(max=most)
    soft = soft_quantile_mask(score, count, reach)
    torch.testing.assert_close(soft.sum(dim=1), count.float(), atol=1e-4, rtol=1e-5)
    for row, half in enumerate(reach.tolist()):
        ordered = soft[row][score[row].argsort(descending=True)]
        first = int(count[row]) - half
        wanted = torch.linspace(1, 0, 2 * half)
        slope = ordered[first : first + 2 * half]
        torch.testing.assert_close(slope, wanted, atol=1e-6, rtol=0)
        assert bool((ordered[:first] == 1).all())
        assert bool((ordered[first + 2 * half :] == 0).all())


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_masks_are_those_of_the_authors_code(rank: int) -> None:
    score = AUTHORS[f"{rank}.field"]
    total = score[0].numel()
    exact = AUTHORS["lam"].double() * total
    count = torch.where(AUTHORS["up"], exact.ceil(), exact.floor()).long()
    assert torch.equal(quantile_mask(score, count), AUTHORS[f"{rank}.hard"].bool())
    room = torch.minimum(AUTHORS["lam"], 1 - AUTHORS["lam"]).double().clamp(max=0.2)
    soft = soft_quantile_mask(score, count, (room * total).long())
    torch.testing.assert_close(soft, AUTHORS[f"{rank}.soft"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scores_may_be_of_any_floating_type(dtype: torch.dtype) -> None:
    score = torch.tensor([[3.0, 1.0, 2.0, -1.0]], dtype=dtype)
    assert quantile_mask(score, torch.tensor([2])).tolist() == [[True, False, True, False]]
    soft = soft_quantile_mask(score, torch.tensor([2]), torch.tensor([1]))
    assert soft.tolist() == [[1.0, 0.0, 1.0, 0.0]]  # two steps from 1 to 0


def test_there_is_a_count_for_each_row() -> None:
    with pytest.raises(ValueError, match=r"scores \(2, 3\) need counts \(2,\), got \(3,\)"):
        quantile_mask(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))
