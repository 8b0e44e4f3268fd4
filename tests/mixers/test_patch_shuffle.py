"""One image of several, each in patches of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, PatchShuffleMix
from vicinal.mixers.patch_shuffle import PatchShuffleParams, shown_source


def telltale(rows: int, *, size: int = 16) -> Batch:
    """Pixel p of row i holds 1000 i + p; the label is i, and rows are not those of the dataset."""
    x = 1000 * torch.arange(rows)[:, None] + torch.arange(size * size)
    batch = Batch.of(x.float().view(rows, 1, size, size), torch.arange(rows))
    return batch.replace(index=batch.index * 3 + 5)


def mixed_by(mixer: PatchShuffleMix, batch: Batch, seed: int = 0) -> tuple[Batch, Any]:
    return mixer.augment(batch, Draws(seed, batch.index))


def rows_shown(mixed: Batch) -> Tensor:
    """Which row of the batch each pixel is of. Returns (M, H, W) int64."""
    return (mixed.x[:, 0] // 1000).long()


@given(rows=st.integers(1, 13), group=st.integers(2, 4), seed=st.integers(0, 999))
def test_every_row_is_in_one_group_and_every_place_shows_one_of_it(
    rows: int, group: int, seed: int
) -> None:
    batch = telltale(rows)
    mixed, params = mixed_by(PatchShuffleMix(group, cells=4), batch, seed)
    assert len(mixed) == -(-rows // group)
    own = rows_shown(mixed)
    place = (mixed.x[:, 0] % 1000).long()
    assert torch.equal(place, torch.arange(256).view(1, 16, 16).expand_as(place))
    cells = own.unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
    assert torch.equal(cells.amin(3), cells.amax(3))
    members = [set(one.flatten().tolist()) for one in own]
    assert sorted(row for one in members for row in one) == list(range(rows))
    assert [sorted(5 + 3 * row for row in one) for one in members] == [
        sorted(set(one.tolist())) for one in params.group
    ]


@pytest.mark.parametrize("group", [2, 4])
def test_shares_are_equal_where_the_group_divides_the_patches(group: int) -> None:
    mixed, params = mixed_by(PatchShuffleMix(group, cells=8), telltale(8))
    for slot in range(group):
        assert ((params.source == slot).flatten(1).sum(1) == 64 // group).all()
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    assert torch.equal(mixed.target.weights, torch.full((8 // group, group), 1 / group))


def test_where_it_does_not_shares_differ_by_a_patch_and_labels_weigh_by_pixels() -> None:
    mixed, params = mixed_by(PatchShuffleMix(3, cells=5), telltale(8, size=13))
    counts = torch.stack([(params.source == s).flatten(1).sum(1) for s in range(3)], dim=1)
    full = counts[:, 2] > 0
    assert (counts[full].amax(1) - counts[full].amin(1) <= 1).all()
    assert isinstance(mixed.target, ClassTarget)
    dense = mixed.target.dense(8)
    shown_by = torch.nn.functional.one_hot(rows_shown(mixed), 8).float().mean((1, 2))
    torch.testing.assert_close(dense, shown_by)


def test_all_images_of_a_group_show_every_patch_of_every_sample_once() -> None:
    batch = telltale(7)
    mixed, params = mixed_by(PatchShuffleMix(3, cells=4, images="all"), batch)
    assert torch.equal(mixed.index, batch.index)
    seen = torch.zeros(7, 256, dtype=torch.int64)
    values = mixed.x.flatten().long()
    seen.index_put_((values // 1000, values % 1000), torch.ones_like(values), accumulate=True)
    assert (seen == 1).all()
    assert len(params) == 7


def test_what_is_visible_of_each_source_is_found_again() -> None:
    batch = telltale(8)
    mixed, params = mixed_by(PatchShuffleMix(4, cells=4), batch)
    source = shown_source(params, (16, 16))
    for slot in range(4):
        original = batch.take(params.group[:, slot]).x[:, 0]
        visible = source == slot
        assert torch.equal(mixed.x[:, 0][visible], original[visible])
        assert visible.float().mean() == 0.25


def test_one_image_is_the_first_of_all() -> None:
    batch = telltale(9)
    one, _ = mixed_by(PatchShuffleMix(3, cells=4), batch)
    every, _ = mixed_by(PatchShuffleMix(3, cells=4, images="all"), batch)
    rows = [every.index.tolist().index(row) for row in one.index.tolist()]
    assert torch.equal(every.x[rows], one.x)


def test_who_meets_whom_changes_and_patches_too() -> None:
    batch = telltale(12)
    drawn = [mixed_by(PatchShuffleMix(), batch, seed)[1].group.tolist() for seed in range(20)]
    groups = {tuple(sorted(tuple(sorted(one)) for one in each)) for each in drawn}
    assert len(groups) > 15
    _, params = mixed_by(PatchShuffleMix(cells=4), batch)
    assert len(params.source.flatten(1).unique(dim=0)) == 6


def test_params_say_where_the_partners_are() -> None:
    mixed, params = mixed_by(PatchShuffleMix(2, cells=4), telltale(6))
    assert isinstance(params, PatchShuffleParams)
    places = [torch.arange(16)] * 2
    lead = (mixed.index - 5) // 3
    expected = rows_shown(mixed) != lead[:, None, None]
    assert torch.equal(params.partner_share(places), expected.float())


def test_a_batch_of_one_stays_as_it_is() -> None:
    batch = telltale(1)
    mixed, _ = mixed_by(PatchShuffleMix(), batch)
    assert torch.equal(mixed.x, batch.x)
    assert isinstance(mixed.target, ClassTarget)
    assert torch.equal(mixed.target.dense(1), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatchShuffleMix(1), "group must be in"),
        (lambda: PatchShuffleMix(cells=0), "cells must be in"),
        (lambda: PatchShuffleMix(images="some"), "images must be one of"),  # type: ignore[arg-type]
        (lambda: PatchShuffleMix()(torch.zeros(2, 3), torch.arange(2)), "x must be a series"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
