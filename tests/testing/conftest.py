"""What tests of the checker share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vicinal import Augmentation
from vicinal.testing import ContractError, checks_for

Broken = Callable[[Augmentation], set[str]]


@pytest.fixture(scope="session")
def broken() -> Broken:
    """The names of the checks that an augmentation fails, but for the slow ones."""

    def names(augmentation: Augmentation) -> set[str]:
        found = set()
        for check in checks_for(augmentation, slow=False):
            try:
                check()
            except ContractError as error:
                found.add(error.check)
        return found

    return names
