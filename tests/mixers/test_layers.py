"""Layers that are moved and put on one another."""

from __future__ import annotations

import torch

from vicinal.mixers.layers import composed, visible, warped

QUARTER = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])


def test_four_quarter_turns_are_nothing_and_one_is_exact() -> None:
    layers = torch.rand(2, 1, 4, 9, 9)
    turned = warped(layers, QUARTER.expand(2, 1, 2, 3), mode="nearest")
    assert torch.equal(turned, layers.rot90(1, (3, 4))) or torch.equal(
        turned, layers.rot90(-1, (3, 4))
    )
    for _ in range(3):
        turned = warped(turned, QUARTER.expand(2, 1, 2, 3), mode="nearest")
    assert torch.equal(turned, layers)


def test_opacity_stays_between_nothing_and_all_and_white_on_white_is_white() -> None:
    generator = torch.Generator().manual_seed(0)
    opacity = torch.rand(20, 1, 1, 16, 16, generator=generator)
    opacity[..., :3, :] = 0
    # What is transparent is black underneath: straight colours would bleed it in.
    colour = torch.where(opacity > 0, 255.0, 0.0).expand(-1, -1, 3, -1, -1)
    affine = torch.randn(20, 1, 2, 3, generator=generator)
    layers = warped(torch.cat([colour * opacity, opacity], dim=2), affine)
    assert layers[:, :, -1].amin() >= 0
    assert layers[:, :, -1].amax() <= 1 + 1e-6
    x, _ = composed(layers, torch.full((20, 3, 16, 16), 255.0))
    torch.testing.assert_close(x, torch.full_like(x, 255.0), atol=1e-3, rtol=0)


def test_what_is_seen_of_all_layers_and_the_background_is_all_there_is() -> None:
    opacity = torch.rand(5, 3, 4, 6)
    seen = visible(opacity)
    through = (1 - opacity).prod(dim=1)
    torch.testing.assert_close(seen.sum(dim=1) + through, torch.ones(5, 4, 6))
    assert torch.equal(seen[:, -1], opacity[:, -1])  # nothing is in front of the last
