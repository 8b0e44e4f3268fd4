"""Random pieces of images: torchvision's distribution and torch's arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from vicinal.core.draws import Draws
from vicinal.transforms.image.resized_crop import draw_boxes, resized_crops


@given(height=st.integers(1, 12), width=st.integers(1, 12), data=st.data())
def test_a_piece_is_enlarged_as_torch_does(height: int, width: int, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom = data.draw(st.integers(top + 1, height))
    right = data.draw(st.integers(left + 1, width))
    images = torch.rand(2, 3, height, width, dtype=torch.float64)
    start, stop = torch.tensor([[top, left]] * 2), torch.tensor([[bottom, right]] * 2)
    found = resized_crops(images, start, stop)
    piece = images[:, :, top:bottom, left:right]
    wanted = F.interpolate(piece, size=(height, width), mode="bilinear")
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_every_image_shows_its_own_piece() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1) + torch.zeros(4, 1, 6, 6)
    images[:, :, 3:, 3:] += 10
    start, stop = torch.tensor([[0, 0], [3, 3]]), torch.tensor([[3, 3], [6, 6]])
    found = resized_crops(images[:2], start, stop)
    assert torch.equal(found, torch.tensor([0.0, 11.0]).view(2, 1, 1, 1).expand(2, 1, 6, 6))


@pytest.mark.parametrize(
    ("size", "scale"), [((32, 32), (0.08, 1.0)), ((24, 60), (0.08, 1.0)), ((24, 60), (0.8, 1.0))]
)
def test_boxes_are_distributed_as_torchvisions(
    size: tuple[int, int], scale: tuple[float, float]
) -> None:
    count = 4000
    draws = Draws(1, torch.arange(count))
    ends = (torch.full((count, 1), end) for end in scale)
    start, stop = draw_boxes(draws, *ends, height=size[0], width=size[1])
    found = torch.cat([start[:, 0], (stop - start)[:, 0]], dim=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.zeros(1, *size)
        theirs = [
            RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(count)
        ]
    wanted = torch.tensor(theirs)
    for axis in range(4):
        assert ks_2samp(found[:, axis].numpy(), wanted[:, axis].numpy()).pvalue > 1e-3


def test_what_never_fits_is_the_largest_allowed_piece_in_the_middle() -> None:
    draws = Draws(0, torch.arange(5))
    full = torch.ones(5, 1)
    start, stop = draw_boxes(draws, full, full, height=10, width=40)
    middle = math.floor((40 - round(10 * 4 / 3)) / 2)
    assert start[:, 0].tolist() == [[0, middle]] * 5
    assert stop[:, 0].tolist() == [[10, middle + 13]] * 5
