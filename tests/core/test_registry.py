"""Declaring a card registers a class."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import vicinal
from vicinal import Augmentation, Batch, Card, Draws, Transform
from vicinal.core import registry
from vicinal.core.errors import InputError


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[str, str], type[Any]]]:
    """A registry of its own, as if everything had been loaded."""
    components: dict[tuple[str, str], type[Any]] = {}
    monkeypatch.setattr(registry, "_COMPONENTS", components)
    monkeypatch.setattr(registry, "load", lambda: None)
    return components


def declare(name: str, kind: Any = "transform", qualname: str = "") -> type[Augmentation]:
    """A new class with a card."""
    body = {
        "card": Card(name=name, kind=kind, family="made up", modality=("any",), summary="None."),
        "sample": lambda self, batch, draws: None,
        "apply": lambda self, batch, params: batch,
        "__qualname__": qualname or name.title(),
        "__module__": __name__,
    }
    return type(name.title(), (Transform,), body)


def test_a_class_with_a_card_is_found_by_its_name(empty: Any) -> None:
    blur, crop = declare("blur"), declare("crop", "policy")
    assert registry.find("blur", kinds=("transform",)) is blur
    assert registry.exported("Crop") is crop
    assert registry.exported("Cropp") is None
    assert list(registry.components()) == [crop, blur]  # by kind, then name
    assert list(registry.components("transform")) == [blur]


def test_a_subclass_without_a_card_of_its_own_is_not_registered(empty: Any) -> None:
    class Same(declare("blur")):  # type: ignore[misc]
        pass

    assert len(empty) == 1
    assert Same.card.name == "blur"


def test_a_name_is_taken_once_in_a_kind(empty: Any) -> None:
    declare("blur", qualname="First")
    declare("blur", "policy", qualname="Second")
    with pytest.raises(ValueError, match=r"the transform 'blur' is already registered by .*First"):
        declare("blur", qualname="Third")


def test_a_reloaded_class_takes_its_own_place(empty: Any) -> None:
    declare("blur")
    again = declare("blur")
    assert registry.find("blur", kinds=("transform",)) is again


def test_the_first_kind_asked_for_is_preferred(empty: Any) -> None:
    transform, policy = declare("mix"), declare("mix", "policy", qualname="Other")
    assert registry.find("mix", kinds=("policy", "transform")) is policy
    assert registry.find("mix", kinds=("transform", "policy")) is transform
    assert registry.find("mix", kinds=("method", "transform")) is transform


def test_an_unknown_name_is_answered_with_the_nearest_of_its_kinds(empty: Any) -> None:
    declare("blur"), declare("blues", "method")
    with pytest.raises(InputError, match=r"unknown transform 'blr': did you mean blur\?$"):
        registry.find("blr", kinds=("transform",))


def test_components_are_found_under_the_packages_own_name() -> None:
    from vicinal.mixers.paste import CutMix

    assert vicinal.CutMix is CutMix
    assert {"CutMix", "Mixup", "Batch", "Target"} <= set(dir(vicinal))
    with pytest.raises(AttributeError, match="module 'vicinal' has no attribute 'CutMixx'"):
        _ = vicinal.CutMixx


def test_importing_the_package_loads_no_component_and_no_heavy_library() -> None:
    heavy = "timm torchvision datasets matplotlib scipy sklearn pandas statsmodels pyarrow"
    code = (
        "import sys, vicinal\n"
        f"heavy = [name for name in '{heavy}'.split() if name in sys.modules]\n"
        "assert not heavy, heavy\n"
        "assert 'vicinal.mixers.paste' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_abstract_parts_must_be_there() -> None:
    class HalfDone(Transform):
        def sample(self, batch: Batch, draws: Draws) -> Any:
            return None

    with pytest.raises(TypeError, match=r"abstract method '?apply"):
        HalfDone()  # type: ignore[abstract]
