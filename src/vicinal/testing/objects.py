"""The augmentation as an object: it is copied, pickled, rebuilt and described by its card."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from vicinal.core.card import Card, Parameter, Range
from vicinal.core.element_target import ElementTarget
from vicinal.testing import samples
from vicinal.testing.failure import Broken, expect, expect_same, given
from vicinal.testing.labels import KINDS, PLACED
from vicinal.testing.network import Network
from vicinal.testing.subject import Named, Subject


def pickles(subject: Subject) -> None:
    with given("the augmentation and its params, pickled and read back"):
        _expect_twin(subject, pickle.loads(pickle.dumps(subject.augmentation)))
        params = subject.params(subject.batch())
        expect_same(pickle.loads(pickle.dumps(params)), params, "the same params")


def deep_copies(subject: Subject) -> None:
    with given("a deep copy of the augmentation"):
        _expect_twin(subject, copy.deepcopy(subject.augmentation))


def settings_rebuild_it(subject: Subject) -> None:
    augmentation = subject.augmentation
    with given("type(augmentation)(**augmentation.settings())", expected="an equal augmentation"):
        settings = augmentation.settings()
        rebuilt = type(augmentation)(**settings)
        expect_same(rebuilt.settings(), settings, "the same settings")
        _expect_twin(subject, rebuilt)
        written = repr(augmentation)
        expect(repr(rebuilt) == written, written, repr(rebuilt))
        for name in settings:
            expect(f"{name}=" in written, f"{name} in the representation", written)


def _expect_twin(subject: Subject, twin: Any) -> None:
    expect_same(twin, subject.augmentation, "the same class with the same attributes")
    batch = subject.batch()
    other = replace(subject, augmentation=twin)
    params = other.params(batch)
    expect_same(params, subject.params(batch), "the same params")
    expect_same(other.apply(batch, params), subject.result(batch), "the same result")


def card_is_complete(subject: Subject) -> None:
    card = subject.card
    with given("its card"):
        expect(isinstance(card, Card), "a Card", f"a {type(card).__name__}")
        for name in ("summary", "family", "modality", "dtypes", "targets", "example"):
            expect(bool(getattr(card, name)), f"{name}", "nothing")
        for name in (*card.dtypes, *filter(None, [card.output_dtype])):
            known = isinstance(getattr(torch, name, None), torch.dtype)
            expect(known, "types as torch names them", repr(name))
        unknown = set(card.targets) - {*KINDS, *PLACED, ElementTarget.kind}
        expect(not unknown, f"targets among {', '.join((*KINDS, *PLACED))}", ", ".join(unknown))


def card_agrees_with_the_constructor(subject: Subject) -> None:
    arguments = inspect.signature(type(subject.augmentation)).parameters
    for name, parameter in subject.card.parameters.items():
        with given(f"parameter {name} of its card"):
            expect(name in arguments, f"an argument of the constructor named {name}", "none")
            default = arguments[name].default
            expect(parameter.default == default, f"the default, {default}", f"{parameter.default}")
            parameter.check(name, default)
            if isinstance(parameter, Range):
                low, high = parameter.low, parameter.high
                expect(low < high, "ends in order", f"{low} and {high}")
                parameter.check(name, int(low) if parameter.integer else low)
                parameter.check(name, int(high) if parameter.integer else high)
    for name, argument in arguments.items():
        if isinstance(argument.default, int | float | str):
            with given(f"argument {name} of the constructor"):
                expect(name in subject.card.parameters, "a parameter on the card", "none")


def values_out_of_range_are_refused(subject: Subject) -> None:
    """TypeError or ValueError, by the name of the argument, before anything is done."""
    for name, parameter in subject.card.parameters.items():
        for value in _outside(parameter):
            asked = f"a TypeError or ValueError that names {name}"
            with given(f"{name}={value!r}", expected=asked):
                settings = subject.augmentation.settings() | {name: value}
                try:
                    type(subject.augmentation)(**settings)
                except (TypeError, ValueError) as refusal:
                    expect(name in str(refusal), asked, str(refusal))
                else:
                    raise Broken(asked, "an augmentation")


def _outside(parameter: Parameter) -> Iterator[Any]:
    """Values that the card refuses."""
    tried: list[Any] = ["no such option", math.nan, math.inf, -math.inf]
    if isinstance(parameter, Range):
        tried += [parameter.low - 1, parameter.low + 0.5, parameter.high + 1]
    for value in tried:
        try:
            parameter.check("it", value)
        except (TypeError, ValueError):
            yield value


def example_runs(subject: Subject) -> None:
    """With `vicinal`, inputs `x`, labels `y` and a `model` at hand."""
    import vicinal

    batch = subject.batch()
    names = {
        "vicinal": vicinal,
        "torch": torch,
        "x": batch.x,
        "y": torch.arange(len(batch)) % samples.CLASSES,
        "target": batch.target,
        "batch": batch,
        "draws": subject.draws(batch),
        "model": Network.of(batch),
        type(subject.augmentation).__name__: type(subject.augmentation),
    }
    state = torch.get_rng_state()  # an example may well draw from torch's global generator
    try:
        with given(subject.card.example, expected="an example that runs"):
            exec(subject.card.example, names)
    finally:
        torch.set_rng_state(state)


def checks(subject: Subject) -> Iterator[Named]:
    """All of them, for every augmentation."""
    for check in (
        card_is_complete,
        card_agrees_with_the_constructor,
        values_out_of_range_are_refused,
        settings_rebuild_it,
        pickles,
        deep_copies,
    ):
        yield check.__name__, check
    if subject.batches is None:
        yield example_runs.__name__, example_runs
