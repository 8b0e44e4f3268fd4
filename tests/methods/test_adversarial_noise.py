from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vicinal.core.draws import Draws
from vicinal.methods.adversarial_noise import AdversarialNoise

RADIUS = 8.0


def levels(count: int = 400) -> Tensor:
    """Images with black, white and all between."""
    shape = (count, 2, 4, 4)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()


def noise_of(images: Tensor, share: float = 0.3, *, shared: bool = False) -> AdversarialNoise:
    draws = Draws(0, torch.arange(len(images)))
    common = draws.shared() if shared else draws
    return AdversarialNoise.drawn(images, draws, common=common, share=share, radius=RADIUS)


def test_noise_starts_anywhere_in_its_radius_and_never_outside_of_what_an_image_can_be() -> None:
    images = levels()
    noise = noise_of(images)
    assert (noise.start.abs() <= RADIUS).all()
    begun = images + noise.start
    assert begun.amin() >= 0
    assert begun.amax() <= 255
    inside = ((images > RADIUS) & (images < 255 - RADIUS))[noise.own]
    # Uniform on a width of 2 radius has the variance radius^2 / 3.
    assert noise.start[noise.own][inside].var() == pytest.approx(RADIUS**2 / 3, rel=0.05)


def test_only_those_that_get_noise_are_moved_before_their_gradient_is_taken() -> None:
    noise = noise_of(levels())
    moved = noise.start.flatten(1).abs().amax(dim=1) > 0
    assert torch.equal(moved, noise.own | noise.partner)
    for place in (noise.own, noise.partner):
        assert place.float().mean() == pytest.approx(0.3, abs=0.07)
    assert (noise.own & noise.partner).float().mean() == pytest.approx(0.09, abs=0.045)


def test_noise_goes_up_the_gradient_by_the_radius_times_its_strength() -> None:
    images = torch.full((50, 2, 4, 4), 128.0)
    noise = noise_of(images, share=1.0)
    gradient = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    found = noise.added(images, gradient) - images
    # Two levels further than the radius, so that all but those far down on the wrong side reach it.
    full = noise.start * gradient.sign() > -2
    expected = RADIUS * gradient.sign() * noise.strength[:, None, None, None]
    torch.testing.assert_close(found[full], expected[full], atol=1e-4, rtol=0)
    assert (found.abs() <= RADIUS * noise.strength[:, None, None, None] + 1e-4).all()
    assert noise.strength.std() == pytest.approx(12**-0.5, rel=0.2)


def test_noise_cannot_make_white_whiter() -> None:
    images = torch.full((20, 1, 2, 2), 255.0)
    noise = noise_of(images, share=1.0)
    assert torch.equal(noise.added(images, torch.ones_like(images)), images)


def test_a_batch_that_shares_its_draws_is_noisy_as_a_whole() -> None:
    noise = noise_of(levels(), share=0.5, shared=True)
    for one in (noise.own, noise.partner, noise.strength):
        assert len(one.unique()) == 1
    # What each of its images starts with is still its own.
    begun = noise_of(levels(), share=1.0, shared=True)
    assert begun.start.unique().numel() > 1000
