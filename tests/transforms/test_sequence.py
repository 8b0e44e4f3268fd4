"""Augmentations one after the other."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.sequence import Compose, Sequence, SequenceParams


def images(count: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch.of(torch.rand(count, 3, 16, 16, generator=generator))


def test_parts_are_applied_in_order() -> None:
    # Padding comes in on the left and is then mirrored to the right; the other way round it stays.
    batch = Batch.of(torch.ones(1, 1, 4, 4))
    crop, flip = PadCrop(1), HorizontalFlip(1.0)
    params = Sequence([crop, flip]).sample(batch, Draws(0, batch.index))
    params.parts[0].corner[:] = 0
    mirrored = Sequence([crop, flip]).apply(batch, params).tensor[0, 0]
    assert (mirrored[1:, -1] == 0).all()
    assert (mirrored[1:, :-1] == 1).all()
    other = SequenceParams(params.parts[::-1])
    straight = Sequence([flip, crop]).apply(batch, other).tensor[0, 0]
    assert (straight[1:, 0] == 0).all()


def test_augmenting_is_sampling_and_applying() -> None:
    batch = images()
    sequence = Sequence([PadCrop(), HorizontalFlip()])
    draws = Draws(3, batch.index, epoch=2)
    at_once, params = sequence.augment(batch, draws)
    assert params.equal(sequence.sample(batch, draws))
    assert torch.equal(at_once.tensor, sequence.apply(batch, params).tensor)


def test_two_parts_of_one_class_draw_different_numbers() -> None:
    batch = images(2000)
    params = Sequence([HorizontalFlip(), HorizontalFlip()]).sample(batch, Draws(0, batch.index))
    first, second = (part.flipped for part in params.parts)
    assert (first == second).float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_part_sees_what_the_parts_before_it_made() -> None:
    class Halved(PadCrop):
        def apply(self, batch: Batch, params: Params) -> Batch:
            return batch.replace(x=batch.tensor[:, :, ::2, ::2])

    params = Sequence([Halved(0), PadCrop()]).sample(images(500), Draws(0, images(500).index))
    assert params.parts[1].corner.amax(0).tolist() == [2, 2]  # an eighth of 8, not of 16


def test_params_slice_join_store_and_replay() -> None:
    batch = images(10)
    sequence = Sequence([PadCrop(), Sequence([HorizontalFlip()])])
    params = sequence.sample(batch, Draws(0, batch.index))
    whole = sequence.apply(batch, params).tensor
    assert torch.equal(sequence.apply(batch[2:5], params[2:5]).tensor, whole[2:5])
    assert SequenceParams.concatenate([params[:4], params[4:]]).equal(params)
    assert Params.from_arrow(params.to_arrow()).equal(params)
    assert pickle.loads(pickle.dumps(params)).equal(params)


def test_it_is_a_value_that_copies_and_says_what_it_is() -> None:
    sequence = Compose((PadCrop(2), HorizontalFlip(0.25)))
    batch = images(8)

    def result(one: Sequence) -> Tensor:
        return one.augment(batch, Draws(5, batch.index))[0].tensor

    assert torch.equal(result(copy.deepcopy(sequence)), result(sequence))
    assert torch.equal(result(pickle.loads(pickle.dumps(sequence))), result(sequence))
    assert "PadCrop(padding=2" in repr(sequence)
    assert "HorizontalFlip(prob=0.25)" in repr(sequence)


def test_the_parts_are_not_those_of_a_list_that_changes_later() -> None:
    parts = [HorizontalFlip(1.0)]
    sequence = Sequence(parts)
    parts.clear()
    assert len(sequence.parts) == 1


def test_nothing_and_what_is_no_augmentation_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one augmentation, got none"):
        Sequence([])
    with pytest.raises(TypeError, match="parts must be augmentations, got 'flip'"):
        Sequence([HorizontalFlip(), "flip"])  # type: ignore[list-item]
