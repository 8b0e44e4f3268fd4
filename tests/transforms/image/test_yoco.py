"""Every half of an image is augmented by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import vicinal
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.cutout import Cutout
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip
from vicinal.transforms.image.yoco import Yoco, YocoParams
from vicinal.transforms.orbit import Orbit
from vicinal.transforms.sequence import Sequence

GOLDEN = Path(__file__).parent / "golden"


def augmented(yoco: Yoco, x: Tensor, seed: int = 0) -> tuple[Tensor, YocoParams]:
    batch = Batch.of(x)
    params = yoco.sample(batch, Draws(seed, batch.index))
    return yoco.apply(batch, params).tensor, params


@given(
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    dtype=st.sampled_from([torch.uint8, torch.uint16, torch.float32, torch.bfloat16]),
)
def test_doing_nothing_to_the_halves_is_doing_nothing(
    height: int, width: int, dtype: torch.dtype
) -> None:
    x = torch.randint(0, 256, (5, 3, height, width)).to(dtype)
    result, _ = augmented(Yoco(HorizontalFlip(prob=0.0)), x)
    assert torch.equal(result, x)


def test_halves_are_mirrored_within_themselves() -> None:
    x = torch.arange(5 * 7).view(1, 1, 5, 7).repeat(40, 1, 1, 1)
    result, params = augmented(Yoco(HorizontalFlip(prob=1.0)), x)
    columns = torch.where(params.upright[:, None], torch.tensor([2, 1, 0, 6, 5, 4, 3]), -1)
    columns = torch.where(columns < 0, torch.arange(6, -1, -1), columns)  # a level cut: all of them
    assert torch.equal(result, x.gather(3, columns[:, None, None].expand_as(x)))
    assert 8 < int(params.upright.sum()) < 32
    assert not torch.equal(result[params.upright], x[params.upright].flip(-1))


def test_it_agrees_with_the_authors_code_for_either_cut() -> None:
    golden = json.loads((GOLDEN / "yoco_authors.json").read_text())
    x = torch.tensor(golden["x"])
    mirrored = FlipParams(torch.ones(2, dtype=torch.bool))
    for upright, name in ((True, "upright"), (False, "level")):
        params = YocoParams(torch.full((2,), upright), mirrored, mirrored)
        assert Yoco().apply(Batch.of(x), params).tensor.tolist() == golden[name]


def test_what_happens_to_one_half_says_nothing_of_the_other() -> None:
    _, params = augmented(Yoco(), torch.zeros(10_000, 1, 2, 2))
    assert isinstance(params.first, FlipParams)
    assert isinstance(params.second, FlipParams)
    drawn = torch.stack([params.upright, params.first.flipped, params.second.flipped]).float()
    assert (drawn.mean(dim=1) - 0.5).abs().max() < 0.02
    assert (torch.corrcoef(drawn) - torch.eye(3)).abs().max() < 0.04


def test_a_policy_does_to_each_half_what_it_would_do_to_an_image_of_that_size() -> None:
    inner = vicinal.RandAugment(magnitude=20)
    x = torch.randint(0, 256, (9, 3, 11, 14), dtype=torch.uint8)
    result, params = augmented(Yoco(inner), x)
    for row in range(9):
        one = slice(row, row + 1)
        if params.upright[row]:
            halves, axis = (x[one, :, :, :7], x[one, :, :, 7:]), 3
        else:
            halves, axis = (x[one, :, :5], x[one, :, 5:]), 2
        parts = [
            inner.apply(Batch.of(half), own[one]).tensor
            for half, own in zip(halves, (params.first, params.second), strict=True)
        ]
        assert torch.equal(result[one], torch.cat(parts, dim=axis))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_cuts_may_be_alike(share: float) -> None:
    _, params = augmented(Yoco(upright=share), torch.zeros(50, 1, 4, 4))
    assert params.upright.float().mean() == share


def test_a_sequence_goes_inside_and_draws_anew_in_each_half() -> None:
    x = torch.rand(30, 1, 12, 12) + 1
    result, _ = augmented(Yoco(Sequence([HorizontalFlip(), Cutout(length=3)]), upright=1.0), x)
    covered = (result == 0).sum(dim=(1, 2))  # (B, W)
    assert (covered[:, :6].sum(dim=1) > 0).all()
    assert (covered[:, 6:].sum(dim=1) > 0).all()


def test_what_cannot_work_on_halves_is_refused() -> None:
    with pytest.raises(TypeError, match="inner must be an augmentation that mixes nothing"):
        Yoco(vicinal.CutMix())
    with pytest.raises(TypeError, match="inner must be an augmentation"):
        Yoco("flip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"at least 2 pixels a side .* \(3, 1, 1, 8\)"):
        augmented(Yoco(upright=0.0), torch.zeros(3, 1, 1, 8))
    with pytest.raises(ValueError, match=r"upright must be in \[0, 1\], got 2"):
        Yoco(upright=2)


class Narrowed(HorizontalFlip):
    """Takes the last column away."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return batch.replace(x=batch.tensor[..., :-1])


def test_an_inner_augmentation_that_changes_size_or_number_is_refused() -> None:
    x = torch.zeros(3, 1, 8, 8)
    with pytest.raises(ValueError, match="keep the number of images, and Orbit makes 6 of 3"):
        augmented(Yoco(Orbit("half_turn"), upright=1.0), x)
    with pytest.raises(ValueError, match="keep the size of images, and Narrowed"):
        augmented(Yoco(Narrowed(), upright=1.0), x)
