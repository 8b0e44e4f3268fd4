"""What is raised where a component breaks the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vicinal.testing.comparison import difference


class ContractError(AssertionError):
    """A component does not keep the contract of augmentations.

    component: its representation, settings and all.
    check: the name of the check that it fails.
    given: the input it was given.
    expected: what the contract asks for.
    found: what came instead.
    """

    def __init__(self, component: str, check: str, given: str, expected: str, found: str) -> None:
        super().__init__(component, check, given, expected, found)
        self.component = component
        self.check = check
        self.given = given
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return (
            f"{self.component} fails {self.check}\n"
            f"  given:    {self.given}\n"
            f"  expected: {self.expected}\n"
            f"  found:    {self.found}"
        )


class Broken(Exception):
    """What a check found, before it is known which check it was and of what."""

    def __init__(self, expected: str, found: str, *, given: str = "") -> None:
        super().__init__(expected, found)
        self.given = given
        self.expected = expected
        self.found = found


@contextmanager
def given(what: str, *, expected: str = "a result") -> Iterator[None]:
    """Name the input: whatever goes wrong inside is reported with it.

    Args:
        what: the input; where one stands inside another, the inner is reported.
        expected: what should come of it, where an error comes instead.
    """
    try:
        yield
    except Broken as broken:
        broken.given = broken.given or what
        raise
    except Exception as error:
        raise Broken(expected, f"{type(error).__name__}: {error}", given=what) from error


def expect(condition: bool, expected: str, found: str) -> None:
    """Report what was found unless the condition holds."""
    if not condition:
        raise Broken(expected, found)


def expect_same(found: Any, wanted: Any, expected: str, *, atol: float = 0.0) -> None:
    """Report the first difference between two values, if there is one.

    Args:
        found: what came.
        wanted: what it is compared with.
        expected: in words.
        atol: by how much floating point numbers may differ.
    """
    told = difference(found, wanted, atol=atol)
    expect(not told, expected, told)
