from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers.joint_cut import JointEnergy, assign, descend, gather, restricted

# snu-mllab/Co-Mixup at 2a76816: twelve parts of twenty, solved by get_onehot_matrix with the
# settings of its README and gco-wrapper 3.0.9; A is the identity.
GOLDEN = load_file(Path(__file__).parent / "golden" / "co_mixup_authors.safetensors")


def golden_energy() -> JointEnergy:
    cost = GOLDEN["cost"].transpose(1, 2).contiguous()
    alike = torch.eye(20).expand(12, -1, -1)
    return JointEnergy(cost, alike, beta=0.32 / 16, gamma=1 / 16, threshold=0.83 * 16)


def random_energy(
    *, images: int = 5, side: int = 2, parts: int = 3, seed: int = 0, gamma: float = 0.1
) -> JointEnergy:
    draw = torch.Generator().manual_seed(seed)
    cells = side * side
    return JointEnergy(
        cost=-torch.rand(parts, cells, images, generator=draw) / cells,
        compatibility=torch.eye(images)
        + 0.1 * torch.rand(parts, images, images, generator=draw).triu(1),
        beta=0.05,
        gamma=gamma,
        threshold=0.8 * cells,
    )


def random_shares(energy: JointEnergy, seed: int = 0) -> Tensor:
    parts, cells, images = energy.cost.shape
    draw = torch.Generator().manual_seed(seed)
    shown = torch.randint(images, (parts, images, cells), generator=draw)
    return torch.nn.functional.one_hot(shown, images).float()


def objective_in_loops(energy: JointEnergy, z: Tensor) -> Tensor:
    parts, images, cells, inputs = z.shape
    side = energy.side
    total = torch.zeros(parts)
    for part, image in itertools.product(range(parts), range(images)):
        total[part] += (z[part, image] * energy.cost[part]).sum()
        for a, b in itertools.combinations(range(cells), 2):
            if abs(a // side - b // side) + abs(a % side - b % side) == 1:
                difference = z[part, image, a] - z[part, image, b]
                total[part] += energy.beta / 2 * difference.square().sum()
        others = sum(z[part, other].sum(0) for other in range(images) if other != image)
        for one in range(inputs):
            use = (energy.compatibility[part, one] * others).sum()
            if use > energy.threshold:
                total[part] += energy.gamma * use * z[part, image, :, one].sum()
    return total


def test_the_objective_is_that_of_plain_loops() -> None:
    energy = random_energy()
    z = random_shares(energy)
    z = (z + z.roll(1, dims=3)) / 2
    torch.testing.assert_close(energy.at(z), objective_in_loops(energy, z))


def test_the_objective_is_the_authors() -> None:
    energy = golden_energy()
    start = torch.nn.functional.one_hot(GOLDEN["start"], 20).float()
    torch.testing.assert_close(energy.at(start), GOLDEN["objective_start"], atol=1e-3, rtol=1e-5)
    theirs = GOLDEN["z"].float() / 2  # of the first four parts
    few = replace(energy, cost=energy.cost[:4], compatibility=energy.compatibility[:4])
    torch.testing.assert_close(few.at(theirs), GOLDEN["objective"][:4], atol=1e-3, rtol=1e-5)


def test_what_is_found_is_better_than_what_the_authors_find() -> None:
    energy = golden_energy()
    z = assign(energy, GOLDEN["start"])
    assert energy.at(z).mean() <= GOLDEN["objective"].mean()
    # Without a threshold too, which is what their search watches.
    free = replace(energy, threshold=0.0)
    assert free.at(z).mean() <= GOLDEN["objective_free"].mean()


@given(seed=st.integers(0, 2**31), gamma=st.sampled_from([0.0, 0.02, 0.1, 1.0]))
def test_the_objective_never_rises_on_the_way_down(seed: int, gamma: float) -> None:
    energy = random_energy(seed=seed, gamma=gamma)
    z = random_shares(energy, seed)
    for _ in range(3):
        lower = descend(energy, z)
        assert (energy.at(lower) <= energy.at(z) + 1e-5).all()
        z = lower


def test_without_crowding_gathering_lowers_the_objective_to_the_least() -> None:
    # Enumerated: two inputs, four cells, whole and half shares.
    energy = random_energy(images=2, parts=4, gamma=0.0, seed=3)
    z = assign(energy, torch.zeros(4, 2, 4, dtype=torch.long), rounds=4, descents=2)
    shares = torch.tensor(list(itertools.product((0, 0.5, 1), repeat=4)))
    every = torch.stack([shares, 1 - shares], dim=2)  # (81, 4, 2)
    for part in range(4):
        alone = JointEnergy(energy.cost[[part]], torch.eye(2)[None], energy.beta, 0.0, 0.0)
        costs = torch.stack([alone.at(one[None, None]) for one in every])
        torch.testing.assert_close(alone.at(z[[part]])[0], 2 * costs.amin())


def test_shares_are_halves_or_wholes_and_sum_to_one() -> None:
    z = assign(golden_energy(), GOLDEN["start"])
    assert set(z.unique().tolist()) == {0.0, 0.5, 1.0}
    torch.testing.assert_close(z.sum(dim=3), torch.ones(12, 20, 16))


def test_few_inputs_make_an_image() -> None:
    inputs = (assign(golden_energy(), GOLDEN["start"]).sum(dim=2) > 0).sum(dim=2)
    assert ((inputs >= 1) & (inputs <= 4)).float().mean() > 0.9


def test_a_dear_crowd_is_spread_over_all_inputs() -> None:
    energy = golden_energy()
    # Two inputs are far more salient than all others.
    cost = energy.cost.clone()
    cost[:, :, :2] *= 8
    spread = []
    for gamma in (0.0, 1 / 16):
        dear = JointEnergy(cost, energy.compatibility, energy.beta, gamma, energy.threshold)
        z = assign(dear, GOLDEN["start"])
        spread.append(z.sum(dim=(1, 2)).std(dim=1).mean())
    assert spread[0] > 30
    assert spread[1] < 5


def test_parts_do_not_depend_on_each_other() -> None:
    energy = golden_energy()
    one = JointEnergy(
        energy.cost[[2]], energy.compatibility[[2]], energy.beta, energy.gamma, energy.threshold
    )
    both = assign(energy, GOLDEN["start"])
    torch.testing.assert_close(assign(one, GOLDEN["start"][[2]])[0], both[2])


def test_restricting_keeps_the_inputs_shown_most_and_touches_no_other_image() -> None:
    energy = golden_energy()
    z = assign(energy, GOLDEN["start"])
    few = restricted(energy, z, 2)
    count = z.sum(dim=2)
    fine = (count > 0).sum(dim=2) <= 2
    assert fine.any()
    assert not fine.all()
    torch.testing.assert_close(few[fine], z[fine])
    assert ((few.sum(dim=2) > 0).sum(dim=2) <= 2).all()
    torch.testing.assert_close(few.sum(dim=3), torch.ones(12, 20, 16))
    allowed = count >= count.topk(2).values[..., 1:]
    assert not (few.sum(dim=2) > 0)[~allowed].any()
    torch.testing.assert_close(restricted(energy, z, 20), z)


@pytest.mark.parametrize("halves", [False, True])
def test_a_cell_shows_two_inputs_only_where_it_may(halves: bool) -> None:
    z = gather(
        golden_energy(), torch.nn.functional.one_hot(GOLDEN["start"], 20).float(), halves=halves
    )
    assert (z == 0.5).any() == halves
