"""Where scenes are moved to."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pdist

from vicinal import Batch, Draws
from vicinal.core.ragged import Ragged
from vicinal.transforms.points.place import CentrePoints, ShiftPoints


def of(*scenes: torch.Tensor) -> Batch:
    return Batch({"position": Ragged.of(scenes)}, None, torch.arange(len(scenes)))


def test_the_mean_of_every_centred_scene_is_the_origin_and_its_shape_is_kept() -> None:
    batch = of(torch.rand(6, 3) + 5, torch.empty(0, 3), torch.rand(4, 3) * 3)
    centred = CentrePoints()(batch, draws=Draws(0, batch.index)).x["position"].rows()
    for after, before in zip(centred, batch.x["position"].rows(), strict=True):
        torch.testing.assert_close(after.sum(0), torch.zeros(3), rtol=0, atol=1e-5)
        torch.testing.assert_close(pdist(after), pdist(before), rtol=1e-4, atol=1e-5)


def test_shifts_are_uniform_on_half_of_the_extremes() -> None:
    scene = torch.tensor([[-1.0, 0, -4], [3, 2, 0], [0, 1, -1]])
    batch = of(*[scene] * 3000)
    shift = ShiftPoints().sample(batch, Draws(0, batch.index)).shift
    assert shift.amin(0).tolist() == pytest.approx([-0.5, 0, -2], abs=0.01)
    assert shift.amax(0).tolist() == pytest.approx([1.5, 1, 0], abs=0.01)
    assert shift.mean(0).tolist() == pytest.approx([0.5, 0.5, -1], abs=0.04)
    assert torch.corrcoef(shift.T).triu(1).abs().max() < 0.06
    moved = ShiftPoints().augment(batch, Draws(0, batch.index))[0].x["position"].rows()
    torch.testing.assert_close(moved[1] - scene, shift[1].expand(3, 3), rtol=0, atol=1e-6)


def test_an_empty_scene_passes() -> None:
    batch = of(torch.empty(0, 3), torch.ones(1, 3))
    moved = ShiftPoints()(batch, draws=Draws(0, batch.index))
    assert moved.x["position"].lengths.tolist() == [0, 1]
