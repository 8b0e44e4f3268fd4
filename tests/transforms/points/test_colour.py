"""A scene in another light keeps its points, and its colours stay colours."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, Draws
from vicinal.core.ragged import Ragged
from vicinal.transforms.points.colour import JitterParams, JitterPointColours


def grey(count: int, level: float = 0.5) -> Batch:
    """Scenes of two points each, of the same grey."""
    rows = {
        "position": Ragged.of([torch.rand(2, 3)] * count),
        "colour": Ragged.of([torch.full((2, 3), level)] * count),
    }
    return Batch(rows, None, torch.arange(count))


def test_all_points_of_a_scene_change_alike_and_scenes_differ() -> None:
    batch = grey(200)
    changed = JitterPointColours(prob=1.0)(batch, draws=Draws(0, batch.index))
    colour = torch.stack(changed.x["colour"].rows())
    assert torch.equal(colour[:, 0], colour[:, 1])
    assert len({tuple(one.tolist()) for one in colour[:, 0]}) == 200
    assert changed.x["position"].equal(batch.x["position"])


def test_contrast_multiplies_before_light_and_tint_are_added() -> None:
    params = JitterParams(torch.tensor([1.2]), torch.tensor([[0.1, 0.0, -0.3]]))
    colour = JitterPointColours().apply(grey(1, 0.2), params).x["colour"].values
    torch.testing.assert_close(colour, torch.tensor([[0.34, 0.24, 0.0]] * 2))


def test_changes_reach_the_bounds_and_no_further() -> None:
    batch = grey(8000)
    params = JitterPointColours().sample(batch, Draws(0, batch.index))
    assert params.gain.aminmax().min == pytest.approx(0.8, abs=0.01)
    assert params.gain.aminmax().max == pytest.approx(1.2, abs=0.01)
    tint = (params.offset - params.offset.mean(1, keepdim=True)).abs().amax()
    assert tint <= 40 / 255
    assert params.offset.abs().max() <= 0.2 + 20 / 255 + 1e-6
    assert params.offset.abs().max() > 0.25
    assert (params.gain == 1).float().mean() == pytest.approx(0.5, abs=0.03)
    still = (params.gain == 1) & (params.offset == 0).all(1)
    assert still.float().mean() == pytest.approx(0.25, abs=0.03)


def test_scenes_without_colours_and_without_points_pass() -> None:
    plain = Batch({"position": Ragged.of([torch.rand(2, 3)])}, None, torch.arange(1))
    assert JitterPointColours()(plain, draws=Draws(0, plain.index)) is plain
    empty = {name: Ragged.of([torch.empty(0, 3)]) for name in ("position", "colour")}
    batch = Batch(empty, None, torch.arange(1))
    assert len(JitterPointColours()(batch, draws=Draws(0, batch.index)).x["colour"].values) == 0


def test_colours_of_another_shape_are_refused() -> None:
    x = {"position": Ragged.of([torch.rand(2, 3)]), "colour": Ragged.of([torch.rand(2, 1)])}
    batch = Batch(x, None, torch.arange(1))
    with pytest.raises(TypeError, match="colours"):
        JitterPointColours()(batch, draws=Draws(0, batch.index))
