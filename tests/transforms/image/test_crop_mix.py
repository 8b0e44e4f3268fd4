"""Crops of disjoint scales, mixed as the authors' code mixes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import beta, chisquare, kstest
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.image.crop_mix import CropMix, CropMixParams, Fold

GOLDEN = Path(__file__).parent / "golden"


def sampled(transform: CropMix, x: Tensor, seed: int = 0) -> CropMixParams:
    batch = Batch.of(x)
    return transform.sample(batch, Draws(seed, batch.index))


def many(transform: CropMix, count: int = 4000, side: int = 64) -> CropMixParams:
    return sampled(transform, torch.zeros(1, dtype=torch.uint8).expand(count, 3, side, side))


def test_it_agrees_with_the_authors_code() -> None:
    golden = json.loads((GOLDEN / "crop_mix_authors.json").read_text())
    x = torch.tensor(golden["x"])[None]
    for case in golden["cases"]:
        whole = ("count", "start", "stop", "box_start", "box_stop")
        fields = {name: torch.tensor([case[name]]) for name in (*whole, "kept", "inside")}
        channels = case["channels"] and torch.tensor([case["channels"]])
        params = CropMixParams(**fields, channels=channels)
        found = CropMix().apply(Batch.of(x), params).tensor
        torch.testing.assert_close(found, torch.tensor([case["out"]]), atol=1e-5, rtol=0)
    assert {case["count"] for case in golden["cases"]} == {2, 3, 4}


@pytest.mark.parametrize("fold", ["mixup", "cutmix"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_an_image_of_one_colour_stays(fold: Fold, dtype: torch.dtype) -> None:
    level = {torch.uint8: 201, torch.uint16: 54_321, torch.float32: 0.7}[dtype]
    x = torch.full((40, 3, 9, 14), level).to(dtype)
    result = CropMix(fold=fold)(x)
    torch.testing.assert_close(result.double(), x.double(), atol=1e-6, rtol=0)


def test_crops_of_an_image_are_of_disjoint_scales() -> None:
    params = many(CropMix(scale=0.2))
    area = (params.stop - params.start).prod(dim=2) / 64**2
    for count in (2, 3, 4):
        step = 0.8 / count
        rows = area[params.count == count][:, :count]
        part = ((rows - 0.2) / step).clamp(0, count - 1e-6)
        # Rounding to pixels, and crops that never fitted, put a few beyond the ends of their part.
        numbers = part.floor().sort(dim=1).values
        each_once = (numbers == torch.arange(count)).all(dim=1)
        assert each_once.float().mean() > 0.9
        # In random order: each place has crops of each part.
        first = part[:, 0].floor().long().bincount(minlength=count)
        assert chisquare(first.numpy()).pvalue > 1e-3


def test_two_three_and_four_crops_are_as_likely() -> None:
    counted = many(CropMix()).count.bincount()[2:]
    assert chisquare(counted.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("crops", [2, 4])
def test_weights_follow_the_ratio_over_the_number_of_crops(crops: int) -> None:
    kept = many(CropMix(ratio=2.0, crops=crops)).kept
    assert kept.shape == (4000, crops - 1)
    for step in kept.unbind(1):
        assert kstest(step.numpy(), beta(2 / crops, 2 / crops).cdf).pvalue > 1e-3


def test_one_crop_is_a_random_resized_crop() -> None:
    x = torch.rand(20, 3, 16, 12)
    params = sampled(CropMix(scale=0.08, crops=1), x)
    found = CropMix().apply(Batch.of(x), params).tensor
    for row in range(20):
        (top, left), (bottom, right) = params.start[row, 0].tolist(), params.stop[row, 0].tolist()
        piece = x[row : row + 1, :, top:bottom, left:right]
        wanted = F.interpolate(piece, size=(16, 12), mode="bilinear")[0]
        torch.testing.assert_close(found[row], wanted, atol=1e-5, rtol=0)
    area = (params.stop - params.start).prod(dim=2).float() / (16 * 12)
    assert area.min() < 0.35
    assert area.max() > 0.6


def test_a_pasted_box_is_from_one_crop_and_the_rest_from_the_other() -> None:
    x = torch.rand(60, 1, 16, 16)
    transform = CropMix(crops=2, fold="cutmix")
    params = sampled(transform, x)
    mixed = transform.apply(Batch.of(x), params).tensor

    def alone(place: int) -> Tensor:
        own = CropMixParams(
            count=torch.ones_like(params.count),
            start=params.start[:, place : place + 1],
            stop=params.stop[:, place : place + 1],
            kept=params.kept[:, :0],
            inside=params.inside[:, :0],
            box_start=params.box_start[:, :0],
            box_stop=params.box_stop[:, :0],
        )
        return transform.apply(Batch.of(x), own).tensor

    first, second = alone(0), alone(1)
    for row in range(60):
        (top, left), (bottom, right) = params.box_start[row, 0], params.box_stop[row, 0]
        wanted, pasted = (first, second) if params.kept[row, 0] == 1 else (second, first)
        wanted = wanted[row].clone()
        wanted[:, top:bottom, left:right] = pasted[row, :, top:bottom, left:right]
        torch.testing.assert_close(mixed[row], wanted, atol=1e-6, rtol=0)
    assert 15 < params.kept.sum() < 45


def test_recolouring_exchanges_channels_of_colour_images_and_leaves_grey_ones() -> None:
    grey = torch.randint(0, 256, (30, 1, 12, 12), dtype=torch.uint8)
    plain, recoloured = CropMix(), CropMix(recolour=True)
    assert sampled(recoloured, grey).channels is None
    batch = Batch.of(grey)
    draws = Draws(0, batch.index)
    assert torch.equal(recoloured(batch, draws=draws).tensor, plain(batch, draws=draws).tensor)
    colour = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(200, 3, 6, 6)
    mixed = recoloured(colour).mean(dim=(2, 3))
    assert (mixed - colour[:, :, 0, 0]).abs().amax(dim=1).gt(0.01).float().mean() > 0.4
    torch.testing.assert_close(mixed.sum(dim=1), torch.full((200,), 1.6))


def test_sixteen_bits_keep_their_levels() -> None:
    x = torch.randint(0, 65_536, (8, 1, 10, 10)).to(torch.uint16)
    batch = Batch.of(x)
    params = sampled(CropMix(), x)
    mixed = CropMix().apply(batch, params).tensor
    wanted = CropMix().apply(batch.replace(x=x.double()), params).tensor
    assert mixed.dtype == torch.uint16
    assert (mixed.double() - wanted).abs().max() <= 0.51


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0.0}, r"scale must be in \(0, 1\]"),
        ({"ratio": 0.0}, r"ratio must be in \(0, inf\)"),
        ({"crops": 0}, r"crops must be in \[1, inf\)"),
        ({"fold": "add"}, "fold must be one of mixup, cutmix"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CropMix(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x must be images"):
        sampled(CropMix(), torch.zeros(4, 7))
