"""The catalogue says what the cards say."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

import vicinal
from vicinal import cli
from vicinal.catalogue import as_table, select
from vicinal.core import registry
from vicinal.core.card import Card


def listed(*flags: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(cli.app, ["methods", "--format", "json", *flags])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def test_every_component_is_listed_with_its_facts() -> None:
    found = {(one["kind"], one["name"]): one for one in listed()}
    for component in registry.components():
        facts = found[component.card.kind, component.card.name]
        assert facts.keys() >= {"family", "modality", "systems", "parameters", "needs", "summary"}
        assert set(facts["parameters"]) == set(component.card.parameters)  # type: ignore[call-overload]


def test_parameters_come_with_their_ranges() -> None:
    (cutmix,) = [one for one in listed() if one["name"] == "cutmix"]
    assert cutmix["systems"] == ["cutmix", "openmixup", "openmixup-mixers"]
    alpha = cutmix["parameters"]["alpha"]  # type: ignore[index]
    assert alpha["type"] == "range"
    assert (alpha["default"], alpha["valid"], alpha["low"] < 1 < alpha["high"]) == (
        1.0,
        "(0, inf)",
        True,
    )


def test_the_first_methods_are_there() -> None:
    names = {one["name"] for one in listed()}
    assert names >= {
        "none",
        "bare",
        "mixup",
        "cutmix",
        "manifold_mixup",
        "cutout",
        "randaugment",
        "trivialaugment",
        "augmix",
        "label_smoothing",
    }


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--kind", "mixer"], "mixup"),
        (["--family", "paste"], "cutmix"),
        (["--modality", "series"], "cutmix"),
        (["yun 2019"], "cutmix"),
        (["LOCALIZABLE"], "cutmix"),
    ],
)
def test_filters_find_what_they_should(flags: list[str], name: str) -> None:
    assert name in {one["name"] for one in listed(*flags)}
    assert len(listed(*flags)) < len(listed())


def test_the_table_shows_every_name() -> None:
    result = CliRunner().invoke(cli.app, ["methods"], env={"COLUMNS": "200"})
    assert all(card.name in result.stdout for card in select())


def test_components_are_found_by_their_class_names() -> None:
    assert vicinal.CutMix().settings()["alpha"] == 1.0
    assert "CutMix" in dir(vicinal)
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = vicinal.NoSuchThing


def test_mixers_are_listed_with_what_they_need_and_cost() -> None:
    found = {(one["kind"], one["name"]) for one in listed("--family", "mixers")}
    assert found == {
        (one.card.kind, one.card.name) for one in registry.components() if one.card.mixes
    }
    assert {("mixer", "cutmix"), ("mixer", "snapmix"), ("method", "transmix")} < found
    assert ("method", "sla") not in found
    shown = CliRunner().invoke(cli.app, ["methods", "--family", "mixers"], env={"COLUMNS": "200"})
    assert "needs" in shown.stdout
    assert "cost" in shown.stdout
    assert "ICCV 2019" in shown.stdout


def test_mixers_that_ask_the_model_say_what_that_costs() -> None:
    for component in registry.components():
        if component.card.kind == "mixer" and component().probes:
            assert component.card.cost, f"{component.card.name} has a probe and no cost"


def test_a_table_of_a_few_shows_their_parameters() -> None:
    from rich.console import Console

    def shown(cards: Sequence[Card]) -> str:
        console = Console(width=140, record=True, file=io.StringIO())
        console.print(as_table(cards))
        return console.export_text()

    assert "alpha=1.0 in (0, inf)" in shown(select(search="cutmix", kind="mixer"))
    everything = shown(select())
    assert "in (0, inf)" not in everything
    assert "--format json" in everything
