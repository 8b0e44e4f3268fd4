"""The value of an operation, with the gradient of something else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.straight_through import straight_through


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@given(
    value=st.lists(st.floats(-6e4, 6e4, width=16), min_size=1, max_size=5),
    magnitude=st.floats(-1e6, 1e6),
)
def test_the_value_is_the_operations_bit_for_bit(
    value: list[float], magnitude: float, dtype: torch.dtype
) -> None:
    given_one = torch.tensor([value], dtype=dtype)
    passed = straight_through(given_one, torch.tensor([magnitude], requires_grad=True))
    assert passed.dtype == dtype
    assert torch.equal(passed, given_one)


def test_every_element_has_a_gradient_of_one_to_its_own_rows_magnitude() -> None:
    value = torch.randn(4, 3, 5, 6, requires_grad=True)
    magnitude = torch.rand(4, requires_grad=True)
    outer = torch.randn(4, 3, 5, 6)
    (straight_through(value, magnitude) * outer).sum().backward()
    torch.testing.assert_close(magnitude.grad, outer.sum(dim=(1, 2, 3)))
    assert value.grad is None


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="must be floating"):
        straight_through(torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(2))
