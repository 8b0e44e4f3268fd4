"""Augmentations that are something else in a worker are found out."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info

from vicinal import Augmentation, Batch
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.testing import Check, ContractError, checks_for
from vicinal.testing.workers import augmented_in_workers


class MindsTheWorker(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        info = get_worker_info()
        mixed = super().apply(batch, params)
        return mixed if info is None else mixed.replace(x=mixed.tensor + info.id + 1)


class CrashesInWorkers(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        if get_worker_info() is not None:
            raise RuntimeError("no display in a worker")
        return super().apply(batch, params)


def workers_check(augmentation: Augmentation, context: str) -> Check:
    name = f"works_in_workers_by_{context}"
    (found,) = (check for check in checks_for(augmentation) if check.name == name)
    return found


def test_a_component_in_order_works_in_workers() -> None:
    workers_check(Mixup(), "fork")()


def test_another_result_in_a_worker_is_found() -> None:
    with pytest.raises(ContractError, match="what the main process gives"):
        workers_check(MindsTheWorker(), "fork")()


def test_a_crash_in_a_worker_is_found() -> None:
    with pytest.raises(ContractError, match="no display in a worker"):
        workers_check(CrashesInWorkers(), "fork")()


FORGETFUL = '''
from vicinal.mixers.interpolate import Mixup

CALLED = []

class Forgetful(Mixup):
    """Leaves something behind in the process that made it."""

    def __init__(self, alpha: float = 1.0, *, scope: str = "sample") -> None:
        super().__init__(alpha, scope=scope)
        CALLED.append(1)

    def apply(self, batch, params):
        mixed = super().apply(batch, params)
        return mixed.replace(x=mixed.tensor * len(CALLED))
'''


def test_what_a_spawned_worker_does_not_know_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a module of its own, which a spawned process can import; it inherits the path.
    (tmp_path / "forgetful_component.py").write_text(FORGETFUL)
    monkeypatch.syspath_prepend(tmp_path)
    component: Any = importlib.import_module("forgetful_component").Forgetful
    try:
        workers_check(component(), "fork")()
        with pytest.raises(ContractError, match="what the main process gives"):
            workers_check(component(), "spawn")()
    finally:
        sys.modules.pop("forgetful_component")


def test_workers_leave_the_global_generator_alone() -> None:
    batch = Batch.of(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    before = torch.get_rng_state()
    augmented_in_workers([(Mixup(), batch)], "fork")
    assert torch.equal(torch.get_rng_state(), before)
