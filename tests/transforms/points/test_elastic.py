"""Noise that moves neighbours alike, and that a scene has to itself."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, Draws
from vicinal.core.element_target import ElementTarget
from vicinal.core.ragged import Ragged
from vicinal.transforms.points.elastic import ElasticDistortion, ElasticParams, smooth_noise

ALWAYS = ElasticDistortion(0.2, magnitude=0.4, prob=1.0)


def of(*scenes: torch.Tensor, first: int = 0) -> Batch:
    labels = ElementTarget(Ragged.of([torch.arange(len(scene)) for scene in scenes]))
    return Batch({"position": Ragged.of(scenes)}, labels, torch.arange(len(scenes)) + first)


def cloud(count: int, *, side: float = 4.0, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * side


def drift(batch: Batch, warp: ElasticDistortion = ALWAYS, seed: int = 0) -> list[torch.Tensor]:
    """By how much the points of each scene move."""
    moved = warp(batch, draws=Draws(seed, batch.index))
    pairs = zip(moved.x["position"].rows(), batch.x["position"].rows(), strict=True)
    return [after - before for after, before in pairs]


def test_displacements_have_mean_0_and_the_spread_that_blur_and_interpolation_leave() -> None:
    # Two box blurs leave weights of (1, 2, 3, 2, 1) / 9; averaged over the places between nodes,
    # interpolation leaves 2/9 of the variance an axis.
    moved = torch.cat(drift(of(*[cloud(2000, seed=seed) for seed in range(6)])))
    expected = 0.4 * (2 / 9) ** 1.5
    assert moved.std(0).tolist() == pytest.approx([expected] * 3, rel=0.06)
    assert moved.mean(0).abs().max() < 0.25 * expected
    assert torch.corrcoef(moved.T).triu(1).abs().max() < 0.1


def test_neighbours_move_alike_and_points_far_apart_do_not() -> None:
    near, far = torch.tensor([0.01, 0.0, 0.0]), torch.tensor([0.0, 1.5, 0.0])
    here = cloud(3000)
    moved = drift(of(torch.cat([here, here + near, here + far])))[0]
    origin, beside, away = moved.chunk(3)
    scale = origin.std()
    assert (beside - origin).std() < 0.05 * scale
    assert (away - origin).std() > 1.2 * scale  # sqrt 2 for independent ones


def test_between_two_nodes_the_drift_is_linear() -> None:
    line = torch.tensor([[0.2, 0.4, 0.6]]) + torch.linspace(0, 0.2, 9)[:, None] * torch.eye(3)[1]
    moved = drift(of(line))[0]
    straight = torch.lerp(moved[0], moved[-1], torch.linspace(0, 1, 9)[:, None])
    torch.testing.assert_close(moved, straight, rtol=0, atol=1e-6)
    assert (moved[-1] - moved[0]).abs().max() > 1e-3


def test_noise_is_that_of_the_key_and_the_node_whatever_the_grid() -> None:
    key = torch.tensor([5, 9])
    whole = smooth_noise(key, torch.tensor([[-3, -2, 0], [4, 4, 4]]), size=[8, 7, 6])
    part = smooth_noise(key[:1], torch.tensor([[-1, 0, 3]]), size=[4, 5, 2])
    assert torch.equal(part[0], whole[0, :, 2:6, 2:7, 3:5])
    assert not torch.equal(whole[0], whole[1])


def test_two_box_blurs_leave_their_covariances_along_an_axis() -> None:
    # Of noise blurred with (1, 2, 3, 2, 1) / 9 along every axis, at distances of 0 to 5 nodes.
    field = smooth_noise(torch.arange(400), torch.zeros(400, 3, dtype=torch.long), size=[10, 1, 1])
    field = field.flatten(0, 1).squeeze()
    found = torch.stack([(field[:, 0] * field[:, lag]).mean() for lag in range(6)])
    expected = torch.tensor([19.0, 16, 10, 4, 1, 0]) / 81 * (19 / 81) ** 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1.5e-3)


def test_a_scene_is_warped_the_same_in_any_company() -> None:
    scene = cloud(40, side=2.0) - 3
    alone = drift(of(scene))[0]
    company = drift(of(scene, cloud(10, side=9.0), torch.empty(0, 3)))[0]
    assert torch.equal(alone, company)
    elsewhere = drift(of(scene, first=1))[0]
    assert not torch.equal(alone, elsewhere)
    params = ElasticParams(torch.tensor([3]), torch.tensor([True]))
    first = ALWAYS.apply(of(scene), params).x["position"]
    again = ALWAYS.apply(of(scene, first=8), params).x["position"]
    assert first.equal(again)


def test_five_scenes_of_a_hundred_stay_as_they_are() -> None:
    batch = of(*[cloud(2, side=0.3, seed=seed) for seed in range(2000)])
    still = [not move.any() for move in drift(batch, ElasticDistortion())]
    assert sum(still) == pytest.approx(100, abs=40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_labels_and_empty_scenes_pass(dtype: torch.dtype) -> None:
    batch = of(torch.empty(0, 3, dtype=dtype), cloud(3).to(dtype))
    moved = ALWAYS(batch, draws=Draws(0, batch.index))
    assert moved.x["position"].dtype == dtype
    assert moved.x["position"].lengths.tolist() == [0, 3]
    assert moved.target is batch.target
    empty = of(torch.empty(0, 3))
    assert ALWAYS(empty, draws=Draws(0, empty.index)).x["position"].lengths.tolist() == [0]


def test_scenes_too_large_for_the_granularity_are_refused_before_memory_is_taken() -> None:
    batch = of(torch.tensor([[0.0, 0, 0], [2000, 2000, 2000]]))
    with pytest.raises(ValueError, match=r"granularity 0\.2"):
        ALWAYS(batch, draws=Draws(0, batch.index))
