"""Inputs that are no numbers any more."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, Draws, Mixup
from vicinal.core.finite import need_finite
from vicinal.core.ragged import Ragged


def images(rows: int = 4) -> torch.Tensor:
    return torch.rand(rows, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_rows_are_told_by_their_number_in_the_dataset_with_how_many_values() -> None:
    x = images()
    x[1, :, 0, 0] = torch.nan
    x[3, 0, 1, 1] = -torch.inf
    batch = Batch(x, None, torch.tensor([20, 21, 22, 23]))
    with pytest.raises(ValueError, match=r"not finite: 3 of row 21, 1 of row 23$"):
        need_finite(batch)
    need_finite(batch[torch.tensor([0, 2])])


def test_only_a_few_of_many_rows_are_named() -> None:
    with pytest.raises(ValueError, match=r"48 of row 4, and some of 3 more$"):
        need_finite(Batch.of(torch.full((8, 3, 4, 4), torch.nan)))


def test_whole_numbers_are_finite() -> None:
    need_finite(Batch.of(torch.zeros(2, 3, dtype=torch.uint8)))


def test_values_of_all_parts_and_elements_count() -> None:
    rows = [torch.zeros(2, 3), torch.zeros(0, 3), torch.zeros(1, 3)]
    position = Ragged.of(rows)
    position.values[2, 0] = torch.inf
    x = {"position": position, "size": torch.tensor([0.0, torch.nan, 1.0])}
    with pytest.raises(ValueError, match=r"1 of row 1, 1 of row 2$"):
        need_finite(Batch.of(x))


def test_a_call_looks_only_where_it_is_asked_to() -> None:
    x = images()
    mixed = Mixup()(x, check_finite=True)
    assert mixed.isfinite().all()
    x[2, 1, 2, 3] = torch.nan
    draws = Draws(0, torch.arange(4))
    assert Mixup()(x, draws=draws).isnan().any()
    with pytest.raises(ValueError, match="1 of row 2"):
        Mixup()(x, draws=draws, check_finite=True)
    with pytest.raises(ValueError, match="1 of row 2"):
        Mixup()(Batch.of(x), draws=draws, check_finite=True)
