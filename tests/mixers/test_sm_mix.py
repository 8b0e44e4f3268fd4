"""SMMix: where its windows are, and what is pasted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.ground import run
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, SMMix
from vicinal.core.token_scores import TokenScores
from vicinal.methods.supervised import Supervised
from vicinal.mixers.moved import paste_moved
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.sm_mix import SMMixParams, best_window
from vicinal.models.mlp import MLP

GOLDEN = json.loads((Path(__file__).parent / "golden" / "sm_mix_authors.json").read_text())
PROBE = TokenScores()


class Reversed(Pairing):
    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        return batch.index.flip(0)


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def looked(batch: Batch, maps: Tensor) -> Batch:
    return batch.replace(evidence={PROBE: maps})


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"side {golden['side']}")
def test_windows_images_and_weights_are_those_of_the_authors_code(golden: dict[str, Any]) -> None:
    # smmix.py in ChenMnZ/SMMix at 14b1edc.
    maps = (filled(4, 49, phase=2.0) + filled(4, 49, phase=0.3) * 0.5).view(4, 7, 7)
    batch = looked(Batch.of(filled(4, 3, 14, 14), torch.arange(4)), maps)
    share = (golden["side"] + 0.5) / 7
    mix = SMMix(share, max_side=share, pairing=Reversed())
    mixed, params = mix.augment(batch, Draws(0, batch.index))
    source = params.partner_share([torch.arange(0, 14, 2)] * 2)
    assert torch.equal(source, torch.tensor(golden["source"]).float())
    torch.testing.assert_close(mixed.x[:, 1, 6], torch.tensor(golden["row"]), atol=1e-6, rtol=0)
    sums = (mixed.x * filled(3, 14, 14, phase=5.0)).sum((1, 2, 3))
    torch.testing.assert_close(sums, torch.tensor(golden["image_sums"]), atol=1e-4, rtol=1e-5)
    assert isinstance(mixed.target, ClassTarget)
    dense = mixed.target.smooth(0.1).dense(5)
    torch.testing.assert_close(dense, torch.tensor(golden["target"]), atol=1e-6, rtol=0)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    side=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_window_sums_are_those_of_average_pooling(
    rows: int, columns: int, side: int, seed: int
) -> None:
    side = min(side, rows, columns)
    maps = torch.rand(4, rows, columns, generator=torch.Generator().manual_seed(seed))
    pooled = F.avg_pool2d(maps[:, None].double(), side, stride=1)[:, 0]
    best = pooled.flatten(1).argmax(1)
    expected = torch.stack([best // pooled.shape[2], best % pooled.shape[2]], dim=1)
    assert torch.equal(best_window(maps, torch.full((4,), side)), expected)


def test_each_row_may_have_a_window_of_its_own_side() -> None:
    maps = torch.zeros(2, 6, 5)
    maps[:, 4, 3] = 1.0
    assert best_window(maps, torch.tensor([1, 3])).tolist() == [[4, 3], [2, 1]]


def test_the_partners_brightest_place_covers_the_own_darkest() -> None:
    maps = torch.ones(6, 8, 8)
    maps[:, 5:7, 1:3] = 0.0  # the darkest window of 2 x 2
    maps[:, 0:2, 6:8] = 9.0  # the brightest
    x = torch.arange(6 * 256).float().view(6, 1, 16, 16)
    batch = looked(Batch.of(x, torch.arange(6)), maps)
    mixed, params = SMMix(0.25, max_side=0.25).augment(batch, Draws(0, batch.index))
    expected = x.clone()
    expected[:, :, 10:14, 2:6] = x[params.partner][:, :, 0:4, 12:16]
    assert torch.equal(mixed.x, expected)
    assert mixed.target.weights.tolist() == [[1 - 1 / 16, 1 / 16]] * 6


def test_sides_are_uniform_on_whole_tokens() -> None:
    rows = 4000
    batch = looked(
        Batch.of(torch.zeros(rows, 1, 28, 28), torch.arange(rows)), torch.ones(rows, 14, 14)
    )
    params = SMMix().sample(batch, Draws(0, batch.index))
    side = (params.stop - params.start) // 2
    assert torch.equal(side[:, 0], side[:, 1])
    times = torch.bincount(side[:, 0], minlength=11)
    assert times[:3].sum() == 0
    torch.testing.assert_close(times[3:].float(), torch.full((8,), 500.0), atol=100, rtol=0)
    shared = SMMix(scope="batch").sample(batch, Draws(0, batch.index))
    assert len((shared.stop - shared.start).unique(dim=0)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_pasting_by_views_and_by_gathering_are_the_same(dtype: torch.dtype) -> None:
    x = torch.arange(5 * 2 * 7 * 6).view(5, 2, 7, 6).to(dtype)
    start = torch.tensor([[0, 0], [2, 1], [3, 3], [6, 5], [1, 1]])
    stop = torch.tensor([[7, 6], [4, 4], [3, 3], [7, 6], [6, 2]])
    source = torch.tensor([[0, 0], [5, 3], [0, 0], [0, 0], [2, 4]])
    at = torch.tensor([1, 2, 0, 4, 3])
    box = {"start": start, "stop": stop, "source_start": source}
    found = paste_moved(x, x, at, **box)
    compiled = torch.compile(paste_moved, fullgraph=True, backend="eager")
    assert torch.equal(found, compiled(x, x, at, **box))
    expected = x.clone()
    for row in range(5):
        (top, left), (bottom, right) = start[row].tolist(), stop[row].tolist()
        first, begin = source[row].tolist()
        expected[row, :, top:bottom, left:right] = x[
            at[row], :, first : first + bottom - top, begin : begin + right - left
        ]
    assert torch.equal(found, expected)


def test_images_that_tokens_do_not_divide_are_pasted_within_their_borders() -> None:
    maps = torch.rand(50, 7, 5, generator=torch.Generator().manual_seed(0))
    batch = looked(Batch.of(torch.rand(50, 1, 16, 13), torch.arange(50)), maps)
    mixed, params = SMMix(0.2, max_side=1.0).augment(batch, Draws(0, batch.index))
    size = params.stop - params.start
    assert (params.start >= 0).all()
    assert (params.stop <= torch.tensor([16, 13])).all()
    assert (params.source_start + size <= torch.tensor([16, 13])).all()
    other = params.partner != batch.index
    area = (mixed.x != batch.x).float().mean((1, 2, 3))
    assert (mixed.target.weights[:, 1] - area)[other].min() > -1e-6


def test_params_replay_without_the_model() -> None:
    batch = looked(Batch.of(torch.rand(6, 1, 8, 8), torch.arange(6)), torch.rand(6, 4, 4))
    mix = SMMix()
    mixed, params = mix.augment(batch, Draws(0, batch.index))
    stored = SMMixParams.from_arrow(params.to_arrow())
    assert torch.equal(mix.apply(batch.replace(evidence={}), stored).x, mixed.x)


def test_a_model_that_cannot_say_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="a feature map needs a convolutional network") as refusal:
        run(Supervised(prepared=SMMix()), network=lambda k: MLP((1, 8, 8), k))
    assert "\n" not in str(refusal.value)


class Anywhere(type(PERMUTATION)):  # type: ignore[misc]
    pooled = True


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SMMix(0.0), "min_side must be in"),
        (lambda: SMMix(max_side=1.5), "max_side must be in"),
        (lambda: SMMix(0.8), "min_side must be at most max_side"),
        (lambda: SMMix(probe=TokenScores(when="during")), "asked before mixing"),
        (lambda: SMMix(pairing=Anywhere()), "pair within it"),
        (lambda: SMMix()(torch.zeros(2, 1, 4, 4), torch.arange(2)), "needs what TokenScores finds"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
