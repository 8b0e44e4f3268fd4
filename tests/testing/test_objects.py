"""Augmentations that cannot be copied or rebuilt, or are not what the card says, are found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vicinal.core.card import Options, Range
from vicinal.transforms.image.flip import HorizontalFlip


class HoldsAFunction(HorizontalFlip):
    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.strength = lambda: prob


class CopiesItsDefaults(HorizontalFlip):
    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItsDefaults:
        return type(self)()


class ForgetsInPickles(HorizontalFlip):
    def __getstate__(self) -> dict[str, Any]:
        return {"prob": 1.0}


class StoresTheComplement(HorizontalFlip):
    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.prob = 1 - prob


class StoresUnderAnotherName(HorizontalFlip):
    def __init__(self, prob: float = 0.5, *, axis: int = -1) -> None:
        super().__init__(prob)
        self.dimension = axis


class ShowsNothing(HorizontalFlip):
    def __repr__(self) -> str:
        return "HorizontalFlip"


class TakesAnything(HorizontalFlip):
    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob


class RefusesWithoutAName(HorizontalFlip):
    def __init__(self, prob: float = 0.5) -> None:
        if not (isinstance(prob, float | int) and 0 <= prob <= 1):
            raise ValueError("out of range")
        self.prob = prob


class MoreThanTheCard(HorizontalFlip):
    def __init__(self, prob: float = 0.5, *, axis: int = -1) -> None:
        super().__init__(prob)
        self.axis = axis


class Flip(HorizontalFlip):
    def __init__(self, prob: float = 0.5) -> None:
        HorizontalFlip.card.check(prob=prob)
        self.prob = prob


@pytest.fixture
def carded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., HorizontalFlip]:
    """Gives a flip with some entries of its card changed."""

    def make(**changes: Any) -> HorizontalFlip:
        monkeypatch.setattr(Flip, "card", replace(HorizontalFlip.card, **changes), raising=False)
        return Flip()

    return make


def test_what_cannot_be_pickled_is_found(broken: Any) -> None:
    assert "pickles" in broken(HoldsAFunction())


def test_a_pickle_that_forgets_settings_is_found(broken: Any) -> None:
    assert "pickles" in broken(ForgetsInPickles(0.25))


def test_a_copy_with_other_settings_is_found(broken: Any) -> None:
    assert broken(CopiesItsDefaults(0.25)) == {"deep_copies"}


def test_settings_that_do_not_rebuild_the_object_are_found(broken: Any) -> None:
    assert "settings_rebuild_it" in broken(StoresTheComplement(0.25))
    assert "settings_rebuild_it" in broken(ShowsNothing())


def test_an_argument_that_is_not_kept_under_its_name_is_found() -> None:
    from vicinal.testing import ContractError, checks_for

    # Its representation cannot be made either, so that the class has to do as its name.
    checks = {check.name: check for check in checks_for(StoresUnderAnotherName(), slow=False)}
    with pytest.raises(ContractError, match=r"StoresUnderAnotherName(.|\n)*no attribute 'axis'"):
        checks["settings_rebuild_it"]()


@pytest.mark.parametrize(
    "missing",
    [
        {"summary": ""},
        {"example": ""},
        {"family": ""},
        {"dtypes": ("float31",)},
        {"targets": ("box",)},
    ],
)
def test_an_incomplete_card_is_found(broken: Any, carded: Any, missing: dict[str, Any]) -> None:
    assert "card_is_complete" in broken(carded(**missing))


@pytest.mark.parametrize(
    "parameters",
    [
        {"prob": Range(0, 1, default=0.25, valid="[0, 1]")},
        {"prob": Range(0, 2, default=0.5, valid="[0, 1]")},
        {"prob": Range(1, 0, default=0.5, valid="[0, 1]")},
        {"prob": Options(("never", "always"), "never")},
        {"probability": Range(0, 1, default=0.5)},
        {},
    ],
)
def test_a_card_that_departs_from_the_constructor_is_found(
    broken: Any, carded: Any, parameters: dict[str, Any]
) -> None:
    assert "card_agrees_with_the_constructor" in broken(carded(parameters=parameters))


def test_an_argument_that_is_not_on_the_card_is_found(broken: Any) -> None:
    assert broken(MoreThanTheCard()) == {"card_agrees_with_the_constructor"}


@pytest.mark.parametrize("component", [TakesAnything, RefusesWithoutAName])
def test_values_out_of_range_must_be_refused_by_name(
    broken: Any, component: type[HorizontalFlip]
) -> None:
    assert broken(component()) == {"values_out_of_range_are_refused"}


def test_an_example_that_does_not_run_is_found(broken: Any, carded: Any) -> None:
    assert broken(carded(example="x = vicinal.HorizontalFlips()(x)")) == {"example_runs"}


def test_examples_may_draw_and_train(broken: Any, carded: Any) -> None:
    example = "x, target = Flip()(x, y); target.loss(model(x)).backward(); torch.rand(1)"
    assert "example_runs" not in broken(carded(example=example))
