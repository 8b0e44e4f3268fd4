"""Mixing by masks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget
from vicinal.mixers.masks import (
    MaskMixer,
    blended,
    made_once,
    mix_by_mask,
    shown_area,
    upsampled,
)
from vicinal.mixers.pairing import PERMUTATION


@dataclass(frozen=True)
class HalvesParams(Params):
    partner: Tensor


class Halves(MaskMixer):
    """The own sample in the first half of the last axis."""

    def sample(self, batch: Batch, draws: Draws) -> HalvesParams:
        return HalvesParams(self.pairing.partner(batch, draws))

    def own_share(self, batch: Batch, params: HalvesParams) -> Tensor:
        width = batch.tensor.shape[-1]
        inside = torch.arange(width) < width // 2
        return inside.expand(len(batch), *batch.tensor.shape[2:])


@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 2, 5, 8), (3, 2, 2, 5, 8)])
def test_each_place_shows_whom_the_mask_says_and_labels_go_by_area(shape: tuple[int, ...]) -> None:
    rows = torch.arange(3.0).view(-1, *[1] * (len(shape) - 1)).expand(shape)
    batch = Batch.of(rows, torch.tensor([4, 5, 6]))
    mixer = Halves(PERMUTATION)
    mixed, params = mixer.augment(batch, Draws(0, batch.index))
    assert torch.equal(mixed.tensor[..., :4], rows[..., :4])
    assert torch.equal(mixed.tensor[..., 4:], rows[params.partner][..., 4:])
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    assert torch.equal(mixed.target.weights, torch.full((3, 2), 0.5))
    assert torch.equal(mixed.target.labels[:, 1], batch.target.labels[params.partner, 0])  # type: ignore[union-attr]


def test_shares_between_nothing_and_all_interpolate() -> None:
    x = torch.tensor([0.0, 8.0])[:, None, None].expand(2, 3, 4)
    own = torch.tensor([[0.0, 0.25, 0.5, 1.0]]).expand(2, 4)
    mixed = blended(x, x, torch.tensor([1, 0]), own)
    assert torch.equal(mixed[0, 0], torch.tensor([8.0, 6.0, 4.0, 0.0]))
    assert torch.equal(mixed[1, 2], torch.tensor([0.0, 2.0, 4.0, 8.0]))
    assert torch.equal(blended(x.byte(), x.byte(), torch.tensor([1, 0]), own), mixed.byte())
    with pytest.raises(TypeError, match="uint8 to be interpolated"):
        blended(x.long(), x.long(), torch.tensor([1, 0]), own)


def test_whole_numbers_are_shown_as_they_are() -> None:
    x = torch.tensor([3, 250], dtype=torch.uint8)[:, None, None].expand(2, 1, 2)
    own = torch.tensor([[True, False], [False, False]])
    mixed = blended(x, x, torch.tensor([1, 0]), own)
    assert mixed.dtype == torch.uint8
    assert mixed.flatten(1).tolist() == [[3, 250], [3, 3]]


def test_the_label_may_weigh_otherwise_than_the_area() -> None:
    batch = Batch.of(torch.zeros(2, 1, 4), torch.tensor([0, 1]))
    own = torch.zeros(2, 4, dtype=torch.bool)
    kept = torch.tensor([0.75, 0.5])
    mixed = mix_by_mask(batch, torch.tensor([1, 0]), own, kept=kept)
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    assert torch.equal(mixed.target.weights, torch.stack([kept, 1 - kept], dim=1))
    less = mix_by_mask(batch, torch.tensor([1, 0]), own, kept=kept, given=kept / 2)
    assert isinstance(less.target, ClassTarget)
    assert less.target.weights is not None
    assert torch.equal(less.target.weights, torch.stack([kept, kept / 2], dim=1))


def test_a_mask_of_another_size_is_refused() -> None:
    batch = Batch.of(torch.zeros(2, 1, 4, 6), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"must be \(2, 4, 6\), got \(2, 6, 4\)"):
        mix_by_mask(batch, torch.tensor([1, 0]), torch.zeros(2, 6, 4, dtype=torch.bool))


def test_areas_are_exact_to_their_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(5, 300, 301, generator=generator) < 0.3
    assert torch.equal(shown_area(own), (own.flatten(1).double().mean(1)).float())
    assert torch.equal(shown_area(torch.full((1, 3, 3), 0.25)), torch.tensor([0.25]))


def test_cells_grow_to_the_size_of_the_samples() -> None:
    cells = torch.tensor([[[1, 2], [3, 4]]])
    grown = upsampled(cells, (4, 5))
    expected = torch.nn.functional.interpolate(cells[:, None].float(), size=(4, 5))[:, 0]
    assert torch.equal(grown, expected.long())
    assert upsampled(torch.tensor([[True, False]]), (4,)).tolist() == [[True, True, False, False]]
    assert upsampled(cells, (2, 2)) is cells


def test_what_all_rows_share_is_made_once() -> None:
    made: list[int] = []

    def doubled(first: Tensor, second: Tensor) -> Tensor:
        made.append(len(first))
        return (first + second)[:, None].expand(-1, 3) * 2

    alike, apart = torch.ones(4), torch.arange(4.0)
    assert torch.equal(made_once(doubled, alike, alike), torch.full((4, 3), 4.0))
    assert torch.equal(made_once(doubled, alike, apart)[:, 0], 2 + 2 * apart)
    assert torch.equal(made_once(doubled, apart[:1], apart[:1]), torch.zeros(1, 3))
    assert made == [1, 4, 1]
