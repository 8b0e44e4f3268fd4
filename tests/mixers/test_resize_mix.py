from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws
from vicinal.core.partner_share import PartnerShare
from vicinal.core.target import Target
from vicinal.mixers.paste import CutMix, PasteParams
from vicinal.mixers.resize_mix import Boundary, ResizeMix, thumbnail_boxes

GOLDEN = Path(__file__).parent / "golden" / "resizemix_authors.safetensors"


def numbered(rows: int, height: int, width: int, *, dtype: torch.dtype = torch.float32) -> Batch:
    """Every pixel of every image has a number of its own, and every sample a class."""
    x = torch.arange(rows * 2 * height * width).view(rows, 2, height, width)
    labels = torch.arange(rows)
    target = ClassTarget(labels[:, None])
    return Batch(x=(x % 251 if dtype == torch.uint8 else x).to(dtype), target=target, index=labels)


def drawn(mix: ResizeMix, batch: Batch, seed: int = 0) -> PasteParams:
    return mix.sample(batch, Draws(seed, batch.index))


def own_weights(target: Target | None) -> Tensor:
    assert isinstance(target, ClassTarget)
    assert target.weights is not None
    return target.weights[:, 0]


def by_interpolate(batch: Batch, params: PasteParams, mode: str = "nearest") -> Tensor:
    """Each thumbnail by torch, in a loop."""
    expected = batch.x.clone()
    for row in range(len(batch)):
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        partner = int(params.partner[row])
        expected[row, :, top:bottom, left:right] = F.interpolate(
            batch.x[partner : partner + 1], size=(bottom - top, right - left), mode=mode
        )[0]
    return expected


@given(
    seed=st.integers(0, 2**31 - 1),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    boundary=st.sampled_from(["shift", "clip"]),
    dtype=st.sampled_from([torch.float32, torch.uint8]),
)
def test_the_thumbnail_is_the_whole_partner_as_interpolate_makes_it(
    seed: int, height: int, width: int, boundary: Boundary, dtype: torch.dtype
) -> None:
    batch, mix = numbered(3, height, width, dtype=dtype), ResizeMix(boundary=boundary)
    params = drawn(mix, batch, seed)
    assert torch.equal(mix.apply(batch, params).x, by_interpolate(batch, params))


