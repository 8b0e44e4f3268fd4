"""Masks and boxes, and what mixing does to them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal import Batch, CutMix, Draws, Mixup, Sequence
from vicinal.core.boxes import box_mask
from vicinal.core.placed_target import VOID, BoxTarget, MaskTarget
from vicinal.core.target import ClassTarget
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.paste import PasteParams


def masks(rows: int = 3, size: int = 6) -> Tensor:
    """Row i has the class i everywhere."""
    return torch.arange(rows)[:, None, None].expand(rows, size, size).clone()


def images(rows: int = 3, size: int = 6) -> Tensor:
    return masks(rows, size)[:, None].float()


BOX = PasteParams(
    torch.tensor([1, 2, 0]),
    torch.tensor([[0, 0], [2, 2], [1, 1]]),
    torch.tensor([[3, 4], [6, 6], [1, 1]]),
)


# Masks.


def test_masks_are_pasted_with_their_images() -> None:
    batch = Batch.of(images(), MaskTarget.of_masks(masks()))
    mixed = CutMix().apply(batch, BOX)
    assert isinstance(mixed.target, MaskTarget)
    assert mixed.target.weights is None
    assert torch.equal(mixed.target.labels.float(), mixed.tensor)


def test_interpolated_places_have_both_classes() -> None:
    x, y = images(), MaskTarget.of_masks(masks())
    mixed, target = Mixup()(x, y, draws=Draws(0, torch.arange(3)))
    dense = target.dense(3)
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(3, 6, 6))
    # The image is the class: its mean is the mixture's mean class.
    mean = (dense * torch.arange(3.0)[None, :, None, None]).sum(dim=1)
    torch.testing.assert_close(mean, mixed[:, 0])


def test_the_loss_is_that_of_soft_labels_place_by_place() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 4, 6, 6, generator=generator)
    plain = MaskTarget.of_masks(masks())
    torch.testing.assert_close(plain.loss(output), F.cross_entropy(output, masks()))
    own = torch.rand(3, 6, 6, generator=generator)
    both = plain.mix_places(plain[torch.tensor([1, 2, 0])], own)
    expected = F.cross_entropy(output, both.dense(4))
    torch.testing.assert_close(both.loss(output), expected)
    torch.testing.assert_close(both.loss(output, reduction="none").mean(), expected)
    perfect = F.one_hot(masks(), 4).movedim(3, 1) * 50.0
    assert plain.score(perfect).tolist() == [1, 1, 1]
    torch.testing.assert_close(both.score(perfect), own.mean(dim=(1, 2)))


def test_void_places_are_not_asked_for() -> None:
    labels = masks()
    labels[:, :3] = VOID
    output = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    target = MaskTarget.of_masks(labels)
    expected = F.cross_entropy(output, labels, ignore_index=VOID)
    torch.testing.assert_close(target.loss(output), expected)
    nothing = MaskTarget.of_masks(torch.full((2, 3, 3), VOID))
    assert float(nothing.loss(torch.zeros(2, 4, 3, 3))) == 0


def test_mixtures_of_masks_mix_again_and_join() -> None:
    batch = Batch.of(images(), MaskTarget.of_masks(masks()))
    once = Mixup()(batch, draws=Draws(0, batch.index))
    twice = CutMix()(once, draws=Draws(1, batch.index))
    assert isinstance(twice.target, MaskTarget)
    assert twice.target.labels.shape == (3, 4, 6, 6)
    torch.testing.assert_close(twice.target.dense(3).sum(dim=1), torch.ones(3, 6, 6))
    assert batch.target is not None
    whole = MaskTarget.concatenate([batch.target, twice.target])  # type: ignore[list-item]
    assert len(whole) == 6
    assert torch.equal(whole.dense(3)[3:], twice.target.dense(3))


@pytest.mark.parametrize(
    ("labels", "weights", "error"),
    [
        (torch.zeros(2, 1), None, "int64 with an axis of space"),
        (torch.zeros(2, 2, 3, 3, dtype=torch.int64), None, "2 classes a place need weights"),
        (
            torch.zeros(2, 2, 3, 3, dtype=torch.int64),
            torch.zeros(2, 2, 3, 4),
            "must have the shape",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    labels: Tensor, weights: Tensor | None, error: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        MaskTarget(labels, weights)


def test_masks_of_another_size_than_the_images_are_refused() -> None:
    batch = Batch.of(images(size=8), MaskTarget.of_masks(masks()))
    with pytest.raises(ValueError, match=r"masks are \(6, 6\), and the samples \(8, 8\)"):
        CutMix().apply(batch, BOX)


def test_masks_resized_into_boxes_keep_what_places_show() -> None:
    labels = torch.arange(16).view(1, 4, 4)
    start, stop = torch.tensor([[1, 0]]), torch.tensor([[3, 4]])
    small = MaskTarget.of_masks(labels).resized_into(start, stop, sizes=(5, 6), source=(4, 4))
    assert small.labels.shape == (1, 1, 5, 6)
    assert small.labels[0, 0, 1:3, :4].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    both = MaskTarget(labels[:, None].repeat(1, 2, 1, 1), torch.rand(1, 2, 4, 4))
    again = both.resized_into(start, stop, sizes=(5, 6), source=(4, 4))
    assert both.weights is not None
    assert again.weights is not None
    assert torch.equal(again.weights[0, :, 1:3, :4], both.weights[0, :, ::2])
    with pytest.raises(ValueError, match=r"masks are \(4, 4\), and the samples \(8, 8\)"):
        both.resized_into(start, stop, sizes=(5, 6), source=(8, 8))


# Boxes.


def detections() -> BoxTarget:
    """One box in the upper left of each image, and one in the lower right of the second."""
    corner = torch.tensor([[0.0, 0.0, 3.0, 3.0]])
    both = torch.cat([corner, torch.tensor([[3.0, 4.0, 6.0, 6.0]])])
    return BoxTarget.of_boxes(
        [corner, both, torch.zeros(0, 4)],
        [torch.tensor([1]), torch.tensor([2, 3]), torch.zeros(0, dtype=torch.int64)],
    )


def test_boxes_stay_where_enough_of_them_is_to_be_seen() -> None:
    batch = Batch.of(images(), detections())
    mixed = CutMix().apply(batch, BOX).target
    assert isinstance(mixed, BoxTarget)
    labels = [row.tolist() for row in mixed.labels.rows()]
    # First: rows 0..2 and columns 0..3 are the second image's. Its own box is hidden, and the
    # partner's first is there whole. Second: its lower right part is the third image's, without
    # boxes: the second box goes, the first is hidden by one pixel of nine. Third: nothing pasted.
    assert labels == [[2], [2], []]
    seen = [row.tolist() for row in mixed.seen.rows()]
    assert seen[0] == [1.0]
    assert seen[1] == [pytest.approx(8 / 9)]


def test_what_is_hidden_is_counted_as_pixels_of_the_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(3, 6, 6, generator=generator) < 0.7
    target = detections()
    mixed = target.mix_places(target[torch.tensor([2, 2, 2])], own)
    inside = box_mask(torch.tensor([[0, 0]]), torch.tensor([[3, 3]]), (6, 6))[0]
    expected = [float(own[row][inside].float().mean()) for row in (0, 1)]
    kept = [share for share in expected if share >= BoxTarget.least]
    found = [row.tolist()[0] for row in mixed.seen.rows()[:2] if len(row)]
    assert found == pytest.approx(kept)


def test_interpolation_keeps_all_boxes_by_weight() -> None:
    x = images()
    mixed, target = Mixup()(x, detections(), draws=Draws(0, torch.arange(3)))
    own = Mixup().sample(Batch.of(x), Draws(0, torch.arange(3)))
    for row in range(3):
        partner = int(own.partner[row])
        mine, theirs = detections().labels.rows()[row], detections().labels.rows()[partner]
        assert target.labels.rows()[row].tolist() == [*mine.tolist(), *theirs.tolist()]
        weights = [float(own.kept[row])] * len(mine) + [1 - float(own.kept[row])] * len(theirs)
        assert target.weights.rows()[row].tolist() == pytest.approx(weights)
    assert mixed.shape == x.shape


def test_boxes_outside_of_the_image_do_no_harm() -> None:
    outside = BoxTarget.of_boxes(
        [torch.tensor([[-5.0, -5, -1, -1], [4, 4, 9, 9]])], [torch.tensor([0, 1])]
    )
    batch = Batch.of(images(1), outside)
    mixed = CutMix().apply(
        batch, PasteParams(torch.tensor([0]), torch.tensor([[0, 0]]), torch.tensor([[1, 1]]))
    )
    assert isinstance(mixed.target, BoxTarget)
    assert mixed.target.labels.values.tolist() == [1]  # the other cannot be seen at all


def test_boxes_are_indexed_and_joined_row_by_row() -> None:
    target = detections()
    picked = target[torch.tensor([1, 0, 1])]
    assert [row.tolist() for row in picked.labels.rows()] == [[2, 3], [1], [2, 3]]
    whole = BoxTarget.concatenate([target, picked])
    assert [len(row) for row in whole.boxes.rows()] == [1, 2, 0, 2, 1, 2]


@pytest.mark.parametrize(
    ("boxes", "labels", "error"),
    [
        ([torch.tensor([[3.0, 0, 1, 2]])], [torch.tensor([0])], "ends before it begins"),
        ([torch.zeros(2, 4)], [torch.tensor([0])], "every box needs a label"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(
    boxes: list[Tensor], labels: list[Tensor], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        BoxTarget.of_boxes(boxes, labels)


def test_boxes_leave_the_loss_to_the_detector() -> None:
    with pytest.raises(TypeError, match="hand boxes, labels, weights to a detector"):
        detections().loss(torch.zeros(3, 2))


def test_boxes_resized_with_their_image_are_scaled_and_shifted() -> None:
    start, stop = torch.tensor([[2, 1]] * 3), torch.tensor([[5, 3]] * 3)
    small = detections().resized_into(start, stop, sizes=(6, 6), source=(6, 6))
    # Half as high and a third as wide.
    torch.testing.assert_close(
        small.boxes.rows()[1], torch.tensor([[1.0, 2, 2, 3.5], [2, 4, 3, 5]])
    )
    assert small.labels.equal(detections().labels)


# Nothing passes through in silence.


@pytest.mark.parametrize(
    "target", [MaskTarget.of_masks(masks()), detections()], ids=["masks", "boxes"]
)
def test_what_has_no_rule_for_places_refuses_them(target: MaskTarget | BoxTarget) -> None:
    from vicinal import Cutout, RandAugment

    for refusing in (Cutout(), RandAugment(), Sequence([Mixup(), Cutout()])):
        with pytest.raises(TypeError, match=f"no rule for targets of kind {target.kind}"):
            refusing(images(), target)
    for carrying in (Mixup(), CutMix(), Sequence([Mixup(), CutMix()])):
        _, mixed = carrying(images(), target)
        assert type(mixed) is type(target)
    _, mixed = RandomChoice([Mixup(), CutMix()])(images(), target)
    assert type(mixed) is type(target)


def test_kinds_without_places_have_no_rule_for_them() -> None:
    target = ClassTarget(torch.tensor([[0], [1]]))
    with pytest.raises(TypeError, match="classes target has no places"):
        target.mix_places(target, torch.ones(2, 3, 3))
    corner = torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(TypeError, match="classes target has no places"):
        target.resized_into(corner, corner + 1, sizes=(3, 3), source=(3, 3))
