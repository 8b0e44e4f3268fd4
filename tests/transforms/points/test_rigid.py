"""Mirroring and turning keep the shape of a scene; stretching keeps its axes apart."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pdist

import vicinal
from vicinal import Batch, Draws
from vicinal.core.augmentation import Augmentation
from vicinal.core.element_target import ElementTarget
from vicinal.core.ragged import Ragged
from vicinal.transforms.points.rigid import (
    FlipParams,
    FlipPoints,
    RotateParams,
    RotatePoints,
    ScalePoints,
)


def scenes(lengths: tuple[int, ...] = (5, 0, 9, 1), dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    place = [torch.rand(n, 3, generator=generator, dtype=dtype) * 4 - 1 for n in lengths]
    normal = [torch.nn.functional.normalize(p + 0.1, dim=1) for p in place]
    name = [torch.arange(n) for n in lengths]
    x = {
        "position": Ragged.of(place),
        "normal": Ragged.of(normal),
        "name": Ragged.of(name),
    }
    return Batch(x, ElementTarget(Ragged.of(name)), torch.arange(len(lengths)) + 7)


def points(batch: Batch) -> list[Tensor]:
    rows: list[Tensor] = batch.x["position"].rows()
    return rows


def crowd(count: int = 4000) -> Batch:
    """Scenes of one point each, at (1, 1, 1)."""
    return Batch({"position": Ragged.of([torch.ones(1, 3)] * count)}, None, torch.arange(count))


@given(seed=st.integers(0, 1000))
def test_a_turned_or_mirrored_scene_has_the_distances_it_had(seed: int) -> None:
    batch = scenes()
    for move in (RotatePoints(tilt=90.0, prob=1.0), FlipPoints()):
        moved = move(batch, draws=Draws(seed, batch.index))
        for after, before in zip(points(moved), points(batch), strict=True):
            torch.testing.assert_close(pdist(after), pdist(before), rtol=1e-6, atol=1e-6)


@given(seed=st.integers(0, 1000))
def test_a_turn_keeps_the_hand_of_a_scene_and_its_normals_on_their_surface(seed: int) -> None:
    batch = scenes((4, 6))
    moved = RotatePoints(tilt=90.0, prob=1.0)(batch, draws=Draws(seed, batch.index))
    for after, before in zip(points(moved), points(batch), strict=True):
        torch.testing.assert_close(after[:3].det(), before[:3].det(), rtol=1e-5, atol=1e-5)
    along, before_along = (
        (each.x["normal"].values * each.x["position"].values).sum(1) for each in (moved, batch)
    )
    torch.testing.assert_close(along, before_along, rtol=1e-5, atol=1e-5)


def test_a_quarter_turn_about_each_axis_takes_the_next_axis_to_the_one_after() -> None:
    x, y, z = torch.eye(3)[:, None]
    batch = Batch({"position": Ragged.of([y, z, x])}, None, torch.arange(3))
    moved = RotatePoints().apply(batch, RotateParams(90 * torch.eye(3)))
    expected = torch.cat([z, x, y])
    torch.testing.assert_close(moved.x["position"].values, expected, rtol=0, atol=1e-6)


def test_half_of_the_scenes_turn_about_each_axis_within_its_bounds() -> None:
    batch = crowd()
    angle = RotatePoints().sample(batch, Draws(0, batch.index)).angle
    torch.testing.assert_close(
        (angle != 0).float().mean(0), torch.full((3,), 0.5), rtol=0, atol=0.03
    )
    assert angle.abs().amax(0).tolist() == pytest.approx([7.5, 7.5, 180], rel=0.01)
    assert (angle[:, 2] < -170).any()
    assert (angle.abs().amax(0) <= torch.tensor([7.5, 7.5, 180])).all()


def test_without_tilt_what_is_up_stays_up() -> None:
    batch = scenes()
    moved = RotatePoints(tilt=0.0, prob=1.0)(batch, draws=Draws(3, batch.index))
    for after, before in zip(points(moved), points(batch), strict=True):
        assert torch.equal(after[:, 2], before[:, 2])
    assert not torch.equal(points(moved)[0], points(batch)[0])


@given(seed=st.integers(0, 1000))
def test_a_flip_is_its_own_inverse_and_leaves_the_height(seed: int) -> None:
    batch, flip = scenes(), FlipPoints()
    params = flip.sample(batch, Draws(seed, batch.index))
    once = flip.apply(batch, params)
    twice = flip.apply(once, params)
    for name in ("position", "normal"):
        assert twice.x[name].equal(batch.x[name])
        assert torch.equal(once.x[name].values[:, 2], batch.x[name].values[:, 2])


def test_flips_mirror_the_axis_they_name_and_the_normals_with_it() -> None:
    batch = scenes((3, 3))
    params = FlipParams(torch.tensor([[True, False], [False, True]]))
    moved = FlipPoints().apply(batch, params)
    for name in ("position", "normal"):
        first, second = batch.x[name].rows()
        after = moved.x[name].rows()
        assert torch.equal(after[0], first * torch.tensor([-1, 1, 1]))
        assert torch.equal(after[1], second * torch.tensor([1, -1, 1]))


def test_all_four_combinations_of_flips_are_equally_likely() -> None:
    batch = crowd()
    flipped = FlipPoints().sample(batch, Draws(0, batch.index)).flipped
    counts = torch.bincount(flipped[:, 0] + 2 * flipped[:, 1].long(), minlength=4)
    assert counts.min() > 900


def test_half_of_the_scenes_are_scaled_each_axis_by_its_own_factor() -> None:
    batch = crowd()
    place = torch.cat(points(ScalePoints()(batch, draws=Draws(0, batch.index))))
    scaled = (place != 1).any(1)
    assert scaled.float().mean() == pytest.approx(0.5, abs=0.03)
    assert place.min() >= 0.9
    assert place.max() <= 1.1 + 1e-6
    spread = torch.corrcoef(place[scaled].T) - torch.eye(3)
    assert spread.abs().max() < 0.1
    assert place[scaled].std(0).tolist() == pytest.approx([0.2 / math.sqrt(12)] * 3, rel=0.05)


@pytest.mark.parametrize("move", [FlipPoints(1.0), RotatePoints(prob=1.0), ScalePoints(prob=1.0)])
def test_features_and_labels_stay_with_their_points(move: Augmentation) -> None:
    batch = scenes()
    moved = move(batch, draws=Draws(5, batch.index))
    assert moved.target is batch.target
    assert moved.x["name"].equal(batch.x["name"])
    assert moved.x["position"].dtype == torch.float64
    assert torch.equal(moved.x["position"].offsets, batch.x["position"].offsets)
    params = move.sample(batch, Draws(5, batch.index))
    assert move.apply(batch, params).x["position"].equal(moved.x["position"])


def test_they_are_found_by_their_names() -> None:
    names = "FlipPoints RotatePoints ScalePoints CentrePoints ShiftPoints ElasticDistortion"
    for name in [*names.split(), "JitterPointColours"]:
        assert getattr(vicinal, name).__name__ == name
