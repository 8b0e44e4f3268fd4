from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, Target
from vicinal.transforms.orbit import Orbit, OrbitParams, Transformations

GOLDEN = Path(__file__).parents[1] / "methods" / "golden" / "sla_authors.json"
GROUPS = get_args(Transformations)
every_group = pytest.mark.parametrize("name", GROUPS)


def telltale(rows: int = 3, side: int = 4) -> Batch:
    """Every pixel is another number; row i has the label i and is row 50 - i of the dataset."""
    x = torch.arange(rows * 3 * side * side).view(rows, 3, side, side)
    return Batch(x=x, target=Target.of(torch.arange(rows)), index=50 - torch.arange(rows))


def whole(orbit: Orbit, batch: Batch) -> Batch:
    return orbit.apply(batch, orbit.sample(batch, Draws(0, batch.index)))


def sizes() -> dict[str, int]:
    return {
        "identity": 1,
        "rotation": 4,
        "half_turn": 2,
        "colour": 6,
        "colour_cycle": 3,
        "half_turn+colour_cycle": 6,
        "rotation+colour_cycle": 12,
        "rotation+colour": 24,
    }


@every_group
def test_all_versions_of_the_first_sample_come_first(name: Any) -> None:
    orbit, batch = Orbit(name), telltale()
    size = len(orbit)
    assert size == sizes()[name]
    result = whole(orbit, batch)
    assert len(result) == 3 * size
    params = orbit.sample(batch, Draws(0, batch.index))
    assert params.member.tolist() == list(range(size)) * 3
    assert params.source.tolist() == [row for row in (50, 49, 48) for _ in range(size)]
    assert torch.equal(result.index, params.source)
    assert isinstance(result.target, ClassTarget)
    assert result.target.labels[:, 0].tolist() == [row for row in range(3) for _ in range(size)]
    assert torch.equal(result.tensor[::size], batch.tensor)  # member 0 is the identity
    assert len({tuple(one.flatten().tolist()) for one in result.tensor}) == 3 * size


@pytest.mark.parametrize("name", [name for name in GROUPS if name != "identity"])
def test_versions_are_the_authors_in_their_order(name: Any) -> None:
    # What hankook/SLA makes of two images.
    wanted = json.loads(GOLDEN.read_text())["versions"][name]
    x = torch.arange(24).view(2, 3, 2, 2)
    assert whole(Orbit(name), Batch.of(x)).tensor.flatten().tolist() == wanted


