"""A user's own code is found in a package or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicinal.core import registry
from vicinal.core.errors import InputError
from vicinal.core.modules import importable, module_at

COMPONENT = """
from vicinal.core.augmentation import Mixer
from vicinal.core.card import Card

class Nothing(Mixer):
    card = Card(name="{name}", kind="mixer", family="none", modality=("any",), summary="Nothing.")
"""


def test_a_file_is_run_once_and_again_where_it_changed(tmp_path: Path) -> None:
    place = tmp_path / "mine.py"
    place.write_text("value = object()")
    first = module_at(str(place))
    assert module_at(str(place)) is first
    place.write_text("value = object()  # changed")
    assert module_at(str(place)) is not first
    assert importable(first.__name__) == "mine"
    assert importable("package.module") == "package.module"


def test_a_package_is_imported_by_its_name() -> None:
    import json.decoder

    assert module_at("json.decoder") is json.decoder


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        (COMPONENT.format(name="cutmix"), "'cutmix' is already registered"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(
    tmp_path: Path, content: str | None, message: str
) -> None:
    place = tmp_path / "mine.py"
    if content is not None:
        place.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        registry.load_from([str(place)])
    assert str(caught.value).startswith(f"--components {place}")
    assert "\n" not in str(caught.value)


def test_components_of_a_package_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="--components no_such_package raised ModuleNotFoundError"):
        registry.load_from(["no_such_package"])
