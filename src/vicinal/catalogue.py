"""The catalogue of components, read from their cards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vicinal.core import registry
from vicinal.core.card import Card, Options, Parameter, Range
from vicinal.core.errors import InputError, nearest

if TYPE_CHECKING:
    from rich.table import Table

#: Of data that can be compared on; components for any data suit them too.
MODALITIES = {"image", "points", "tabular"}
#: The family of all that mixes samples, whatever its own.
MIXERS = "mixers"
#: What a mixer costs whose card says nothing: to mix is little beside a step.
NO_COST = "no extra pass"
#: Cards up to which a table shows parameters.
FEW = 3


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
        family: likewise; `mixers` are all mixers, and the methods that train on mixed samples.
        modality: likewise; cards that suit any data are found too.

    Raises:
        InputError: there is no such kind, family or modality, or no card fits.
    """
    cards: list[Card] = [component.card for component in registry.components()]
    _known("kind", kind, {card.kind for card in cards})
    _known("family", family, {card.family for card in cards} | {MIXERS})
    _known("modality", modality, {name for card in cards for name in card.modality} | MODALITIES)
    words = (search or "").lower().split()
    found = [
        card
        for card in cards
        if (kind is None or card.kind == kind)
        and (family is None or card.family == family or (family == MIXERS and card.mixes))
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
    """The cards for a terminal; those of a few with their parameters."""
    from rich.table import Table
    from rich.text import Text

    few = len(cards) <= FEW
    caption = None if few else "parameters: name one of them, or --format json"
    table = Table(pad_edge=False, caption=caption)
    # What a mixer works on says little beside what it asks of the model, and what that takes.
    mixers = all(card.mixes for card in cards)
    where = ["needs", "cost"] if mixers else ["works on"]
    headings = ["name", "kind", *where, "what it does", "source"]
    if few:
        headings.insert(-1, "parameters")
    for heading in headings:
        width = 16 if heading == "works on" else None
        table.add_column(heading, no_wrap=heading in ("name", "kind"), max_width=width)
    for card in cards:
        paper = card.paper
        sides = (
            [", ".join(card.needs), card.cost or NO_COST] if mixers else [", ".join(card.modality)]
        )
        cells = [Text(card.name, style="bold"), card.kind, *sides, Text(card.summary)]
        if few:
            told = (_parameter(name, one) for name, one in card.parameters.items())
            cells.append(Text("\n".join(told)))
        cells.append("" if paper is None else f"{paper.venue} {paper.year}")
        table.add_row(*cells)
    return table


def _parameter(name: str, parameter: Parameter) -> str:
    if isinstance(parameter, Range):
        return f"{name}={parameter.default} in {parameter.valid}"
    return f"{name}={parameter.default} ({_valid(parameter)})"


def _valid(parameter: Parameter) -> str:
    """What a parameter accepts, in a few words."""
    if isinstance(parameter, Range):
        return parameter.valid
    if isinstance(parameter, Options):
        return ", ".join(map(str, parameter.values))
    return "a path"


def as_markdown(cards: Sequence[Card]) -> str:
    """The cards as a page, a section for each."""
    sections = ["# Catalogue", *(_section(card) for card in cards)]
    return "\n\n".join(sections) + "\n"


def _section(card: Card) -> str:
    lines = [
        f"## {card.name}",
        f"*{card.kind}, {card.family}, works on {', '.join(card.modality)}*",
    ]
    lines.append(card.summary)
    if card.paper is not None:
        paper = card.paper
        link = f" [arXiv](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else ""
        lines.append(f"{paper.authors}: *{paper.title}*. {paper.venue} {paper.year}.{link}")
    if card.parameters:
        rows = ["| parameter | default | valid | meaning |", "| --- | --- | --- | --- |"]
        for name, one in card.parameters.items():
            rows.append(f"| `{name}` | {one.default} | {_valid(one)} | {one.meaning} |")
        lines.append("\n".join(rows))
    if card.result is not None:
        result = card.result
        note = f" ({result.note})" if result.note else ""
        lines.append(
            f"Published: {result.task}, {result.metric} {result.baseline} → {result.value}{note}."
        )
    if card.agrees:
        lines.append(
            f"Agrees {card.agrees}."
            if card.agrees.startswith("with")
            else f"Agreement: {card.agrees}."
        )
    if card.differs:
        lines.append(
            "Differs from the authors' code:\n\n" + "\n".join(f"- {d}" for d in card.differs)
        )
    if card.needs:
        lines.append(f"Needs {', '.join(card.needs)}.")
    if card.cost:
        lines.append(f"Costs {card.cost}.")
    if card.example:
        lines.append(f"```python\n{card.example_with({})}\n```")
    return "\n\n".join(lines)
