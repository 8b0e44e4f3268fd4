"""Holes are filled from what is around them, and from nothing else."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.data.parts.fill import filled


@given(seed=st.integers(0, 10_000), height=st.integers(1, 20), width=st.integers(1, 20))
def test_what_was_in_the_hole_leaves_no_trace_and_all_else_stays(
    seed: int, height: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (3, 2, height, width), generator=generator, dtype=torch.uint8)
    holes = torch.rand(3, height, width, generator=generator) < 0.5
    other = torch.where(holes[:, None], 255 - images, images)
    found = filled(images, holes)
    assert torch.equal(found, filled(other, holes))
    outside = ~holes[:, None].expand_as(images)
    assert torch.equal(found[outside], images[outside])
    # A mean of what is known is never beyond its ends.
    for row in range(3):
        known = images[row][:, ~holes[row]]
        if known.numel():
            assert (found[row].amax(dim=(1, 2)) <= known.amax(dim=1)).all()
            assert (found[row].amin(dim=(1, 2)) >= known.amin(dim=1)).all()


def test_an_even_ground_is_filled_evenly_and_no_ground_is_grey() -> None:
    images = torch.full((2, 3, 17, 12), 90, dtype=torch.uint8)
    images[:, :, 4:12, 3:9] = 250
    holes = torch.zeros(2, 17, 12, dtype=torch.bool)
    holes[0, 4:12, 3:9] = True
    holes[1] = True
    found = filled(images, holes)
    assert (found[0] == 90).all()
    assert (found[1] == 128).all()


def test_a_ramp_goes_on_through_the_hole() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).mul(3).expand(1, 1, 64, 64).clone()
    holes = torch.zeros(1, 64, 64, dtype=torch.bool)
    holes[:, 24:40, 24:40] = True
    found = filled(ramp, holes)
    assert (found.int() - ramp.int())[holes[:, None]].abs().float().mean() < 12
