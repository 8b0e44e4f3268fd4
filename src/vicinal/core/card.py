"""The catalogue entry of a component, which is also its registration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["transform", "policy", "mixer", "method"]
DTypes = tuple[str, ...]

_INTERVAL = re.compile(r"([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])")


@dataclass(frozen=True)
class Range:
    """A number that a component takes.

    low, high: where it is worth trying: the ends of a slider or of a search.
    default: its value if none is given; None where the component chooses for itself.
    scale: how the values between the ends are spread.
    meaning: what it is, with its unit and what its ends do.
    valid: what is accepted at all, as an interval: "(0, inf)".
    integer: only whole numbers.
    """

    low: float
    high: float
    default: float | None
    scale: Literal["linear", "log"] = "linear"
    meaning: str = ""
    valid: str = "(-inf, inf)"
    integer: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise TypeError or ValueError, in one line, unless the value is accepted."""
        if value is None and self.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if self.integer and not float(value).is_integer():  # nor are NaN and infinity whole
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        matched = _INTERVAL.fullmatch(self.valid)
        if matched is None:
            raise ValueError(f"{self.valid!r} is not an interval such as '(0, inf)'")
        left, low, high, right = matched.groups()
        above = value >= float(low) if left == "[" else value > float(low)
        below = value <= float(high) if right == "]" else value < float(high)
        if not (above and below):  # NaN is neither
            raise ValueError(f"{name} must be in {self.valid}, got {value!r}")

    def parse(self, text: str) -> float | int | None:
        """The value written in a text. Raises ValueError if there is none."""
        if text.lower() == "none" and self.default is None:
            return None
        number = float(text)
        return int(number) if self.integer and number.is_integer() else number


@dataclass(frozen=True)
class Options:
    """One of a few values that a component takes: names, or true and false."""

    values: tuple[str | bool, ...]
    default: str | bool
    meaning: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, in one line, unless the value is one of them."""
        # By type too: 1 equals True.
        if not any(type(value) is type(known) and value == known for known in self.values):
            known = ", ".join(map(str, self.values))
            raise ValueError(f"{name} must be one of {known}, got {value!r}")

    def parse(self, text: str) -> str | bool:
        """The value written in a text, which `check` may still refuse."""
        return {"true": True, "false": False}.get(text.lower(), text)


@dataclass(frozen=True)
class FilePath:
    """A file or folder that a component reads. What lies there decides its results.

    A path with a comma or a colon cannot be typed as the parameter of an arm.
    """

    default: str | None = None
    meaning: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise TypeError, in one line, unless the value is a path; whether it is there is open."""
        if value is None and self.default is None:
            return
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} must be a path, got {value!r}")

    def parse(self, text: str) -> str:
        """The path written in a text."""
        return text

    def fingerprint(self, value: str | None) -> str:
        """A hash of all that lies at the path, hidden files apart; empty where nothing does."""
        root = Path("" if value is None else value)
        if value is None or not root.exists():
            return ""
        digest = hashlib.sha256()
        for file in [root] if root.is_file() else sorted(root.rglob("[!.]*")):
            if file.is_file():
                content = hashlib.sha256(file.read_bytes()).digest()
                digest.update(str(file.relative_to(root)).encode() + content)
        return digest.hexdigest()


Parameter = Range | Options | FilePath


@dataclass(frozen=True)
class Paper:
    """Where a component comes from."""

    title: str
    venue: str
    year: int
    arxiv: str = ""
    authors: str = ""


@dataclass(frozen=True)
class Result:
    """A headline result of the paper, as published."""

    task: str
    metric: str
    baseline: float
    value: float
    note: str = ""


@dataclass(frozen=True)
class Card:
    """What there is to know about a component without running it.

    name: as typed on the command line; one of its kind.
    kind: what it is.
    modality: what it works on: image, series, volume, tabular, ..., or any.
    summary: one line, in a user's words.
    family: the group it is listed in.
    systems: the sheets it serves.
    paper: its source, or None where it is common property.
    parameters: of the constructor, by name.
    needs: what must be there: labels, saliency, a held-out part, ...
    targets: the kinds of target it can carry.
    labels: what it does to them.
    keeps_weight: the weights of a row's labels still sum to what they did.
    keeps_meaning: the augmented sample would still be given its label(s) by a person.
    leaks: what it could carry from one sample to another, or from held-out data; empty if nothing.
    result: headline result.
    agrees: what of it was held against the authors' code, and how exactly; or why nothing was.
    differs: distance to the authors' code, a line each.
    example: code that runs, once `example_with` has put parameters into it: `{settings}` stands for
        those that are given, `{alpha}` for the value of one.
    dtypes: of x that `apply` takes, and returns unless `output_dtype` says otherwise.
    output_dtype: the type of the result, where it is not the input's.
    differentiable: gradients flow from the result to the input.
    compiles: `torch.compile(apply, fullgraph=True)` works.
    stage: the inputs it is meant for: `raw` as the dataset has them (uint8 images), or `prepared`
        for the model (standardised floats).
    shapes: of a sample that it takes, by modality, where it does not take any: square images, say.
    cost: what it adds to a step of plain training, in a few words.
    controls: arms that would unmask it, as typed on the command line: with them it shares all but
        its idea, so that it has to do better than they do, not only than nothing.
    """

    name: str
    kind: Kind
    modality: tuple[str, ...]
    summary: str
    family: str
    systems: tuple[str, ...] = ()
    paper: Paper | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("classes", "soft", "multilabel", "regression")
    labels: Literal["kept", "mixed", "smoothed"] = "kept"
    keeps_weight: bool = True
    keeps_meaning: bool = True
    leaks: str = ""
    result: Result | None = None
    agrees: str = ""
    differs: tuple[str, ...] = ()
    example: str = ""
    dtypes: DTypes = ("float32",)
    output_dtype: str = ""
    differentiable: bool = False
    compiles: bool = False
    stage: Literal["raw", "prepared"] = "raw"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cost: str = ""
    controls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"a card's name must be lower case with underscores, got {self.name!r}"
            )

    def check(self, **values: Any) -> None:
        """Hold a constructor's arguments against the parameters, in one line where one is refused.

        Raises:
            TypeError: a value is of the wrong type.
            ValueError: a value is out of range.
        """
        for name, value in values.items():
            self.parameters[name].check(name, value)

    def example_with(self, given: Mapping[str, Any]) -> str:
        """The example with parameters put in; those that are not given at their defaults."""
        settings = ", ".join(f"{name}={value!r}" for name, value in sorted(given.items()))
        code = self.example.replace("{settings}", settings)
        for name, parameter in self.parameters.items():
            code = code.replace(f"{{{name}}}", repr(given.get(name, parameter.default)))
        return code

    @property
    def mixes(self) -> bool:
        """Whether it is a mixer, or a method that trains on mixed samples."""
        return self.kind == "mixer" or (self.kind == "method" and self.labels == "mixed")

    def suits(self, modality: str) -> bool:
        """Whether it works on data of a modality."""
        return "any" in self.modality or modality in self.modality
