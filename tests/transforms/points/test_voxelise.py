"""One point stays for each voxel of a scene, with its own features and label."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal import Batch, Draws
from vicinal.core.element_target import ElementTarget
from vicinal.core.ragged import Ragged
from vicinal.transforms.points.voxelise import Voxelise


def scenes(lengths: list[int], seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    place = [torch.rand(n, 3, generator=generator) * 4 - 2 for n in lengths]
    name = [torch.arange(n) for n in lengths]
    x = {"position": Ragged.of(place), "name": Ragged.of(name)}
    return Batch(x, ElementTarget(Ragged.of(name)), torch.arange(len(lengths)))


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    keep=st.sampled_from(["first", "random"]),
)
def test_every_voxel_keeps_one_of_its_points(lengths: list[int], seed: int, keep: Any) -> None:
    batch = scenes(lengths, seed)
    voxels = Voxelise(1.0, keep=keep)
    kept = voxels.apply(batch, voxels.sample(batch, Draws(seed, batch.index)))
    assert isinstance(kept.target, ElementTarget)
    assert kept.target.labels.equal(kept.x["name"])
    for points, names, all_points in zip(
        kept.x["position"].rows(), kept.x["name"].rows(), batch.x["position"].rows(), strict=True
    ):
        assert torch.equal(points, all_points[names])
        cells = [tuple(cell) for cell in points.floor().long().tolist()]
        everything = [tuple(cell) for cell in all_points.floor().long().tolist()]
        assert len(set(cells)) == len(cells)
        assert set(cells) == set(everything)
        if keep == "first":
            assert names.tolist() == [everything.index(cell) for cell in dict.fromkeys(everything)]


def test_every_point_of_a_voxel_stays_equally_often() -> None:
    batch = Batch(
        {
            "position": Ragged.of([torch.rand(4, 3)] * 400),
            "name": Ragged.of([torch.arange(4)] * 400),
        },
        None,
        torch.arange(400),
    )
    voxels = Voxelise(1.0)
    kept = voxels.apply(batch, voxels.sample(batch, Draws(3, batch.index)))
    counts = torch.bincount(kept.x["name"].values, minlength=4)
    assert counts.sum() == 400
    assert counts.min() > 70


def test_a_voxel_without_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        Voxelise(0.0)
