from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vicinal.core.errors import InputError
from vicinal.models.factory import build_from_factory, factory_fingerprint

CODE = """
from functools import partial
from torch import nn

class Net(nn.Sequential):
    pass

def both(input_shape, outputs):
    return Net(nn.Linear(*input_shape, outputs))

def keywords(**settings):
    return Net(nn.Linear(*settings["input_shape"], settings["outputs"]))

def classes_only(num_classes, depth=1):
    return Net(nn.Linear(3, num_classes))

def shape_only(*, input_shape):
    return Net(nn.Linear(*input_shape, 2))

small = partial(classes_only, depth=1)

def nothing():
    return Net()

def fails(outputs):
    raise RuntimeError("no room\\nand more")

def number(outputs):
    return outputs

word = "net"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize("factory", ["both", "keywords", "classes_only", "shape_only", "small"])
def test_a_factory_is_given_what_it_names(file: Path, factory: str) -> None:
    model = build_from_factory(f"{file}:{factory}", input_shape=(3,), outputs=2)
    assert model(torch.zeros(5, 3)).shape == (5, 2)


def test_a_class_of_an_installed_package_is_a_factory() -> None:
    model = build_from_factory("torch.nn:LazyLinear", input_shape=(3,), outputs=2)
    assert isinstance(model, nn.LazyLinear)


def test_a_package_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_of_mine").mkdir()
    (tmp_path / "nets_of_mine" / "flat.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = build_from_factory("nets_of_mine.flat:both", input_shape=(4,), outputs=3)
    assert model[0].weight.shape == (3, 4)  # type: ignore[index]


def test_a_file_is_run_once_and_its_models_can_be_pickled(file: Path) -> None:
    first, second = (
        build_from_factory(f"{file}:both", input_shape=(3,), outputs=2) for _ in range(2)
    )
    assert type(first) is type(second)
    twin = pickle.loads(pickle.dumps(first))
    assert torch.equal(twin[0].weight, first[0].weight)  # type: ignore[index]


def test_a_file_that_changed_is_run_again(file: Path) -> None:
    build_from_factory(f"{file}:both", input_shape=(3,), outputs=2)
    file.write_text(CODE.replace("nn.Linear(*input_shape, outputs)", "nn.Flatten()"))
    model = build_from_factory(f"{file}:both", input_shape=(3,), outputs=2)
    assert isinstance(model[0], nn.Flatten)  # type: ignore[index]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("bth", "has no 'bth': did you mean both"),
        ("word", "word is no function or class"),
        ("fails", r"with input_shape=\(3,\), outputs=2 raised RuntimeError: no room$"),
        ("nothing", "raised TypeError: nothing"),
        ("number", "returned int: it must return a torch.nn.Module"),
    ],
)
def test_what_a_factory_does_wrong_is_said_in_one_line(
    file: Path, factory: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        build_from_factory(f"{file}:{factory}", input_shape=(3,), outputs=2)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import absent_library", "raised ModuleNotFoundError: No module named 'absent_library'"),
        ("def make(:", "raised SyntaxError: "),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
    ],
)
def test_code_that_cannot_be_imported_is_said_and_leaves_nothing(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        build_from_factory(f"{path}:make", input_shape=(3,), outputs=2)
    assert not [name for name in sys.modules if name.startswith("vicinal_file_broken")]


def test_places_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*absent\.py"):
        build_from_factory(f"{tmp_path / 'absent.py'}:make", input_shape=(3,), outputs=2)
    with pytest.raises(InputError, match="importing no_such_package raised ModuleNotFoundError"):
        build_from_factory("no_such_package:make", input_shape=(3,), outputs=2)


def test_the_fingerprint_follows_the_code_and_the_function_but_not_the_folder(
    file: Path, tmp_path: Path
) -> None:
    fingerprint = factory_fingerprint(f"{file}:both")
    other = tmp_path / "elsewhere.py"
    other.write_text(CODE)
    assert factory_fingerprint(f"{other}:both") == fingerprint
    assert factory_fingerprint(f"{file}:keywords") != fingerprint
    file.write_text(CODE.replace("nn.Linear", "nn.Bilinear"))
    assert factory_fingerprint(f"{file}:both") != fingerprint


def test_the_fingerprint_sees_the_file_that_defines_what_another_hands_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "handing_on"
    package.mkdir()
    (package / "__init__.py").write_text("from handing_on.nets import both")
    (package / "nets.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = factory_fingerprint("handing_on:both")
    (package / "nets.py").write_text(CODE + "# changed")
    assert factory_fingerprint("handing_on:both") != before
