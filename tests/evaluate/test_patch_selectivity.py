"""Accuracy where cells of images are replaced, dropped or permuted."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from vicinal import Draws
from vicinal.evaluate.patch_selectivity import (
    KINDS,
    SHARES,
    PatchSelectivity,
    another_class,
    permute_cells,
    replace_cells,
)

ALL = (*SHARES, 1.0)


def draws(rows: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(rows))


def counting(rows: int = 12, side: int = 8, channels: int = 2) -> Tensor:
    """No number is there twice."""
    return torch.arange(rows * channels * side**2).float().view(rows, channels, side, side)


def orders(rows: int, cells: int, seed: int = 0) -> Tensor:
    return draws(rows, seed).keys("order", shape=(cells**2,)).argsort(dim=1)


def mean_of_cells(x: Tensor) -> Tensor:
    """A bag of patches: channel c of a place is its logit for class c. Returns (B, C)."""
    return x.mean(dim=(2, 3))


def graded(classes: Tensor, strength: Tensor, side: int = 8) -> Tensor:
    """Images each place of which speaks for their class alike. Returns (N, 2, side, side)."""
    logits = functional.one_hot(classes, 2) * strength[:, None]
    return logits[:, :, None, None].expand(-1, -1, side, side)


def test_a_bag_of_patches_falls_linearly_with_the_share() -> None:
    # With t of a class's images spread evenly over (0, 1) and a strength of t / (1 - t) against 1,
    # an image of that class is told until a share t of it is replaced, and one of the other until
    # 1 - t is.
    rows, cells = 200, 10
    labels = torch.arange(2 * rows) % 2
    threshold = (torch.arange(rows) + 0.5) / rows
    strength = torch.stack([threshold / (1 - threshold), torch.ones(rows)], dim=1).flatten()
    x = graded(labels, strength, side=10)
    measure = PatchSelectivity(cells, ALL)
    found = measure.curves(
        mean_of_cells, x, labels, order=orders(len(x), cells), partner=torch.arange(len(x)) ^ 1
    )
    torch.testing.assert_close(found.accuracy["replace"], 1 - found.shares, atol=1e-9, rtol=0)
    assert found.partner_accuracy is not None
    torch.testing.assert_close(found.partner_accuracy, found.shares, atol=1e-9, rtol=0)
    assert found.area() == pytest.approx(0.5)
    # What pulls nowhere does a bag no harm, until nothing is left.
    assert found.accuracy["drop"][:-1].tolist() == [1.0] * 10
    assert found.accuracy["permute"].tolist() == [1.0] * 11
    drawn = measure(mean_of_cells, x, labels, draws=draws(len(x)))
    torch.testing.assert_close(drawn.accuracy["replace"], 1 - found.shares, atol=0.05, rtol=0)


def classifier(x: Tensor, labels: Tensor, classes: int) -> nn.Module:
    """Knows eight images in ten by heart, and takes the others for those of the next class."""
    told = torch.where(torch.arange(len(x)) % 5 == 0, (labels + 1) % classes, labels)

    class ByHeart(nn.Module):
        def forward(self, seen: Tensor) -> Tensor:
            nearest = torch.cdist(seen.flatten(1), x.flatten(1)).argmin(dim=1)
            return functional.one_hot(told[nearest], classes).float()

    return ByHeart()


def test_the_ends_of_the_curve_are_the_image_and_its_partner() -> None:
    rows, classes = 2000, 4
    labels = torch.arange(rows) % classes
    x = torch.randn(rows, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    model = classifier(x, labels, classes)
    clean = (model(x).argmax(dim=1) == labels).double().mean()
    measure = PatchSelectivity(4, (0.0, 1.0), rows=300)
    # Each image is the partner of one.
    partner = (torch.arange(rows) + 1) % rows
    found = measure.curves(model, x, labels, order=orders(rows, 4), partner=partner)
    assert found.partner_accuracy is not None
    assert all(found.accuracy[kind][0] == clean for kind in KINDS)
    assert found.partner_accuracy[1] == clean
    drawn = measure(model, x, labels, draws=draws(rows))
    assert drawn.partner_accuracy is not None
    assert drawn.accuracy["replace"][0] == clean
    assert drawn.accuracy["replace"][1] < 1 / classes
    assert drawn.partner_accuracy[1] == pytest.approx(float(clean), abs=0.03)


def test_what_looks_at_one_cell_is_right_as_often_as_it_is_left() -> None:
    rows = 3000
    labels = torch.arange(rows) % 2
    x = graded(labels, torch.ones(rows))
    measure = PatchSelectivity(4, ALL, kinds=("replace", "drop"), black=(-1.0, 0.0))
    found = measure(lambda seen: seen[:, :, 5, 2], x, labels, draws=draws(rows))
    torch.testing.assert_close(found.accuracy["replace"], 1 - found.shares, atol=0.03, rtol=0)
    # Where it is black, class 1 is told.
    expected = 1 - found.shares / 2
    torch.testing.assert_close(found.accuracy["drop"], expected, atol=0.03, rtol=0)


@given(
    side=st.sampled_from([(8, 8), (7, 9), (4, 5)]),
    cells=st.integers(1, 4),
    count=st.integers(0, 16),
    seed=st.integers(0, 99),
)
def test_as_many_cells_as_are_picked_show_the_other_image_whole(
    side: tuple[int, int], cells: int, count: int, seed: int
) -> None:
    count = min(count, cells**2)
    x, shown = torch.zeros(3, 2, *side), torch.ones(3, 2, *side)
    seen = replace_cells(x, shown, orders(3, cells, seed)[:, :count], cells=cells)
    assert torch.equal(seen[:, 0], seen[:, 1])
    # Splitting an axis at the same places gives the cells again.
    edges = [[-(-size * one // cells) for one in range(1, cells)] for size in side]
    parts = [
        part
        for band in seen[:, 0].tensor_split(edges[0], dim=1)
        for part in band.tensor_split(edges[1], dim=2)
    ]
    whole = torch.stack([part.flatten(1).amin(1) for part in parts], dim=1)
    assert torch.equal(whole, torch.stack([part.flatten(1).amax(1) for part in parts], dim=1))
    assert whole.sum(dim=1).tolist() == [count] * 3


@given(cells=st.sampled_from([1, 2, 4]), count=st.integers(0, 16), seed=st.integers(0, 99))
def test_permuting_moves_the_cells_that_are_picked_and_keeps_all_pixels(
    cells: int, count: int, seed: int
) -> None:
    count = min(count, cells**2)
    x = counting(3)
    picked = orders(3, cells, seed)[:, :count]
    seen = permute_cells(x, picked, cells=cells)
    assert torch.equal(seen.flatten(2).sort().values, x.flatten(2).sort().values)
    moved = (seen != x).float()
    inside = replace_cells(torch.zeros(()).expand_as(x), torch.ones(()), picked, cells=cells)
    assert torch.equal(moved, inside if count > 1 else torch.zeros_like(x))
    # Within a cell nothing moves: neighbours in it stay neighbours.
    side = 8 // cells
    corner = seen[:, :, ::side, ::side].repeat_interleave(side, 2).repeat_interleave(side, 3)
    first = x[:, :, ::side, ::side].repeat_interleave(side, 2).repeat_interleave(side, 3)
    assert torch.equal(seen - corner, x - first)


def test_all_cells_of_an_image_are_permuted_in_one_cycle() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    picked = torch.tensor([[4, 0, 8, 2]])
    seen = permute_cells(x, picked, cells=3).flatten().long().tolist()
    assert seen == [4, 1, 8, 3, 2, 5, 6, 7, 0]


def test_cells_that_are_disturbed_stay_so() -> None:
    x = torch.zeros(5, 1, 6, 6)
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images[:, 0] > 0)
        return images.flatten(1)[:, :2]

    labels = torch.arange(5) % 2
    measure = PatchSelectivity(6, (0.0, 0.25, 0.5, 1.0), kinds=("drop",), black=1.0)
    measure(model, x, labels, draws=draws(5))
    assert [int(step.sum()) for step in seen] == [0, 45, 90, 180]
    for fewer, more in pairwise(seen):
        assert (more | ~fewer).all()
    assert len(seen[1].unique(dim=0)) == 5


def test_shares_are_rounded_to_whole_cells() -> None:
    assert PatchSelectivity(4).counts() == [0, 2, 3, 5, 6, 8, 10, 11, 13, 14]


@given(
    labels=st.lists(st.integers(-3, 3), min_size=2, max_size=20).filter(lambda y: len(set(y)) > 1),
    seed=st.integers(0, 999),
)
def test_partners_are_of_another_class(labels: list[int], seed: int) -> None:
    given_labels = torch.tensor(labels)
    partner = another_class(given_labels, draws(len(labels), seed))
    assert (given_labels[partner] != given_labels).all()


def test_all_rows_of_other_classes_are_as_likely() -> None:
    labels = torch.tensor([2, 0, 1, 2, 0])
    times = torch.zeros(5, 5)
    for seed in range(1500):
        times[torch.arange(5), another_class(labels, draws(5, seed))] += 1 / 1500
    others = (labels[:, None] != labels).float()
    torch.testing.assert_close(times, others / others.sum(1, keepdim=True), atol=0.05, rtol=0)


def test_levels_stay_levels_and_chunks_make_no_difference() -> None:
    x = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(9) % 3

    def model(seen: Tensor) -> Tensor:
        assert seen.dtype == torch.uint8
        return seen.float().std(dim=(2, 3))

    one, two = (PatchSelectivity(4, rows=rows) for rows in (2, 100))
    first = one(model, x, labels, draws=draws(9))
    second = two(model, x, labels, draws=draws(9))
    assert all(torch.equal(first.accuracy[kind], second.accuracy[kind]) for kind in KINDS)


def test_the_area_is_over_the_shares_that_there_are() -> None:
    labels = torch.arange(4) % 2
    x = graded(labels, torch.ones(4))
    found = PatchSelectivity(2, (0.3, 0.5, 1.0), kinds=("drop",), black=0.0)(
        mean_of_cells, x, labels, draws=draws(4)
    )
    assert found.partner_accuracy is None
    assert found.shares.tolist() == [0.25, 0.5, 1.0]
    # Nothing but black is taken for class 0.
    assert found.accuracy["drop"].tolist() == [1.0, 1.0, 0.5]
    assert found.area("drop") == pytest.approx((0.25 + 0.5 * 0.75) / 0.75)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="cells must be at least 1, got 0"):
        PatchSelectivity(0)
    with pytest.raises(ValueError, match=r"shares must be numbers in \[0, 1\] that rise"):
        PatchSelectivity(4, (0.5, 0.1))
    with pytest.raises(ValueError, match=r"shares must be numbers in \[0, 1\] that rise"):
        PatchSelectivity(4, (0.0, 1.5))
    with pytest.raises(ValueError, match=r"two numbers of cells at least, got \[0, 0\] of 4 cells"):
        PatchSelectivity(2, (0.0, 0.1))
    with pytest.raises(ValueError, match="kinds must be some of"):
        PatchSelectivity(4, kinds=("blur",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kinds must be some of"):
        PatchSelectivity(4, kinds=())
    x, labels = torch.zeros(4, 3, 6, 6), torch.arange(4) % 2
    measure = PatchSelectivity(4, kinds=("permute",))
    with pytest.raises(ValueError, match="4 do not divide 6 x 6 pixels"):
        measure(mean_of_cells, x, labels, draws=draws(4))
    with pytest.raises(ValueError, match="7 cells do not fit into 6 x 6 pixels"):
        PatchSelectivity(7, kinds=("drop",))(mean_of_cells, x, labels, draws=draws(4))
    measure = PatchSelectivity(3)
    with pytest.raises(ValueError, match="there is only one"):
        measure(mean_of_cells, x, torch.ones(4).long(), draws=draws(4))
    with pytest.raises(ValueError, match=r"partner must be \(4,\)"):
        measure.curves(mean_of_cells, x, labels, order=orders(4, 3))
    with pytest.raises(ValueError, match=r"order must be \(4, 9\), got \(4, 4\)"):
        measure.curves(mean_of_cells, x, labels, order=orders(4, 2))
    with pytest.raises(ValueError, match="black must be one number or 3"):
        PatchSelectivity(3, black=(0.0, 1.0))(mean_of_cells, x, labels, draws=draws(4))
    with pytest.raises(ValueError, match=r"x must be \(N, C, H, W\) and labels \(N,\)"):
        measure(mean_of_cells, x[0], labels, draws=draws(4))
    with pytest.raises(ValueError, match=r"must give \(B, K\) logits"):
        measure(lambda seen: seen, x, labels, draws=draws(4))
    with pytest.raises(ValueError, match=r"labels must be \(4,\) as draws are, got \(3,\)"):
        measure(mean_of_cells, x, labels[:3], draws=draws(4))
