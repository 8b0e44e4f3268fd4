from __future__ import annotations

import pytest
import torch
from sklearn import datasets

from vicinal.data.embedded import EMBEDDED, read_embedded


def test_digits_keep_their_seventeen_shades_spread_over_the_bytes():
    task = read_embedded("digits")
    source = torch.from_numpy(datasets.load_digits().images)
    assert task.x.shape == (1797, 1, 8, 8)
    assert task.x.dtype == torch.uint8
    assert task.x.unique().tolist() == [round(shade * 255 / 16) for shade in range(17)]
    assert torch.equal((task.x[:, 0] * (16 / 255)).round().double(), source)
    assert (task.classes, task.mirrors) == (tuple("0123456789"), False)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "outputs"),
    [
        ("breast_cancer", "classification", (569, 30), 2),
        ("wine", "classification", (178, 13), 3),
        ("diabetes", "regression", (442, 10), 1),
    ],
)
def test_tables_are_scikit_learns(name, kind, shape, outputs):
    task = read_embedded(name)
    assert (task.name, task.modality, task.kind) == (name, "tabular", kind)
    assert (tuple(task.x.shape), task.outputs, len(task.columns)) == (shape, outputs, shape[1])
    data = getattr(datasets, f"load_{name}")()
    assert task.y.tolist() == data.target.tolist()
    assert task.x.dtype == torch.float32


def test_all_that_is_announced_is_there_and_different():
    assert len({read_embedded(name).fingerprint for name in EMBEDDED}) == len(EMBEDDED)


def test_overlapping_clouds_are_a_table_that_nobody_can_tell_apart_for_certain():
    task = read_embedded("overlap_gaussians")
    assert (task.name, task.modality, task.kind) == (
        "overlap_gaussians",
        "tabular",
        "classification",
    )
    assert tuple(task.x.shape) == (2000, 300)
    right = ((task.x.sum(dim=1) > 15) == task.y.bool()).double().mean().item()
    assert right == pytest.approx(0.81, abs=0.03)  # the normal distribution at 0.1 * sqrt(300) / 2
