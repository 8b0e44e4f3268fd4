"""What counts as the same, and what is said of a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from vicinal import Batch, ClassTarget, Target
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.testing.comparison import difference

BATCH = Batch.of(torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 2]))


@dataclass
class Setting:
    name: str
    values: tuple[int, ...]


class Holder:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize(
    "found, wanted",
    [
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan])),
        (math.nan, math.nan),
        (BATCH, BATCH.map(torch.clone)),
        (BATCH, BATCH.replace(pool=BATCH)),
        (Setting("a", (1, 2)), Setting("a", (1, 2))),
        (Holder(a={"b": [1, torch.ones(2)]}), Holder(a={"b": [1, torch.ones(2)]})),
        (Mixup(0.5), Mixup(0.5)),
        ([Mixup(0.5)], [Mixup(0.5)]),
        (math.sqrt, math.sqrt),
    ],
)
def test_the_same(found: Any, wanted: Any) -> None:
    assert difference(found, wanted) == ""


@pytest.mark.parametrize(
    "found, wanted, told",
    [
        (torch.zeros(2), torch.zeros(2).double(), "a tensor is torch.float32, not torch.float64"),
        (torch.zeros(2), torch.zeros(3), "a tensor has shape (2,), not (3,)"),
        (torch.zeros(2), torch.tensor([0.0, 0.5]), "differs in 1 of 2 numbers, by up to 0.5"),
        (torch.tensor([math.nan]), torch.zeros(1), "differs in 1 of 1 numbers, by up to inf"),
        (torch.tensor([0, 250], dtype=torch.uint8), torch.tensor([4, 250]).byte(), "by up to 4"),
        (torch.zeros(2), torch.zeros(2, device="meta"), "a tensor is on cpu, not meta"),
        (torch.zeros(2), [0.0, 0.0], "it is a Tensor, not a list"),
        ({"a": 1}, {"b": 1}, "it has ['a'], not ['b']"),
        ([1, 2], [1, 3], "1 is 2, not 3"),
        ([1], [1, 1], "it has 1 parts, not 2"),
        ("ab", "ac", "it is 'ab', not 'ac'"),
        (BATCH, BATCH.replace(x=BATCH.tensor + 1), "x differs in 6 of 6 numbers"),
        (BATCH, BATCH.replace(index=BATCH.index + 1), "index differs"),
        (BATCH, BATCH.replace(target=Target.of(torch.tensor([0, 1, 1]))), "target.labels differs"),
        (BATCH, BATCH.replace(target=None), "target is a ClassTarget, not a NoneType"),
        (Setting("a", (1, 2)), Setting("a", (1, 3)), "Setting(name='a'"),
        (Holder(a={"b": [1]}), Holder(a={"b": [2]}), "a.b.0 is 1, not 2"),
        (Mixup(0.5), Mixup(1.0), "alpha is 0.5, not 1.0"),
        (math.sqrt, math.cos, "sqrt"),
        (
            MixupParams(torch.arange(2), torch.ones(2)),
            MixupParams(torch.arange(2), torch.zeros(2)),
            "kept differs in 2 of 2 numbers, by up to 1",
        ),
        (
            ClassTarget(torch.zeros(2, 1).long()),
            ClassTarget(torch.zeros(2, 1).long(), torch.ones(2, 1)),
            "weights is a NoneType, not a Tensor",
        ),
    ],
)
def test_the_first_difference_is_told(found: Any, wanted: Any, told: str) -> None:
    assert told in difference(found, wanted)


def test_floats_may_differ_by_the_tolerance_and_whole_numbers_may_not() -> None:
    assert difference(torch.tensor([1.0]), torch.tensor([1.01]), atol=0.02) == ""
    assert difference(torch.tensor([1.0]), torch.tensor([1.03]), atol=0.02) != ""
    assert difference(torch.tensor([1]), torch.tensor([2]), atol=5) != ""
