"""Mix3D: scenes are joined, with every point and every label."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Draws, Params
from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.ragged import Ragged
from vicinal.mixers.scene_union import FAR, SceneUnion, UnionParams
from vicinal.transforms.points.voxelise import Voxelise


def scenes(lengths: tuple[int, ...] = (5, 3, 7, 4, 6), seed: int = 0) -> Batch:
    """Boxes of points; a point's colour and label say which scene and point it is."""
    generator = torch.Generator().manual_seed(seed)
    place = [torch.rand(n, 3, generator=generator) * (1 + i) for i, n in enumerate(lengths)]
    name = [torch.arange(n) + 1000 * i for i, n in enumerate(lengths)]
    x = {
        "position": Ragged.of(place),
        "colour": Ragged.of([one[:, None].float() for one in name]),
    }
    target = ElementTarget(Ragged.of([one % 10 for one in name]))
    return Batch(x=x, target=target, index=torch.arange(len(lengths)) + 40)


def joined(mixer: SceneUnion, batch: Batch, seed: int = 0) -> tuple[Batch, UnionParams]:
    params = mixer.sample(batch, Draws(seed, batch.index))
    return mixer.apply(batch, params), params


def labels(batch: Batch) -> Ragged:
    assert isinstance(batch.target, ElementTarget)
    return batch.target.labels


def test_mixed_points_are_the_union_of_both_scenes_with_all_that_is_theirs() -> None:
    batch = scenes()
    mixed, params = joined(SceneUnion(), batch)
    assert len(mixed) == 3
    assert mixed.index.tolist() == [40, 42, 44]
    assert params.group.tolist() == [[40, 41], [42, 43], [44, -1]]
    for name, rows in mixed.x.items():
        assert rows.lengths.tolist() == [8, 11, 6], name
        assert torch.equal(rows.offsets, labels(mixed).offsets)
    # Colours name the points: each is there once, with its label, moved as its scene is.
    assert torch.equal(mixed.x["colour"].values, batch.x["colour"].values)
    assert torch.equal(labels(mixed).values, labels(batch).values)
    moved = mixed.x["position"].values - batch.x["position"].values
    shift = params.shift[params.group >= 0][batch.x["position"].row]
    torch.testing.assert_close(moved, shift)


def test_scenes_lie_over_each_other_within_half_their_extremes() -> None:
    batch = scenes((50, 50, 50, 50))
    for seed in range(20):
        mixed, _ = joined(SceneUnion(), batch, seed)
        for row, (first, second) in zip(mixed.x["position"].rows(), ((0, 1), (2, 3)), strict=True):
            for points, own in zip(row.split(50), (first, second), strict=True):
                centred = batch.x["position"].rows()[own]
                centred = centred - centred.mean(0)
                offset = points.mean(0)
                assert (offset >= centred.amin(0) / 2 - 1e-5).all()
                assert (offset <= centred.amax(0) / 2 + 1e-5).all()


def test_a_shift_is_uniform_between_the_halves_of_the_extremes() -> None:
    batch = scenes((40, 40))
    offsets = torch.stack([joined(SceneUnion(), batch, seed)[1].shift[0] for seed in range(600)])
    for scene in range(2):
        points = batch.x["position"].rows()[scene]
        low, high = (points - points.mean(0)).aminmax(dim=0)
        unit = (offsets[:, scene] + points.mean(0) - low / 2) / ((high - low) / 2)
        assert (unit.mean(0) - 0.5).abs().max() < 0.05
        assert (unit.std(0) - 12**-0.5).abs().max() < 0.03
    assert torch.corrcoef(offsets.flatten(1).T)[0, 3].abs() < 0.12  # one vector for each scene


def test_the_last_odd_scene_passes_with_all_its_points() -> None:
    batch = scenes()
    mixed, params = joined(SceneUnion(), batch)
    last = mixed.x["position"].rows()[-1] - params.shift[-1, 0]
    torch.testing.assert_close(last, batch.x["position"].rows()[-1])


def test_scenes_of_an_inactive_group_pass_one_by_one() -> None:
    mixed, params = joined(SceneUnion(prob=0.0), scenes())
    assert len(mixed) == 5
    assert torch.equal(params.group[:, 0], scenes().index)
    assert (params.group[:, 1] == -1).all()
    sizes = [len(joined(SceneUnion(prob=0.5), scenes((2,) * 40), seed)[0]) for seed in range(30)]
    assert 28 < sum(sizes) / 30 < 32  # of 20 groups, half are joined


def test_three_scenes_make_one() -> None:
    mixed, params = joined(SceneUnion(scenes=3), scenes())
    assert mixed.x["colour"].lengths.tolist() == [15, 10]
    assert params.group.tolist() == [[40, 41, 42], [43, 44, -1]]


