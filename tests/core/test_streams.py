from __future__ import annotations

import pytest

from vicinal.core.method import Phase, Stream


def test_a_stream_of_no_known_part_is_refused() -> None:
    with pytest.raises(ValueError, match="one of train, held_out, unlabelled, got 'test'"):
        Stream("test")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan")])
def test_a_batch_must_have_a_size(size: float) -> None:
    with pytest.raises(ValueError, match="relative_size must be positive, got"):
        Stream(relative_size=size)


def test_a_batch_of_the_past_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead must not be negative, got -1"):
        Stream(ahead=-1)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_phase_is_a_share_of_the_whole(share: float) -> None:
    with pytest.raises(ValueError, match="share must be in"):
        Phase(share=share)
