"""What parameters accept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal import Card
from vicinal.core.card import FilePath, Options, Range

CARD = Card(
    name="made_up",
    kind="mixer",
    family="paste",
    modality=("image", "series"),
    summary="Does nothing.",
    parameters={
        "alpha": Range(0.1, 4.0, default=1.0, valid="(0, inf)"),
        "scope": Options(("sample", "batch"), "sample"),
    },
)


@pytest.mark.parametrize(
    "valid, inside, outside",
    [
        ("(0, 1)", [0.001, 0.5, 0.999], [0, 1, -1, 2]),
        ("[0, 1]", [0, 0.5, 1], [-1e-9, 1 + 1e-9]),
        ("[0, 1)", [0, 0.999], [1, -0.1]),
        ("(0, 1]", [1, 0.001], [0, 1.1]),
        ("(0, inf)", [1e-30, 1e30], [0, math.inf, -1]),
        ("[2, inf]", [2, math.inf], [1.9]),
        ("(-inf, inf)", [-1e300, 0, 1e300], [math.inf, -math.inf]),
    ],
)
def test_an_interval_includes_its_ends_or_not(
    valid: str, inside: list[float], outside: list[float]
) -> None:
    parameter = Range(0, 1, default=0.5, valid=valid)
    for value in inside:
        parameter.check("alpha", value)
    for value in [*outside, math.nan]:
        with pytest.raises(ValueError, match="alpha must be in") as refused:
            parameter.check("alpha", value)
        assert valid in str(refused.value)
        assert repr(value) in str(refused.value)


@pytest.mark.parametrize("value", ["1", None, [1.0], True])
def test_what_is_no_number_is_refused_by_type(value: Any) -> None:
    with pytest.raises(TypeError, match="alpha must be a number, got"):
        Range(0, 1, default=0.5).check("alpha", value)


def test_none_is_accepted_where_the_component_chooses() -> None:
    Range(0, 1, default=None).check("padding", None)


@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, -math.inf])
def test_whole_numbers_are_asked_for_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="count must be a whole number, got"):
        Range(1, 9, default=2, integer=True).check("count", value)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    Range(1, 9, default=2, integer=True).check("count", 3.0)


def test_an_interval_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'0 to 1' is not an interval"):
        Range(0, 1, default=0.5, valid="0 to 1").check("alpha", 0.5)


@given(value=st.floats(allow_nan=False))
def test_a_number_is_read_as_it_is_written(value: float) -> None:
    assert Range(0, 1, default=0.5).parse(repr(value)) == value


def test_whole_numbers_are_read_as_such() -> None:
    count = Range(1, 9, default=2, integer=True)
    assert count.parse("3") == 3
    assert isinstance(count.parse("3"), int)
    assert count.parse("2.5") == 2.5  # which check refuses
    for text in ("inf", "nan"):
        with pytest.raises(ValueError, match="count must be a whole number"):
            count.check("count", count.parse(text))


def test_none_is_read_only_where_the_component_chooses() -> None:
    assert Range(0, 1, default=None).parse("None") is None
    with pytest.raises(ValueError, match="none"):
        Range(0, 1, default=0.5).parse("none")


def test_options_are_accepted_by_value() -> None:
    scope = Options(("sample", "batch"), "sample")
    scope.check("scope", "batch")
    with pytest.raises(ValueError, match="scope must be one of sample, batch, got 'group'"):
        scope.check("scope", "group")
    assert scope.parse("batch") == "batch"


def test_true_and_false_are_read_and_are_not_one_and_zero() -> None:
    switch = Options((True, False), False)
    assert switch.parse("true") is True
    assert switch.parse("False") is False
    switch.check("switch", True)
    for value in ("yes", "true", 2, 1, 0.0):
        with pytest.raises(ValueError, match="switch must be one of True, False"):
            switch.check("switch", value)


def test_a_card_checks_all_arguments() -> None:
    CARD.check(alpha=0.5, scope="batch")
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\), got 0"):
        CARD.check(alpha=0, scope="batch")
    with pytest.raises(ValueError, match="scope must be one of"):
        CARD.check(alpha=1, scope="all")


@pytest.mark.parametrize("name", ["CutMix", "cut-mix", "", "2mix", "cut mix"])
def test_names_can_be_typed_on_the_command_line(name: str) -> None:
    with pytest.raises(ValueError, match="lower case with underscores"):
        Card(name=name, kind="mixer", family="paste", modality=("any",), summary="")


def test_a_card_suits_its_modalities_and_any_suits_all() -> None:
    assert CARD.suits("image")
    assert not CARD.suits("tabular")
    everywhere = Card(name="a", kind="mixer", family="b", modality=("any",), summary="")
    assert everywhere.suits("tabular")


def test_a_path_is_taken_as_it_is_written() -> None:
    path = FilePath()
    assert path.parse("runs/Store") == "runs/Store"
    path.check("store", "anywhere")
    path.check("store", None)
    for value in ("", 3, True):
        with pytest.raises(TypeError, match="store must be a path"):
            path.check("store", value)


def test_what_lies_at_a_path_decides_its_fingerprint(tmp_path: Path) -> None:
    def fingerprint() -> str:
        return FilePath().fingerprint(str(tmp_path / "store"))

    assert fingerprint() == FilePath().fingerprint(None) == ""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").write_text("1")
    first = fingerprint()
    (tmp_path / "store" / ".half written").write_text("2")
    assert fingerprint() == first
    (tmp_path / "store" / "a").write_text("2")
    second = fingerprint()
    (tmp_path / "store" / "a").rename(tmp_path / "store" / "b")
    assert len({first, second, fingerprint()}) == 3