def bands_shown(pasted: Tensor, partner: Tensor) -> Tensor:
    """Which of 4 x 4 bands of the partner have a pixel in the part that was pasted."""
    height, width = partner.shape[-2:]
    seen = torch.isin(partner, pasted.contiguous()).view(4, height // 4, 4, width // 4)
    return seen.any(dim=3).any(dim=1)


def test_every_band_of_rows_and_columns_is_in_the_thumbnail_and_not_in_a_box_of_cutmix() -> None:
    batch = numbered(12, 32, 32)
    params = drawn(ResizeMix(scale=(0.15, 0.3)), batch)
    for row, partner in enumerate(params.partner.tolist()):
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        for mix, whole in ((ResizeMix(), True), (CutMix(), False)):
            mixed = mix.apply(batch, params).x[row, 0, top:bottom, left:right]
            assert bool(bands_shown(mixed, batch.x[partner, 0]).all()) == whole


@given(
    seed=st.integers(0, 2**31 - 1),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    low=st.floats(0.01, 1),
)
def test_a_moved_box_has_the_size_drawn_and_lies_inside(
    seed: int, height: int, width: int, low: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    side = torch.empty(20).uniform_(low, 1, generator=generator)
    sizes = torch.tensor([height, width])
    centre = (torch.rand(20, 2, generator=generator) * sizes).long()
    start, stop = thumbnail_boxes(side, centre, (height, width), boundary="shift")
    wanted = (side.double()[:, None] * sizes).long().clamp(min=1)
    assert torch.equal(stop - start, wanted)
    assert (start >= 0).all()
    assert (stop <= sizes).all()
    # Moved no further than it has to be.
    free = (centre - wanted // 2 >= 0) & (centre - wanted // 2 + wanted <= sizes)
    assert torch.equal(start[free], (centre - wanted // 2)[free])


@pytest.mark.parametrize("boundary", ["shift", "clip"])
def test_the_own_label_weighs_what_is_left_of_the_image(boundary: Boundary) -> None:
    batch, mix = numbered(40, 20, 28), ResizeMix(boundary=boundary)
    params = drawn(mix, batch)
    area = (params.stop - params.start).prod(dim=1)
    weights = own_weights(mix.apply(batch, params).target)
    torch.testing.assert_close(weights, 1 - area / 560, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("boundary", "size", "expected"),
    [
        ("shift", 32, 0.771),
        # In the limit of small pixels 1 - (b**3 - a**3) / (3 * (b - a)).
        ("shift", 4096, 1 - (0.8**3 - 0.1**3) / (3 * 0.7)),
        ("clip", 32, 0.84),
    ],
)
def test_the_mean_weight_is_that_of_the_boundary(
    boundary: Boundary, size: int, expected: float
) -> None:
    rows = torch.arange(100_000)
    batch = Batch(
        x=torch.empty(1, 1, size, size).expand(100_000, -1, -1, -1), target=None, index=rows
    )
    params = drawn(ResizeMix(boundary=boundary), batch)
    share = (params.stop - params.start).double().prod(dim=1).mean() / size**2
    assert 1 - share == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("boundary", ["shift", "clip"])
def test_every_place_of_the_image_is_the_middle_equally_often(boundary: Boundary) -> None:
    rows = torch.arange(40_000)
    batch = Batch(x=torch.empty(1, 1, 10, 16).expand(40_000, -1, -1, -1), target=None, index=rows)
    params = drawn(ResizeMix(scale=(0.2, 0.2), boundary=boundary), batch)
    for axis, length in ((0, 10), (1, 16)):
        size = int(0.2 * length)
        start = params.start[:, axis]
        counts = torch.bincount(start, minlength=length) / 40_000
        inside = counts[1 : length - size]
        torch.testing.assert_close(inside, torch.full_like(inside, 1 / length), atol=8e-3, rtol=0)


def test_a_thumbnail_of_full_size_is_the_partner_and_leaves_no_weight() -> None:
    batch, mix = numbered(6, 9, 14), ResizeMix(scale=(1, 1))
    mixed = mix.apply(batch, params := drawn(mix, batch))
    assert torch.equal(mixed.x, batch.x[params.partner])
    assert (own_weights(mixed.target) == 0).all()


@pytest.mark.parametrize("boundary", ["shift", "clip"])
def test_the_smallest_thumbnail_is_not_empty(boundary: Boundary) -> None:
    batch, mix = numbered(50, 8, 8), ResizeMix(scale=(0.1, 0.1), boundary=boundary)
    params = drawn(mix, batch)
    size = params.stop - params.start
    if boundary == "shift":
        assert (size == 1).all()
        mixed = mix.apply(batch, params)
        assert (own_weights(mixed.target) == 1 - 1 / 64).all()
        changed = (mixed.x != batch.x).any(dim=1).sum(dim=(1, 2))
        assert torch.equal(changed, (params.partner != batch.index).long())
    else:
        assert ((size >= 1) & (size <= 2)).all()


@pytest.mark.parametrize("name", ["square", "wide", "clip0", "clip1"])
def test_params_injected_give_what_the_authors_code_gives(name: str) -> None:
    # JayQine/ResizeMix, getbox_new of tools/utils.py and the lines of run_apis/trainer.py, whose
    # call of interpolate goes by the size, as it did before torch 1.6; and OpenMixup's resizemix.
    case = {key.split(".")[1]: t for key, t in load_file(GOLDEN).items() if key.startswith(name)}
    x = case["x"].float()
    boundary: Boundary = "clip" if name.startswith("clip") else "shift"
    start, stop = thumbnail_boxes(
        case["rate"].expand(len(x)),
        case["centre"].expand(len(x), -1),
        (x.shape[2], x.shape[3]),
        boundary=boundary,
    )
    params = PasteParams(case["partner"], start, stop)
    for images in (x, case["x"]):
        mixed = ResizeMix().apply(Batch.of(images, torch.arange(len(x))), params)
        assert torch.equal(mixed.x, case["mixed"].to(images.dtype))
        kept = case["kept"].float().expand(len(x))
        torch.testing.assert_close(own_weights(mixed.target), kept, atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_one_size_for_all_gives_what_one_call_of_interpolate_gives(dtype: torch.dtype) -> None:
    batch = numbered(7, 24, 30, dtype=dtype)
    params = drawn(ResizeMix(scope="batch"), batch)
    size = params.stop - params.start
    assert (size == size[0]).all()
    small = F.interpolate(batch.x, size=tuple(size[0].tolist()))
    expected = batch.x.clone()
    for row, partner in enumerate(params.partner.tolist()):
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        expected[row, :, top:bottom, left:right] = small[partner]
    assert torch.equal(ResizeMix().apply(batch, params).x, expected)


def test_what_a_batch_shares() -> None:
    batch = numbered(60, 32, 32)
    for boundary, places in (("shift", 30), ("clip", 1)):
        params = drawn(ResizeMix(boundary=boundary, scope="batch"), batch)
        assert len((params.stop - params.start).unique(dim=0)) == 1
        assert len(params.start.unique(dim=0)) >= places
        if boundary == "clip":
            assert len(params.start.unique(dim=0)) == 1
    params = drawn(ResizeMix(), batch)
    assert len((params.stop - params.start).unique(dim=0)) > 10


@given(seed=st.integers(0, 2**31 - 1), height=st.integers(2, 30), width=st.integers(2, 30))
def test_bilinear_thumbnails_are_those_of_interpolate(seed: int, height: int, width: int) -> None:
    x = torch.rand(3, 2, height, width, generator=torch.Generator().manual_seed(seed))
    batch, mix = Batch.of(x), ResizeMix(interpolation="bilinear")
    params = drawn(mix, batch, seed)
    expected = by_interpolate(batch, params, "bilinear")
    torch.testing.assert_close(mix.apply(batch, params).x, expected, atol=1e-5, rtol=0)


def test_gradients_reach_the_pixels_shown_and_no_others() -> None:
    batch, mix = numbered(4, 12, 12), ResizeMix(scale=(0.5, 0.5))
    params = drawn(mix, batch)
    x = batch.x.clone().requires_grad_()
    mixed = mix.apply(batch.replace(x=x), params).x
    assert torch.equal(mixed.detach(), mix.apply(batch, params).x)
    mixed.sum().backward()
    assert x.grad is not None
    shown = torch.stack([(mixed == value).sum() for value in batch.x[:, 0].flatten()])
    assert torch.equal(x.grad[:, 0].flatten(), shown.float())


def test_params_say_where_the_partner_is() -> None:
    batch, mix = numbered(5, 10, 12), ResizeMix()
    params = drawn(mix, batch)
    assert isinstance(params, PartnerShare)
    share = params.partner_share([torch.arange(10), torch.arange(12)])
    area = (params.stop - params.start).prod(dim=1)
    assert torch.equal(share.sum(dim=(1, 2)), area.float())


@pytest.mark.parametrize(
    "batch", [numbered(1, 8, 8), Batch.of(numbered(3, 8, 8).x, torch.zeros(3).long())]
)
def test_a_batch_of_one_and_one_of_a_single_class_are_mixed(batch: Batch) -> None:
    mix = ResizeMix()
    mixed = mix.apply(batch, drawn(mix, batch))
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.total(), torch.ones(len(batch)))


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"scale": (0.0, 0.8)}, ValueError),
        ({"scale": (0.8, 0.1)}, ValueError),
        ({"scale": (0.1, 1.2)}, ValueError),
        ({"scale": 0.3}, TypeError),
        ({"boundary": "wrap"}, ValueError),
        ({"interpolation": "cubic"}, ValueError),
        ({"scope": "epoch"}, ValueError),
        ({"pairing": "random"}, TypeError),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], error: type) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        ResizeMix(**settings)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 9), (3, 1, 4, 4, 4)])
def test_what_are_no_images_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\), got shape \(3"):
        ResizeMix()(torch.zeros(shape))