def test_four_quarter_turns_are_nothing_bit_for_bit() -> None:
    orbit, x = Orbit(), torch.randn(5, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    turned = x
    for quarter in range(1, 5):
        turned = orbit.version(turned, 1)
        assert torch.equal(turned, x) == (quarter == 4)
        assert torch.equal(turned, x.rot90(quarter, (2, 3)))


@every_group
def test_members_form_a_group_and_the_table_is_of_what_they_do(name: Any) -> None:
    orbit, x = Orbit(name), telltale().tensor
    size, table, inverse = len(orbit), orbit.table, orbit.inverse
    for first in range(size):
        assert sorted(table[first].tolist()) == list(range(size))
        assert sorted(table[:, first].tolist()) == list(range(size))
        assert table[0, first] == table[first, 0] == first
        assert table[first, inverse[first]] == table[inverse[first], first] == 0
        for then in range(size):
            both = orbit.version(orbit.version(x, first), then)
            assert torch.equal(both, orbit.version(x, int(table[first, then])))
    one, two, three = (
        torch.cartesian_prod(*[torch.arange(size)] * 3).unbind(1)
        if size > 1
        else ((torch.zeros(1, dtype=torch.int64),) * 3)
    )
    assert torch.equal(table[table[one, two], three], table[one, table[two, three]])


def test_quarter_turns_are_cyclic_and_colours_do_not_commute() -> None:
    turns = torch.arange(4)
    assert torch.equal(Orbit().table, (turns[:, None] + turns) % 4)
    assert Orbit().inverse.tolist() == [0, 3, 2, 1]
    colours = Orbit("colour").table
    assert not torch.equal(colours, colours.T)


@every_group
def test_an_orbit_turned_back_is_copies(name: Any) -> None:
    orbit, batch = Orbit(name), telltale()
    back = orbit.invert(whole(orbit, batch).tensor)
    assert torch.equal(back, batch.tensor.repeat_interleave(len(orbit), dim=0))


def test_params_say_which_rows_are_made_of_what() -> None:
    orbit, batch = Orbit(), telltale()
    some = OrbitParams(member=torch.tensor([2, 0, 3]), source=torch.tensor([48, 50, 48]))
    result = orbit.apply(batch, some)
    wanted = [batch.tensor[2].rot90(2, (1, 2)), batch.tensor[0], batch.tensor[2].rot90(3, (1, 2))]
    assert torch.equal(result.tensor, torch.stack(wanted))
    with pytest.raises(LookupError, match=r"partners \[7\] are not in the batch"):
        orbit.apply(batch, OrbitParams(torch.tensor([0]), torch.tensor([7])))


def test_versions_are_of_the_batch_and_not_of_what_partners_come_from() -> None:
    batch = telltale()
    pool = batch.replace(x=batch.tensor + 1000)
    result = whole(Orbit(), batch.replace(pool=pool))
    assert torch.equal(result.tensor, whole(Orbit(), batch).tensor)


def test_mixed_labels_keep_their_weights_and_what_comes_with_a_sample_goes_with_it() -> None:
    batch = telltale()
    assert isinstance(batch.target, ClassTarget)
    kept = torch.tensor([0.7, 0.2, 1.0])
    mixed = batch.replace(
        target=batch.target.mix(batch.target[torch.tensor([1, 2, 0])], kept),
        extras={"teacher": torch.arange(3.0)},
        epoch=4,
    )
    result = whole(Orbit(), mixed)
    assert isinstance(result.target, ClassTarget)
    assert result.target.weights is not None
    assert torch.equal(result.target.weights[:, 0], kept.repeat_interleave(4))
    assert torch.equal(result.extras["teacher"], torch.arange(3.0).repeat_interleave(4))
    assert result.epoch == 4


def test_images_that_do_not_fit_are_refused_by_their_shape() -> None:
    def refused(name: Any, shape: tuple[int, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            whole(Orbit(name), Batch.of(torch.zeros(shape)))

    refused("rotation", (2, 3, 4, 5), "quarter turns need square images, got 4 x 5: use half_turn")
    refused("colour", (2, 1, 4, 4), "colour permutations need three channels, got 1")
    refused("rotation", (2, 16), r"an orbit needs images \(B, C, H, W\), got \(2, 16\)")
    assert len(whole(Orbit("half_turn"), Batch.of(torch.zeros(2, 3, 4, 5)))) == 4
    with pytest.raises(ValueError, match="transformations must be one of identity, rotation"):
        Orbit("mirror")  # type: ignore[arg-type]


def pairs(labels: Tensor, members: int) -> list[tuple[int, int]]:
    return [divmod(label, members) for label in labels.flatten().tolist()]


@pytest.mark.parametrize("size", [1, 2, 4, 6, 24])
def test_joint_labels_are_pairs_of_class_and_member(size: int) -> None:
    classes = 5
    label, member = torch.cartesian_prod(torch.arange(classes), torch.arange(size)).unbind(1)
    joint = ClassTarget(label[:, None]).expand(member, size).labels
    assert joint[:, 0].tolist() == list(range(classes * size))
    assert pairs(joint, size) == list(zip(label.tolist(), member.tolist(), strict=True))


def test_joint_labels_of_a_mixture_are_as_much_of_each_class() -> None:
    mixture = ClassTarget(torch.tensor([[0, 2]]), torch.tensor([[0.3, 0.7]]))
    result = whole(Orbit(), Batch(x=torch.zeros(1, 3, 2, 2), target=mixture, index=torch.arange(1)))
    assert isinstance(result.target, ClassTarget)
    joint = result.target.expand(torch.arange(4), 4)
    assert joint.labels.tolist() == [[0 + at, 8 + at] for at in range(4)]
    assert joint.total().tolist() == pytest.approx([1.0] * 4)
