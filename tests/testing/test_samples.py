"""Samples to try augmentations on."""

from __future__ import annotations

import pytest
import torch

from vicinal.testing import make_batch
from vicinal.testing.samples import ANY, CLASSES, SHAPES, joined, make_target, modalities
from vicinal.transforms.image.flip import HorizontalFlip


@pytest.mark.parametrize("modality", sorted(SHAPES.keys() - {"points"}))
def test_samples_are_always_the_same_and_none_is_like_another(modality: str) -> None:
    batch, again = make_batch(modality, 7), make_batch(modality, 7)
    assert torch.equal(batch.tensor, again.tensor)
    assert torch.equal(batch.index, again.index)
    assert len(batch.tensor.flatten(1).unique(dim=0)) == 7
    assert batch.tensor.shape == (7, *SHAPES[modality])


def test_scenes_are_always_the_same_and_of_unequal_lengths() -> None:
    batch, again = make_batch("points", 7), make_batch("points", 7)
    assert all(rows.equal(again.x[name]) for name, rows in batch.x.items())
    assert len(batch.x["position"].lengths.unique()) == 7
    assert batch.target is not None
    assert len(batch.target) == 7


def test_rows_of_the_dataset_tell_on_positions() -> None:
    index = make_batch("image", 7).index
    assert len(index.unique()) == 7
    assert index.tolist() != sorted(index.tolist())
    assert not set(index.tolist()) & set(range(7))


def test_raw_images_are_levels_or_shares_of_the_largest() -> None:
    levels = make_batch("image", 7, dtype=torch.uint8, stage="raw").tensor
    shares = make_batch("image", 7, stage="raw").tensor
    assert torch.equal(levels, (shares * 255).round().to(torch.uint8))
    assert 0 <= shares.min() < 0.01
    assert 0.99 < shares.max() <= 1
    prepared = make_batch("image", 7, stage="prepared").tensor
    assert prepared.mean().abs() < 0.1
    assert 0.9 < prepared.std() < 1.1


@pytest.mark.parametrize("kind", ["classes", "soft", "multilabel", "regression"])
def test_targets_of_every_kind(kind: str) -> None:
    target = make_target(kind, 7)
    assert target.kind == kind
    assert len(target) == 7


def test_soft_targets_sum_to_one_and_there_are_no_others() -> None:
    soft = make_target("soft", 20)
    torch.testing.assert_close(soft.dense(CLASSES).sum(1), torch.ones(20))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="'box'"):
        make_target("box", 3)


def test_any_stands_for_one_modality_of_each_rank() -> None:
    ranks = [len(SHAPES[modality]) for modality in ANY]
    assert sorted(ranks) == sorted(set(ranks)) == [1, 2, 3, 4]
    assert modalities(HorizontalFlip.card) == ("image",)


def test_two_batches_are_joined_with_labels_and_rows() -> None:
    whole = make_batch("series", 7)
    again = joined(whole[:3].replace(pool=None), whole[3:].replace(pool=None))
    assert torch.equal(again.tensor, whole.tensor)
    assert torch.equal(again.index, whole.index)
    assert whole.target is not None
    assert whole.target.equal(again.target)
