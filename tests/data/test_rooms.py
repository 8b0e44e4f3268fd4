"""Made rooms: the same for a seed, with shapes in the company they keep, or in another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vicinal.data.read import read_task
from vicinal.data.rooms import POINTS, SHAPES, make_rooms, surface


def company(swapped: bool) -> set[tuple[int, ...]]:
    _, labels = make_rooms(40, swapped=swapped)
    return {
        tuple(row.unique_consecutive().tolist()[at : at + 2])
        for row in labels.rows()
        for at in (0, 2)
    }


def test_shapes_keep_company_and_another_one_where_it_is_swapped() -> None:
    assert company(False) == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert company(True) == {(0, 3), (2, 5), (4, 7), (6, 1)}


def test_a_seed_decides_everything() -> None:
    first, again, other = make_rooms(3), make_rooms(3), make_rooms(3, seed=1)
    assert first[0].equal(again[0])
    assert first[1].equal(again[1])
    assert not first[0].equal(other[0])
    assert (first[0].lengths == 4 * POINTS).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_points_lie_on_their_shape(shape: str) -> None:
    points = surface(shape, 500, np.random.default_rng(0))
    assert points.shape == (500, 3)
    reach = np.abs(points).max()
    assert 0.4 < reach < 0.8
    x, y, z = points.T
    across = np.hypot(x, y) if shape in ("cylinder", "cone", "ring") else np.maximum(abs(x), abs(y))
    wanted = {
        "sphere": (x**2 + y**2 + z**2, 0.25),
        "cube": (np.abs(points).max(axis=1), 0.5),
        "cylinder": (across, 0.35),
        "box": (across, 0.35),
        "cone": (across + 0.5 * (z - 0.5), 0.0),
        "pyramid": (across + 0.5 * (z - 0.5), 0.0),
        "ring": ((across - 0.45) ** 2 + z**2, 0.12**2),
        "frame": ((across - 0.45) ** 2 + z**2, 0.12**2),
    }
    found, value = wanted[shape]
    np.testing.assert_allclose(found, value, atol=1e-9)


def test_the_task_tests_in_other_company_than_it_trains_in() -> None:
    task = read_task("rooms")
    assert task.modality == "points"
    assert task.kind == "segmentation"
    assert task.outputs == 8
    assert task.sample_shape == (0,)
    assert len(task) == 180
    assert task.test_rows is not None
    assert len(task.test_rows) == 60
    assert task.fingerprint == read_task("rooms").fingerprint
    assert torch.equal(task.y.offsets, task.x["position"].offsets)
