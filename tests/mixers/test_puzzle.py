from __future__ import annotations

import pytest
import torch

from vicinal.mixers.puzzle import Layout, Puzzle, in_finer_blocks


def test_moves_of_large_blocks_are_moves_of_the_small_ones_in_them() -> None:
    finer = in_finer_blocks(torch.tensor([[1, 0, 2, 3]]), 2).view(4, 4)
    assert finer.tolist() == [[2, 3, 0, 1], [6, 7, 4, 5], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_grids_that_do_not_divide_the_image_are_left_out() -> None:
    assert Layout.of((2, 4, 8), (12, 24), block_size=None) == Layout((2, 4), (2, 4))
    assert Layout.of((2, 4, 8), (16, 32), block_size=None).finest == 8


def test_blocks_are_as_small_as_asked_where_cells_are_larger() -> None:
    # Cells of 16, 8 and 4 pixels: the last are smaller than the blocks would be.
    assert Layout.of((2, 4, 8), (32, 32), block_size=8).blocks == (4, 4, 8)


def test_a_layout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none of the grids \(2, 4\) divides .* \(7, 7\)"):
        Layout.of((2, 4), (7, 7), block_size=None)
    with pytest.raises(ValueError, match="blocks of 3 pixels do not divide 2 x 2 cells"):
        Layout.of((2, 4), (8, 8), block_size=3)


def test_the_salient_halves_of_two_images_are_shown_where_they_are_or_moved_to() -> None:
    # One is salient at its left, the other at its left too: one of them has to move.
    x = torch.zeros(2, 1, 4, 4)
    saliency = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(2, 4, 4).contiguous()
    rules = {"beta": 0.0, "gamma": 0.0, "eta": 0.01, "neighbourhood": 1}
    asked = {
        "prior": torch.tensor([0.5, 0.5]),
        "grid": torch.zeros(2, dtype=torch.long),
        "layout": Layout((2,), (2,)),
    }
    partner = torch.tensor([1, 0])
    stays, none = Puzzle(**rules, moving_cost=None).solve(x, saliency, partner, **asked)  # type: ignore[arg-type]
    assert none is None
    share, moved = Puzzle(**rules, moving_cost=0.01).solve(x, saliency, partner, **asked)  # type: ignore[arg-type]
    assert torch.equal(share, stays)
    assert moved is not None
    worth = torch.tensor([0.5, 0.0, 0.5, 0.0])
    for kept, block in zip((share, 1 - share), moved, strict=True):
        seen, home = (kept.flatten(1) > 0), (kept.flatten(1) > 0) * worth
        assert ((seen * worth[block.long()]).sum(1) >= home.sum(1)).all()
