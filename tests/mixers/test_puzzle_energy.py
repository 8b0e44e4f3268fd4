from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from vicinal.mixers.grid_cut import GridEnergy, cut
from vicinal.mixers.puzzle_energy import puzzle_energy

GOLDEN = load_file(Path(__file__).parent / "golden" / "puzzle_mix_authors.safetensors")


def of_cells(saliency: Tensor, side: int) -> Tensor:
    pooled = F.adaptive_avg_pool2d(saliency[:, None], side)[:, 0]
    return pooled / pooled.sum(dim=(1, 2), keepdim=True)


def energy_of(
    x: Tensor, saliency: Tensor, share: Tensor, *, beta: float = 1.2, gamma: float = 0.5
) -> GridEnergy:
    """Each image with the next one."""
    own = torch.arange(len(x))
    return puzzle_energy(
        x, saliency, (own, own.roll(-1)), share, beta=beta, gamma=gamma, eta=0.2, neighbourhood=4
    )


@pytest.mark.parametrize("side", [2, 4, 8])
def test_costs_are_the_authors(side: int) -> None:
    # snu-mllab/PuzzleMix at e2dbf3a: what mixup_graph hands to graphcut_multi, whose rounding to
    # integers is left out.
    stored = {name[2:]: value for name, value in GOLDEN.items() if name.startswith(f"{side}.")}
    energy = puzzle_energy(
        stored["x"],
        of_cells(stored["saliency"], side),
        (torch.arange(6), stored["partner"]),
        stored["prior"],
        beta=1.2,
        gamma=0.5 * 0.22,
        eta=0.2,
        neighbourhood=4,
    )
    for name in ("slope", "down", "across"):
        found = getattr(energy, name).permute(2, 0, 1)
        torch.testing.assert_close(found, stored[name], atol=1e-6, rtol=1e-5)


def test_the_prior_is_binomial() -> None:
    share = torch.tensor([0.2, 0.5, 0.9])
    energy = energy_of(torch.zeros(3, 1, 8, 8), torch.full((3, 2, 2), 0.25), share, beta=0)
    log = torch.stack([(1 - share) ** 2, 2 * share * (1 - share), share**2]).log()
    expected = -0.2 / 4 * (log - log[0]) * 4  # over four cells, against showing the partner
    found = [energy.at(torch.full((2, 2, 3), z)) for z in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(torch.stack(found), expected)


def test_pixels_that_do_not_fit_make_a_border_dear() -> None:
    # Between images of one brightness a border is as dear as beta says; against another one dearer.
    x = torch.tensor([0.3, 0.3, 0.9])[:, None, None, None].expand(-1, 3, 8, 8)
    own, partner = torch.tensor([0, 0]), torch.tensor([1, 2])
    energy = puzzle_energy(
        x,
        torch.full((3, 2, 2), 0.25),
        (own, partner),
        torch.tensor([0.5, 0.5]),
        beta=1.6,
        gamma=0.5,
        eta=0.2,
        neighbourhood=4,
    )
    plain = 1.6 / 2 / 16
    torch.testing.assert_close(energy.down[..., 0], torch.full((1, 2), plain))
    torch.testing.assert_close(energy.across[..., 1], torch.full((2, 1), plain * 1.3))


def test_couplings_are_never_negative() -> None:
    x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    energy = energy_of(x, torch.full((6, 8, 8), 1 / 64), torch.full((6,), 0.5), gamma=100)
    assert energy.down.min() == 0
    assert energy.across.min() == 0
    assert energy.down.max() > 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_prior_without_doubt_is_finite_and_shows_one_image(share: float) -> None:
    draw = torch.Generator().manual_seed(0)
    saliency = torch.rand(4, 4, 4, generator=draw) + 1
    saliency = saliency / saliency.sum(dim=(1, 2), keepdim=True)
    x = torch.rand(4, 3, 16, 16, generator=draw)
    z = cut(energy_of(x, saliency, torch.full((4,), share)))
    torch.testing.assert_close(z, torch.full_like(z, share))


def test_neighbourhoods_that_do_not_divide_a_cell_shrink() -> None:
    x = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    saliency = torch.full((2, 4, 4), 1 / 16)  # cells of 7 pixels
    one = torch.tensor([0]), torch.tensor([1])
    share = torch.tensor([0.5])
    four, seven, single = (
        puzzle_energy(
            x, saliency, one, share, beta=1.2, gamma=0.5, eta=0.2, neighbourhood=pixels
        ).down
        for pixels in (4, 7, 1)
    )
    torch.testing.assert_close(four, single)
    assert not torch.allclose(seven, single)
