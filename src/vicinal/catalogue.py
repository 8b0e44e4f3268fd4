"""The catalogue of components, read from their cards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vicinal.core import registry
from vicinal.core.card import Card, Options, Range
from vicinal.core.errors import InputError, nearest

if TYPE_CHECKING:
    from rich.table import Table


def select(
    *,
    search: str | None = None,
    kind: str | None = None,
    family: str | None = None,
    modality: str | None = None,
) -> list[Card]:
    """The cards that fit, by kind and name.

    Args:
        search: words that must all be in the card's texts, whatever their case.
        kind: exactly this; None for all.
        family: likewise.
        modality: likewise; cards that suit any data are found too.

    Raises:
        InputError: there is no such kind, family or modality, or no card fits.
    """
    cards: list[Card] = [component.card for component in registry.components()]
    _known("kind", kind, {card.kind for card in cards})
    _known("family", family, {card.family for card in cards})
    _known("modality", modality, {name for card in cards for name in card.modality})
    words = (search or "").lower().split()
    found = [
        card
        for card in cards
        if (kind is None or card.kind == kind)
        and (family is None or card.family == family)
        and (modality is None or card.suits(modality))
        and all(word in _texts(card) for word in words)
    ]
    if not found:
        raise InputError(f"no component fits {search!r}: try fewer words, or none to list all")
    return found


def _known(name: str, value: str | None, known: set[str]) -> None:
    if value is not None and value not in known:
        raise InputError(f"unknown --{name} {value!r}: {nearest(value, known)}")


def _texts(card: Card) -> str:
    paper = card.paper
    parts = [card.name, card.kind, card.family, card.summary, *card.modality, *card.systems]
    if paper is not None:
        parts += [paper.title, paper.authors, paper.venue, str(paper.year)]
    return " ".join(parts).lower()


def as_json(cards: Sequence[Card]) -> str:
    """The cards as a JSON list."""
    return json.dumps([_facts(card) for card in cards], indent=2)


def _facts(card: Card) -> dict[str, Any]:
    facts = dataclasses.asdict(card)
    facts["parameters"] = {
        name: {"type": type(parameter).__name__.lower()} | dataclasses.asdict(parameter)
        for name, parameter in card.parameters.items()
    }
    return facts


def as_table(cards: Sequence[Card]) -> Table:
    """The cards for a terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(pad_edge=False)
    for heading in ("name", "kind", "works on", "what it does", "parameters", "source"):
        table.add_column(heading, no_wrap=heading in ("name", "kind"))
    for card in cards:
        paper = card.paper
        table.add_row(
            Text(card.name, style="bold"),
            card.kind,
            ", ".join(card.modality),
            Text(card.summary),
            Text("\n".join(_parameter(name, one) for name, one in card.parameters.items())),
            "" if paper is None else f"{paper.venue} {paper.year}",
        )
    return table


def _parameter(name: str, parameter: Range | Options) -> str:
    if isinstance(parameter, Options):
        return f"{name}={parameter.default} ({', '.join(map(str, parameter.values))})"
    return f"{name}={parameter.default} in {parameter.valid}"
