"""A network for scenes: neighbours are found within a scene, and order does not matter."""

from __future__ import annotations

import pytest
import torch

from vicinal.core.errors import InputError
from vicinal.core.ragged import Ragged
from vicinal.models.build import build_model
from vicinal.models.small_point_net import SmallPointNet, nearest_points


def scenes(*lengths: int) -> Ragged:
    generator = torch.Generator().manual_seed(0)
    return Ragged.of([torch.randn(length, 3, generator=generator) for length in lengths])


def test_neighbours_are_the_nearest_points_of_the_same_scene() -> None:
    position = scenes(9, 4, 0, 12)
    near = nearest_points(position, 5)
    for point, found in enumerate(near.tolist()):
        row = int(position.row[point])
        low, high = position.offsets[row : row + 2].tolist()
        away = (position.values[low:high] - position.values[point]).norm(dim=1)
        wanted = (away.argsort()[:5] + low).tolist()
        assert found[: len(wanted)] == wanted
        assert found[0] == point
        assert all(place == point for place in found[len(wanted) :])


def test_a_scene_is_read_alike_in_any_company_and_any_order_of_its_points() -> None:
    torch.manual_seed(0)
    model = SmallPointNet((0,), 5)
    position = scenes(9, 4, 12)
    together = position.with_values(model({"position": position}))
    for at, rows in enumerate(together.rows()):
        alone = model({"position": position[at : at + 1]})
        torch.testing.assert_close(alone, rows)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    turned = model({"position": Ragged.of([position.rows()[0][order]])})
    torch.testing.assert_close(turned, together.rows()[0][order])


def test_a_point_sees_its_whole_scene() -> None:
    torch.manual_seed(0)
    model = SmallPointNet((0,), 5, neighbours=4)
    near, far = torch.randn(12, 3), torch.randn(12, 3) * 3 + 100
    other = torch.randn(12, 3) * 3 + 100
    first, second = (
        model({"position": Ragged.of([torch.cat([near, beside])])})[:12] for beside in (far, other)
    )
    assert not torch.allclose(first, second)


def test_features_of_points_are_read() -> None:
    model = SmallPointNet((2,), 5)
    position = scenes(9, 4)
    colour = position.with_values(torch.rand(13, 2))
    plain = model({"position": position, "colour": colour})
    other = model({"position": position, "colour": colour.with_values(colour.values.flip(0))})
    assert plain.shape == (13, 5)
    assert not torch.allclose(plain, other)


def test_it_is_built_for_scenes_and_refuses_images() -> None:
    model = build_model(
        "small-point-net:width=16", input_shape=(1,), outputs=4, seed=0, points=True
    )
    assert isinstance(model, SmallPointNet)
    with pytest.raises(InputError, match="takes scenes of points, not samples of shape"):
        build_model("small-point-net", input_shape=(3, 8, 8), outputs=4, seed=0)
    with pytest.raises(InputError, match="cannot run"):
        build_model("mlp", input_shape=(1,), outputs=4, seed=0, points=True)
