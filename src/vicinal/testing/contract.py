"""The contract of augmentations as one function, and as a list of checks for a test runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vicinal.core.augmentation import Augmentation
from vicinal.core.card import Card, Options, Range
from vicinal.testing import (
    compiling,
    dtypes,
    fitting,
    labels,
    objects,
    purity,
    rows,
    tensors,
    workers,
)
from vicinal.testing.failure import Broken, ContractError, given
from vicinal.testing.samples import modalities
from vicinal.testing.subject import Batches, Subject

#: What the object itself must be able to do, and what it must do with samples of each modality.
ON_OBJECTS = (objects,)
ON_SAMPLES = (fitting, purity, tensors, dtypes, rows, labels)
SLOW = (compiling, workers)


@dataclass(frozen=True)
class Check:
    """One clause of the contract, bound to an augmentation. Call it: it raises ContractError.

    name: of the clause.
    slow: it compiles or starts processes, and takes seconds.
    """

    subject: Subject
    name: str
    test: Callable[[Subject], None]
    slow: bool = False

    def __call__(self) -> None:
        """Raise ContractError unless the augmentation keeps the clause."""
        try:
            with given("a batch"):
                self.test(self.subject)
        except Broken as broken:
            raise ContractError(
                component=_written(self.subject.augmentation),
                check=self.name,
                given=broken.given,
                expected=broken.expected,
                found=broken.found,
            ) from broken.__cause__

    def __str__(self) -> str:
        return f"{self.subject}-{self.name}"


def checks_for(
    augmentation: Augmentation, *, batches: Batches | None = None, slow: bool = True
) -> list[Check]:
    """The checks that an augmentation must pass, as its card says what it is.

    For `pytest.mark.parametrize("check", checks_for(Mine()), ids=str)`.

    Args:
        augmentation: any instance.
        batches: a function that gives a batch with the number of samples asked for, always the
            same ones; at least seven must be possible. By default the library makes samples of each
            modality on the card.
        slow: with those that compile or start processes.

    Raises:
        TypeError: the augmentation has no card.
        ValueError: there are no samples of its modalities, and no batches are given.
    """
    card = getattr(augmentation, "card", None)
    if not isinstance(card, Card):
        raise TypeError(f"{type(augmentation).__name__} needs a card: it says what to check")
    subjects = [Subject(augmentation, batches=batches)]
    if batches is None:
        subjects = [Subject(augmentation, modality) for modality in modalities(card)]
    if not subjects:
        raise ValueError(
            f"there are no samples of {', '.join(card.modality)}: pass batches, a function that "
            "gives a batch of the size asked for"
        )
    first = subjects[0]
    checks = [Check(first, *named) for part in ON_OBJECTS for named in part.checks(first)]
    for subject in subjects:
        checks += [Check(subject, *named) for part in ON_SAMPLES for named in part.checks(subject)]
    if slow:
        checks += [
            Check(first, name, test, slow=True)
            for part in SLOW
            for name, test in part.checks(first)
        ]
    return checks


def _written(augmentation: Augmentation) -> str:
    """Its representation, or the name of its class if there is none to be had."""
    try:
        return repr(augmentation)
    except Exception:
        return type(augmentation).__name__


def check_augmentation(
    augmentation: Augmentation, *, batches: Batches | None = None, slow: bool = True
) -> None:
    """Hold an augmentation, built in or your own, to the contract.

    Same params give the same result; the input, the augmentation and the global random states are
    left as they are; types, device, memory format and the mass of labels are kept; sizes and
    layouts do not matter, nor does the order of the samples; params are rows that are picked,
    joined, stored and replayed; the object pickles, copies, and is what its card says. One that has
    to be fitted is, to the samples that it is tried on.

    Args:
        augmentation: any instance.
        batches: a function that gives a batch with the number of samples asked for, always the
            same ones; at least seven must be possible. By default the library makes samples of each
            modality on the card.
        slow: also compile it, if the card declares that, and run it in forked and spawned workers,
            which takes some ten seconds. Spawned workers import the class, so that it must not be
            of a notebook; a script needs the usual `if __name__ == "__main__"`.

    Raises:
        ContractError: a clause is broken; it names the component, the check, what was given, what
            was expected and what was found.
        TypeError: the augmentation has no card.
        ValueError: there are no samples of its modalities, and no batches are given.
    """
    for check in checks_for(augmentation, batches=batches, slow=slow):
        check()


def variants(component: type[Augmentation]) -> Iterator[Augmentation]:
    """The component as it comes, and with each parameter of its card at its ends or other options.

    Args:
        component: a class whose constructor needs no arguments.
    """
    yield component()
    for name, parameter in component.card.parameters.items():
        values: list[Any] = []
        if isinstance(parameter, Options):
            values = list(parameter.values)
        elif isinstance(parameter, Range):
            values = [int(v) if parameter.integer else v for v in (parameter.low, parameter.high)]
        for value in values:
            if value != parameter.default:
                yield component(**{name: value})
