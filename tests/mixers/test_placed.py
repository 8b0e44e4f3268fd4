"""Masks and boxes go with what is shown of their images, whatever mixes these."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Draws, FMix, Mixer, Mixup, ResizeMix
from vicinal.core import registry
from vicinal.core.boxes import box_mask
from vicinal.core.placed_target import BoxTarget, MaskTarget
from vicinal.core.probe import ask
from vicinal.mixers.paste import PasteParams
from vicinal.testing.network import Network

ROWS, HEIGHT, WIDTH, CLASSES = 6, 18, 14, 5
MIXERS: list[type[Mixer]] = [
    mixer
    for mixer in registry.components("mixer")
    if mixer.__module__.startswith("vicinal.") and {"masks", "boxes"} <= {*mixer.card.targets}
]
#: They show one of both images at each place.
HARD = {
    "AttentiveMix",
    "CutMix",
    "FMix",
    "GridMix",
    "MaskMix",
    "PatchMixing",
    "ResizeMix",
    "SaliencyMix",
    "TokenCutMix",
}
every_mixer = pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer.__name__)


def label_maps() -> Tensor:
    """Another class at every pixel, so that one that is moved shows."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(CLASSES, (ROWS, HEIGHT, WIDTH), generator=generator)


def drawn(mix: Mixer, seed: int = 0) -> PasteParams:
    """Params for images of noise; they have `partner`, and perhaps no box."""
    x = torch.rand(ROWS, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    batch = Batch.of(x, torch.arange(ROWS))
    batch = ask(mix.probes, {"model": Network.of(batch)}, batch)
    params: PasteParams = mix.sample(batch, Draws(seed, batch.index))
    return params


def test_all_that_mix_by_place_carry_them() -> None:
    assert {mixer.__name__ for mixer in MIXERS} >= HARD | {"GuidedMixup", "Mixup", "SmoothMix"}


@every_mixer
def test_the_label_map_of_an_image_that_is_its_classes_is_the_mixed_image(
    mixer: type[Mixer],
) -> None:
    mix, maps = mixer(), label_maps()
    batch = Batch.of(maps[:, None].float(), MaskTarget.of_masks(maps))
    for seed in range(3):
        mixed = mix.apply(batch, drawn(mix, seed))
        assert isinstance(mixed.target, MaskTarget)
        dense = mixed.target.dense(CLASSES)
        classes = torch.arange(float(CLASSES))[:, None, None]
        torch.testing.assert_close((dense * classes).sum(dim=1), mixed.tensor[:, 0])
        torch.testing.assert_close(dense.sum(dim=1), torch.ones(ROWS, HEIGHT, WIDTH))
        if mixer.__name__ in HARD:
            assert mixed.target.weights is None
            assert torch.equal(mixed.target.labels.float(), mixed.tensor)


# By mixup all boxes stay, by weight, and ResizeMix makes them small.
@pytest.mark.parametrize(
    "mixer", [one for one in MIXERS if one not in (Mixup, ResizeMix)], ids=lambda one: one.__name__
)
def test_a_box_stays_if_enough_of_its_pixels_are_shown(mixer: type[Mixer]) -> None:
    mix = mixer()
    box = torch.tensor([[3.0, 4.0, 9.0, 12.0]])  # left, top, right, bottom
    boxes = BoxTarget.of_boxes([box] * ROWS, list(torch.arange(ROWS)[:, None]))
    inside = box_mask(torch.tensor([[4, 3]]), torch.tensor([[12, 9]]), (HEIGHT, WIDTH))[0]
    x = torch.eye(ROWS)[:, :, None, None] * inside  # of each image its own channel shows the box
    stayed = 0
    for seed in range(4):
        params = drawn(mix, seed)
        mixed = mix.apply(Batch.of(x, boxes), params)
        assert isinstance(mixed.target, BoxTarget)
        shown = mixed.tensor.sum(dim=(2, 3)) / inside.sum()  # (B, ROWS)
        for row, partner in enumerate(params.partner.tolist()):
            if partner == row:
                continue
            pair = torch.tensor([row, partner])
            expected = [int(one) for one in pair if shown[row, one] >= BoxTarget.least]
            assert mixed.target.labels.rows()[row].tolist() == expected
            torch.testing.assert_close(mixed.target.seen.rows()[row], shown[row, expected])
            stayed += len(expected)
    assert stayed > 0
    if mixer.__name__ in HARD:
        assert stayed < 2 * 4 * ROWS


def test_what_a_thumbnail_holds_is_made_small_with_it() -> None:
    # All of a partner of 8 x 8 is shown in rows 2..5 and columns 3..4.
    params = PasteParams(
        torch.tensor([1, 0]), torch.tensor([[2, 3], [0, 0]]), torch.tensor([[6, 5], [8, 8]])
    )
    boxes = BoxTarget.of_boxes(
        [torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[2.0, 4, 6, 8]])],
        [torch.tensor([0]), torch.tensor([1])],
    )
    mixed = ResizeMix().apply(Batch.of(torch.rand(2, 3, 8, 8), boxes), params).target
    assert isinstance(mixed, BoxTarget)
    # The own box is hidden by 8 pixels of 64. The partner's had rows 4..7 and columns 2..5.
    assert mixed.labels.rows()[0].tolist() == [0, 1]
    assert mixed.boxes.rows()[0].tolist() == [[0, 0, 8, 8], [3.5, 4, 4.5, 6]]
    assert mixed.seen.rows()[0].tolist() == [pytest.approx(1 - 8 / 64), 1]
    # In the other image nothing but the partner is to be seen, as large as it was.
    assert mixed.labels.rows()[1].tolist() == [0]
    assert mixed.boxes.rows()[1].tolist() == [[0, 0, 8, 8]]


@pytest.mark.parametrize("boundary", ["shift", "clip"])
def test_masks_are_resized_to_the_thumbnail_by_the_nearest(boundary: str) -> None:
    mix = ResizeMix(boundary=boundary)
    maps = label_maps()
    params = drawn(mix)
    mixed = mix.apply(Batch.of(maps[:, None].float(), MaskTarget.of_masks(maps)), params).target
    assert isinstance(mixed, MaskTarget)
    for row, partner in enumerate(params.partner.tolist()):
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        small = torch.nn.functional.interpolate(
            maps[partner][None, None].float(), (bottom - top, right - left), mode="nearest"
        )
        expected = maps[row].clone()
        expected[top:bottom, left:right] = small[0, 0].long()
        assert torch.equal(mixed.labels[row, 0], expected)


def test_own_labels_do_not_go_with_places() -> None:
    maps = label_maps()
    x, y = maps[:, None].float(), MaskTarget.of_masks(maps)
    with pytest.raises(TypeError, match="FMix has no rule for targets of kind masks"):
        FMix(labels="own")(x, y)
    assert FMix(labels="own").carries("classes")


def test_boxes_are_of_images_only() -> None:
    boxes = BoxTarget.of_boxes([torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2)
    with pytest.raises(ValueError, match=r"boxes are of images, .* got \(2, 9\)"):
        FMix()(torch.rand(2, 3, 9), boxes)
