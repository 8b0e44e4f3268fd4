from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.mixers.test_image_saliency import blob
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws
from vicinal.core.augmentation import Augmentation
from vicinal.mixers.image_saliency import salient_peak
from vicinal.mixers.label_kernel import LabelKernel
from vicinal.mixers.pairing import AnotherClass
from vicinal.mixers.paste import CutMix, PasteParams, boxes
from vicinal.mixers.saliency_mix import SaliencyMix

GOLDEN = Path(__file__).parent / "golden" / "image_saliency.safetensors"


def spotted(rows: int, *, height: int = 48, width: int = 64) -> tuple[Batch, Tensor]:
    """Images with a bright spot on black, each at a place of its own, and the places (B, 2)."""
    generator = torch.Generator().manual_seed(1)
    places = (torch.rand(rows, 2, generator=generator) * torch.tensor([height, width])).long()
    x = torch.cat([blob(height, width, *place) for place in places.tolist()])
    return Batch.of(x, torch.arange(rows)), places


def drawn(mix: CutMix, batch: Batch, seed: int = 0) -> PasteParams:
    return mix.sample(batch, Draws(seed, batch.index))


def spots_inside(mix: CutMix, batch: Batch, places: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the partner's spot, of reach 3, is in the box; and whether the box is that large."""
    params = drawn(mix, batch)
    spot, size = places[params.partner], torch.tensor(batch.x.shape[2:])
    first, last = (spot - 3).clamp(min=0), (spot + 4).minimum(size)
    inside = ((params.start <= first) & (last <= params.stop)).all(dim=1)
    kept = Draws(0, batch.index).beta("share kept", mix.alpha, mix.alpha)
    halves = (size * (1 - kept[:, None]).sqrt() / 2).long()
    return inside, (halves >= 5).all(dim=1)  # a peak may be off by one


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_bright_spot_is_in_every_box_that_is_large_enough(dtype: torch.dtype) -> None:
    batch, places = spotted(200)
    if dtype != torch.uint8:
        batch = batch.replace(x=(batch.x / 255 - 0.45) / 0.22)
    inside, enough = spots_inside(SaliencyMix(), batch, places)
    assert enough.sum() > 100
    assert inside[enough].all()
    by_chance, enough = spots_inside(CutMix(), batch, places)
    assert by_chance[enough].float().mean() < 0.8


def test_near_the_border_the_box_is_clipped_and_the_weight_follows() -> None:
    batch, places = spotted(100)
    mix = SaliencyMix()
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    kept = Draws(0, batch.index).beta("share kept", 1.0, 1.0)
    area = (params.stop - params.start).prod(dim=1) / (48 * 64)
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    torch.testing.assert_close(mixed.target.weights[:, 0], 1 - area)
    spot = places[params.partner]
    near = ((spot < 8) | (spot >= torch.tensor([40, 56]))).any(dim=1) & (kept < 0.8)
    assert near.sum() > 20
    assert (mixed.target.weights[near, 0] > kept[near] + 0.01).all()
    middle = ((spot >= 20) & (spot < torch.tensor([28, 44]))).all(dim=1) & (kept > 0.6)
    torch.testing.assert_close(mixed.target.weights[middle, 0], kept[middle], atol=0.05, rtol=0)


def test_boxes_are_those_of_the_authors_code_where_the_peak_is_the_same() -> None:
    # afm-shahab-uddin/SaliencyMix, saliency_bbox, given images of 8 bits: of the two pixels that
    # share the highest level it takes the first.
    stored = load_file(GOLDEN)
    peak = salient_peak(stored["box.x"])
    start, stop = boxes(stored["box.kept"], peak, (32, 32))
    agree = (start == stored["box.start"]).all(dim=1) & (stop == stored["box.stop"]).all(dim=1)
    assert agree.tolist() == [True, True, False, True, False, True]


def test_one_box_for_the_batch_lies_around_the_peak_of_one_partner() -> None:
    batch, places = spotted(30)
    params = drawn(SaliencyMix(alpha=100.0, scope="batch"), batch)
    assert (params.start == params.start[0]).all()
    assert (params.stop == params.stop[0]).all()
    inside = ((params.start[0] <= places) & (places < params.stop[0])).all(dim=1)
    assert 1 <= inside.sum() < 30
    seen = {
        tuple(drawn(SaliencyMix(scope="batch"), batch, seed).start[0].tolist()) for seed in range(9)
    }
    assert len(seen) > 3


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 60, 140), (1.0, 180, 200)])
def test_a_share_of_the_samples_is_mixed(prob: float, low: int, high: int) -> None:
    batch, _ = spotted(200)
    params = drawn(SaliencyMix(prob=prob), batch)
    assert low <= (params.stop > params.start).all(dim=1).sum() <= high


def test_who_is_mixed_is_left_to_the_pairing() -> None:
    batch, _ = spotted(40)
    labels = torch.arange(40) % 2
    batch = Batch.of(batch.x, labels)
    params = drawn(SaliencyMix(pairing=AnotherClass()), batch)
    assert (labels[params.partner] != labels).all()


def test_a_pairing_from_outside_of_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="LabelKernel may take partners from elsewhere"):
        SaliencyMix(pairing=LabelKernel())


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"alpha": 0.0}, ValueError),
        ({"alpha": -1.0}, ValueError),
        ({"prob": 1.5}, ValueError),
        ({"scope": "epoch"}, ValueError),
        ({"pairing": None}, TypeError),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], error: type) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        SaliencyMix(**settings)


def test_a_batch_of_one_and_one_of_a_single_class_are_mixed() -> None:
    batch, _ = spotted(3)
    for few in (batch[:1].replace(pool=None), Batch.of(batch.x, torch.zeros(3).long())):
        mix: Augmentation = SaliencyMix()
        mixed = mix(few)
        assert isinstance(mixed.target, ClassTarget)
        torch.testing.assert_close(mixed.target.total(), torch.ones(len(few)))


def test_series_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\), got shape \(2, 3, 9\)"):
        SaliencyMix()(torch.zeros(2, 3, 9))
