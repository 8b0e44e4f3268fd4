"""Every registered method keeps the contract: a new one is covered as it is."""

from __future__ import annotations

import pytest

from vicinal.core import registry
from vicinal.testing import MethodCheck, checks_for_method

METHODS = [
    component
    for component in registry.components("method")
    if component.__module__.startswith("vicinal.")
]
CHECKS = [check for component in METHODS for check in checks_for_method(component())]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_method(check: MethodCheck) -> None:
    check()


def test_there_are_methods() -> None:
    assert len(METHODS) >= 5
