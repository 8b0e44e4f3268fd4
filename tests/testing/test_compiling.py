"""Declaring that `apply` compiles is held against the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal import Augmentation, Batch, Draws, Params
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.testing import Check, ContractError, checks_for
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip


class WaitsForTheHost(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        if params.kept.sum().item() < 0:
            return batch
        return super().apply(batch, params)


@dataclass(frozen=True)
class NumberedParams(Params):
    flipped: Tensor
    number: str


class CompilesForOneDraw(HorizontalFlip):
    """What was drawn is a constant of the program, so that every draw would be compiled anew."""

    def sample(self, batch: Batch, draws: Draws) -> Any:
        number = draws.shared().below("number", 1 << 30)[0]
        return NumberedParams(draws.bernoulli("flipped", self.prob), str(int(number)))

    def apply(self, batch: Batch, params: Any) -> Batch:
        x = batch.tensor + 0 * int(params.number)
        return super().apply(batch.replace(x=x), FlipParams(params.flipped))


class DiffersWhenCompiled(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        return mixed.replace(x=mixed.tensor + int(torch.compiler.is_compiling()))


def compile_check(augmentation: Augmentation) -> Check:
    (found,) = (check for check in checks_for(augmentation) if check.name == "apply_compiles")
    return found


def test_a_component_in_order_compiles() -> None:
    compile_check(Mixup())()


def test_waiting_for_the_host_is_a_graph_break() -> None:
    with pytest.raises(ContractError, match="one graph without a break"):
        compile_check(WaitsForTheHost())()


def test_a_program_for_every_draw_is_found() -> None:
    with pytest.raises(ContractError, match=r"one graph without a break(.|\n)*recompile"):
        compile_check(CompilesForOneDraw())()


def test_another_result_when_compiled_is_found() -> None:
    with pytest.raises(ContractError, match="what apply gives without compiling"):
        compile_check(DiffersWhenCompiled())()
