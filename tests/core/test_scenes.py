"""Where scenes of points lie."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch
from vicinal.core.ragged import Ragged
from vicinal.core.scenes import extent, positions


def test_every_scene_has_an_extent_of_its_own_and_an_empty_one_lies_at_the_origin() -> None:
    scenes = [torch.tensor([[1.0, 2, 3], [3, 2, -1]]), torch.empty(0, 3), torch.full((1, 3), 7.0)]
    mean, low, high = extent(Ragged.of(scenes))
    assert mean.tolist() == [[2, 2, 1], [0, 0, 0], [7, 7, 7]]
    assert low.tolist() == [[1, 2, -1], [0, 0, 0], [7, 7, 7]]
    assert high.tolist() == [[3, 2, 3], [0, 0, 0], [7, 7, 7]]


@pytest.mark.parametrize("x", [torch.zeros(2, 3), {"colour": Ragged.of([torch.zeros(2, 3)] * 2)}])
def test_what_has_no_positions_is_refused(x: object) -> None:
    with pytest.raises(TypeError, match="position"):
        positions(Batch(x, None, torch.arange(2)))