def test_points_of_the_second_scene_can_be_noise() -> None:
    mixed, _ = joined(SceneUnion(second="ignored"), scenes())
    first, second = labels(mixed).rows()[0].split([5, 3])
    assert (first != IGNORED).all()
    assert (second == IGNORED).all()
    assert (labels(mixed).rows()[-1] != IGNORED).all()


def both(batch: Batch, size: float) -> float:
    """The share of voxels that points of both scenes lie in, over all pairs."""
    shares = []
    for row, colour in zip(batch.x["position"].rows(), batch.x["colour"].rows(), strict=True):
        second = (colour[:, 0] // 1000).long() % 2
        cells = [
            {tuple(cell) for cell in (row[second == own] / size).floor().long().tolist()}
            for own in (0, 1)
        ]
        shares.append(len(cells[0] & cells[1]) / len(cells[0] | cells[1]))
    return sum(shares) / len(shares)


def test_scenes_share_voxels_only_where_they_overlap() -> None:
    batch = scenes((200, 200, 200, 200))
    assert both(joined(SceneUnion(), batch)[0], 0.5) > 0.05
    beside, _ = joined(SceneUnion(placement="beside"), batch)
    for row in beside.x["position"].rows():
        assert row[:200, 0].max() <= row[200:, 0].min() + 1e-5
    far, params = joined(SceneUnion(placement="far"), batch)
    assert both(far, 0.5) == 0
    assert params.shift.abs().max() <= FAR + 5


def test_far_scenes_cost_what_they_cost_alone_to_a_network_of_limited_reach() -> None:
    batch = scenes((30, 50))
    mixed, _ = joined(SceneUnion(placement="far"), batch)
    weight = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))

    def network(x: dict[str, Ragged]) -> Tensor:
        """Looks at how many points are near, and how far off their mean is."""
        outputs = []
        for points in x["position"].rows():
            off = points[:, None] - points  # (N, N, 3)
            near = (-off.square().sum(2)).exp()
            mean = (near[..., None] * off).sum(1) / near.sum(1, keepdim=True)
            outputs.append(torch.cat([near.sum(1, keepdim=True), mean], dim=1) @ weight)
        return torch.cat(outputs)

    assert mixed.target is not None
    assert batch.target is not None
    alone = batch.target.loss(network(batch.x), reduction="none")
    weighted = (alone * torch.tensor([30.0, 50.0])).sum() / 80
    torch.testing.assert_close(mixed.target.loss(network(mixed.x)), weighted, atol=1e-3, rtol=1e-3)


def test_where_labels_meet_in_a_voxel_exactly_one_point_stays() -> None:
    batch = scenes((1, 1))
    meet = {"position": Ragged.of([torch.full((1, 3), 0.01)] * 2), "colour": batch.x["colour"]}
    union = UnionParams(torch.tensor([[40, 41]]), torch.zeros(1, 2, 3))
    mixed = SceneUnion().apply(batch.replace(x=meet), union)
    survivors = []
    for seed in range(40):
        voxels = Voxelise(size=0.05)
        kept = voxels.apply(mixed, voxels.sample(mixed, Draws(seed, mixed.index)))
        again = voxels.apply(mixed, voxels.sample(mixed, Draws(seed, mixed.index)))
        assert torch.equal(kept.x["colour"].values, again.x["colour"].values)
        assert len(kept.x["colour"].values) == 1
        colour, label = kept.x["colour"].values.item(), labels(kept).values.item()
        assert (colour, label) in {(0.0, 0), (1000.0, 0)}
        survivors.append(colour)
    assert 8 < survivors.count(0.0) < 32  # of either scene


def test_stored_params_rebuild_the_scene_bit_for_bit(tmp_path: Path) -> None:
    batch = scenes()
    mixed, params = joined(SceneUnion(), batch)
    params.save(tmp_path / "rows.safetensors")
    stored = Params.load(tmp_path / "rows.safetensors")
    again = SceneUnion().apply(batch, stored)
    assert all(again.x[name].equal(rows) for name, rows in mixed.x.items())
    # One row alone, its scenes found in the pool.
    second = SceneUnion().apply(batch[:1], stored[1:2])
    assert second.x["position"].equal(mixed.x["position"][1:2])


def test_labels_of_whole_scenes_are_refused() -> None:
    from vicinal import Target

    batch = scenes().replace(target=Target.of(torch.arange(5)))
    with pytest.raises(TypeError, match="scenes need a class for each point, not classes"):
        joined(SceneUnion(), batch)


def test_samples_that_are_no_scenes_are_refused() -> None:
    with pytest.raises(TypeError, match="x must be a dict with `position`"):
        joined(SceneUnion(), Batch.of(torch.rand(4, 3)))
