"""Augmentations that learn from the training rows are checked fitted, and their fitting is, too."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from typing_extensions import Self

from vicinal import Batch, Draws, RegressionTarget
from vicinal.mixers.interpolate import Mixup, MixupParams, Scope
from vicinal.mixers.label_kernel import LabelKernel
from vicinal.testing import checks_for
from vicinal.testing.failure import Broken
from vicinal.testing.fitting import fitting_gives_another_that_is_fitted
from vicinal.testing.subject import Subject
from vicinal.testing.workers import works_in_workers


class Close(Mixup):
    """Mixes samples with close labels, from all rows."""

    def __init__(self, alpha: float = 1.0, *, scope: Scope = "sample") -> None:
        super().__init__(alpha, scope=scope, pairing=LabelKernel())


Close.card = replace(
    Mixup.card,
    modality=("tabular",),
    needs=("labels",),
    targets=("regression",),
    example="vicinal.Batch.of(x)",
)


class NeverFitted(Close):
    def fit(self, data: Batch) -> Self:
        fitted = super().fit(data)
        fitted.unfitted = True
        return fitted


class FitsItself(Close):
    def fit(self, data: Batch) -> Self:
        fitted = super().fit(data)
        self.pairing, self.unfitted = fitted.pairing, False
        return self


class FitsByChance(Close):
    def fit(self, data: Batch) -> Self:
        fitted = copy.copy(super().fit(data))
        fitted.alpha = 1.0 + float(torch.rand(()))
        return fitted


class GuessesUnfitted(Close):
    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return (self.fit(batch) if self.unfitted else super()).sample(batch, draws)


@pytest.fixture(autouse=True, scope="module")
def _own_random_state() -> Any:
    with torch.random.fork_rng():
        yield


def test_one_that_is_fitted_first_keeps_the_contract(broken: Any) -> None:
    assert broken(Close()) == set()
    names = [check.name for check in checks_for(Close(), slow=False)]
    assert "fitting_gives_another_that_is_fitted" in names
    assert not any("fitt" in check.name for check in checks_for(Mixup(), slow=False))


@pytest.mark.parametrize("culprit", [FitsItself, FitsByChance, NeverFitted])
def test_faults_of_fitting_are_found(culprit: type[Close]) -> None:
    with pytest.raises(Broken):
        fitting_gives_another_that_is_fitted(Subject(culprit(), "tabular"))


def test_sampling_without_having_been_fitted_is_found(broken: Any) -> None:
    assert broken(GuessesUnfitted()) == {"sampling_before_fitting_is_refused"}


def test_workers_get_it_fitted() -> None:
    (check,) = [one for one in checks_for(Close()) if one.name == "works_in_workers_by_fork"]
    works_in_workers(check.subject, context="fork")


def test_it_is_fitted_to_the_pool_of_a_batch() -> None:
    (subject,) = {check.subject for check in checks_for(Close(), slow=False)}
    whole = Batch.of(torch.zeros(9, 6), RegressionTarget(torch.zeros(9)))
    some = whole[torch.tensor([1, 2])]
    partners = {int(row) for seed in range(50) for row in subject.params(some, seed).partner}
    assert partners == set(range(9))
