"""Grids of cells, and the two mixers that pick their cells at random."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from vicinal import Batch, ClassTarget, CutMix, Draws, MaskMix, PatchMixing
from vicinal.core.partner_share import PartnerShare
from vicinal.mixers.cells import (
    CellsParams,
    GridMask,
    cells_area,
    largest,
    random_cells,
    shown,
    smallest,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "mixpro_authors.json").read_text())


def telltale(rows: int = 6, *, sizes: tuple[int, ...] = (16, 16)) -> Batch:
    """Row i holds i everywhere, and has the label i."""
    x = torch.arange(rows).view(-1, *[1] * (len(sizes) + 1)).expand(rows, 2, *sizes)
    return Batch.of(x.float(), torch.arange(rows))


def mixed_by(mixer: GridMask | CutMix, batch: Batch, seed: int = 0) -> tuple[Batch, Any]:
    return mixer.augment(batch, Draws(seed, batch.index))


def weights_of(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    return batch.target.weights


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    """Numbers that are the same wherever they are made."""
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['size']}/{golden['cell']}")
def test_the_authors_cells_give_the_authors_images_and_weights(golden: dict[str, Any]) -> None:
    # MaskMix of utils.py in fistyee/MixPro at 53a229e, in sides that cells divide and not.
    size, cells = golden["size"], torch.tensor(golden["cells"]).bool()
    params = CellsParams(
        partner=torch.tensor(golden["partner"]),
        cells=cells,
        extent=torch.full((4, 2), cells.shape[1] * golden["cell"]),
    )
    mixer = MaskMix(cell=golden["cell"], weights="cells")
    mixed = mixer.apply(Batch.of(filled(4, 3, size, size), torch.arange(4)), params)
    found = (mixed.x * filled(3, size, size, phase=5.0)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(found, torch.tensor(golden["mixed_sum"]), atol=1e-4, rtol=1e-5)
    row = mixed.x[:, 1, size - 1]
    torch.testing.assert_close(row, torch.tensor(golden["mixed_row"]), atol=1e-6, rtol=0)
    assert isinstance(mixed.target, ClassTarget)
    dense = mixed.target.smooth(0.1).dense(5)
    torch.testing.assert_close(dense, torch.tensor(golden["target"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mixer", [MaskMix(cells=4), MaskMix(cell=4), PatchMixing(cells=4)])
def test_every_token_shows_one_image_where_cells_hold_whole_tokens(mixer: GridMask) -> None:
    mixed, params = mixed_by(mixer, telltale())
    tokens = mixed.x[:, 0].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)  # (B, 8, 8, 4)
    assert torch.equal(tokens.amin(3), tokens.amax(3))
    cells = mixed.x[:, 0, ::4, ::4]
    expected = torch.where(params.cells, batch_rows(6), params.partner[:, None, None])
    assert torch.equal(cells.long(), expected)
    boxes, _ = mixed_by(CutMix(), telltale())
    tokens = boxes.x[:, 0].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)
    assert not torch.equal(tokens.amin(3), tokens.amax(3))


def batch_rows(rows: int) -> Tensor:
    return torch.arange(rows)[:, None, None]


def test_own_cells_are_the_share_rounded_up_and_others_in_every_row() -> None:
    batch = telltale(400)
    draws = Draws(3, batch.index)
    params = MaskMix(alpha=0.7).sample(batch, draws)
    kept = draws.beta("share kept", 0.7, 0.7)
    expected = torch.tensor([math.ceil(float(share) * 16) for share in kept.double()])
    assert torch.equal(params.cells.flatten(1).sum(1), expected)
    shared = MaskMix(scope="batch").sample(batch, draws).cells.flatten(1)
    assert len(shared.sum(1).unique()) == 1
    assert len(shared.unique(dim=0)) > 50


@given(share=st.floats(0, 1), seed=st.integers(0, 2**31 - 1))
def test_replaced_patches_are_the_share_rounded_and_labels_weigh_by_them(
    share: float, seed: int
) -> None:
    mixed, params = mixed_by(PatchMixing(share=share, cells=8), telltale(), seed)
    replaced = (~params.cells).flatten(1).sum(1)
    assert replaced.tolist() == [round(share * 64)] * 6
    assert torch.equal(weights_of(mixed)[:, 0], 1 - replaced / 64)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_all_or_nothing_replaced_one_of_the_two_is_left(share: float) -> None:
    mixed, params = mixed_by(PatchMixing(share=share), telltale())
    left = params.partner if share else torch.arange(6)
    assert torch.equal(mixed.x[:, 0, 0, 0].long(), left)
    assert (mixed.x == mixed.x[:, :1, :1, :1]).all()
    assert weights_of(mixed)[:, int(share)].tolist() == [1.0] * 6


def test_every_cell_is_picked_as_often_as_any_other() -> None:
    rows = 10_000
    draws = Draws(0, torch.arange(rows))
    cells = random_cells(draws, torch.full((rows,), 5), (4, 4))
    assert (cells.flatten(1).sum(1) == 5).all()
    times = cells.sum(0).flatten()
    # Five of sixteen without replacement: the counts vary less than chi-square has it by 11 / 15.
    statistic = ((times - rows * 5 / 16) ** 2 / (rows * 5 / 16 * 11 / 16)).sum() * 15 / 16
    assert 0.001 < stats.chi2.sf(float(statistic), 15) < 0.999
    assert len(cells.flatten(1).unique(dim=0)) > 3800  # of 4,368


def test_replaced_patches_are_scattered_where_a_box_is_one_piece() -> None:
    params = PatchMixing(share=0.3, cells=14).sample(
        telltale(50, sizes=(28, 28)), Draws(1, torch.arange(50))
    )
    pieces = [ndimage.label(~cells.numpy())[1] for cells in params.cells]
    assert sum(pieces) / 50 > 15
    assert len(params.cells.unique(dim=0)) == 50


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    cell=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_labels_weigh_by_pixels_also_where_cells_are_cropped(
    sizes: list[int], cell: int, seed: int
) -> None:
    batch = telltale(3, sizes=tuple(sizes))
    mixed, params = mixed_by(MaskMix(cell=cell), batch, seed)
    other = params.partner != batch.index
    own = (mixed.x[:, 0].flatten(1).long() == torch.arange(3)[:, None]).double().mean(1)
    torch.testing.assert_close(weights_of(mixed)[:, 0][other].double(), own[other])
    counts = tuple(-(-size // cell) for size in sizes)
    assert params.cells.shape[1:] == counts
    by_cells, _ = mixed_by(MaskMix(cell=cell, weights="cells"), batch, seed)
    torch.testing.assert_close(weights_of(by_cells)[:, 0], params.cells.flatten(1).float().mean(1))


@pytest.mark.parametrize(
    ("sizes", "given_cells"),
    [((13, 9), {}), ((13, 9), {"cell": 4}), ((17,), {"cells": 3}), ((5, 7, 4), {"cell": 2})],
)
def test_params_say_where_the_partner_is(
    sizes: tuple[int, ...], given_cells: dict[str, int]
) -> None:
    batch = telltale(5, sizes=sizes)
    mixed, params = mixed_by(MaskMix(**given_cells), batch)
    assert isinstance(params, PartnerShare)
    other = params.partner != batch.index
    every = params.partner_share([torch.arange(size) for size in sizes])
    differs = (mixed.x[:, 0] != batch.x[:, 0]).float()
    assert torch.equal(every[other], differs[other])
    some = params.partner_share([torch.arange(0, size, 3) for size in sizes])
    assert torch.equal(some, every[(slice(None), *(slice(0, size, 3) for size in sizes))])


def test_the_smallest_numbers_are_found() -> None:
    keys = torch.tensor([[3, -1, 2, 1], [4, 3, 2, 1], [1, 2, 3, 4], [5, 4, 3, -(2**62)]])
    found = smallest(keys, torch.tensor([2, 4, 0, 1]))
    expected = [[False, True, False, True], [True] * 4, [False] * 4, [False] * 3 + [True]]
    assert found.tolist() == expected


@given(
    values=st.lists(st.sampled_from([-3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 7e8]), min_size=1),
    data=st.data(),
)
def test_the_largest_numbers_are_found_and_the_first_of_equal_ones(
    values: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(values)))
    found = largest(torch.tensor([values]), torch.tensor([count]))
    order = sorted(range(len(values)), key=lambda place: (-values[place], place))
    assert found.nonzero()[:, 1].tolist() == sorted(order[:count])


def test_cells_beyond_the_end_are_cropped() -> None:
    cells = torch.tensor([[[1, 2], [3, 4]]])
    assert shown(cells, (3, 3), (4, 4)).tolist() == [[[1, 1, 2], [1, 1, 2], [3, 3, 4]]]


@given(
    sizes=st.lists(st.integers(1, 11), min_size=1, max_size=3),
    counts=st.lists(st.integers(1, 6), min_size=3, max_size=3),
    beyond=st.integers(0, 3),
)
def test_the_area_of_cells_is_that_of_their_pixels(
    sizes: list[int], counts: list[int], beyond: int
) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    cells = torch.rand(3, *counts[: len(sizes)], generator=generator) < 0.6
    extents = [size + beyond for size in sizes]
    expected = shown(cells, sizes, extents).flatten(1).double().mean(1).float()
    assert torch.equal(cells_area(cells, sizes, extents), expected)


def test_whole_numbers_stay_whole() -> None:
    batch = telltale()
    levels, _ = mixed_by(PatchMixing(), batch.replace(x=batch.x.byte()))
    assert levels.x.dtype == torch.uint8
    assert torch.equal(levels.x, mixed_by(PatchMixing(), batch)[0].x.byte())


@pytest.mark.parametrize("mixer", [MaskMix(), PatchMixing(share=0.5)])
def test_a_batch_of_one_meets_itself(mixer: GridMask) -> None:
    mixed, _ = mixed_by(mixer, telltale(1))
    assert torch.equal(mixed.x, telltale(1).x)
    assert weights_of(mixed).sum() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskMix(alpha=0), "alpha must be in"),
        (lambda: MaskMix(cells=0), "cells must be in"),
        (lambda: MaskMix(cell=0), "cell must be a positive whole number"),
        (lambda: MaskMix(weights="tokens"), "weights must be one of"),  # type: ignore[arg-type]
        (lambda: PatchMixing(share=1.5), "share must be in"),
        (lambda: PatchMixing(alpha=-1.0), "alpha must be in"),
        (lambda: PatchMixing(scope="group"), "scope must be one of"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_samples_without_places_are_refused() -> None:
    with pytest.raises(ValueError, match="x must be a series"):
        MaskMix()(torch.zeros(4, 3), torch.arange(4))
