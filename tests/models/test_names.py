from __future__ import annotations

import pytest

from vicinal.core.errors import InputError
from vicinal.models.names import OWN, ModelName, model_names, own_settings, parse_name


@pytest.mark.parametrize(
    ("typed", "kind", "base", "settings"),
    [
        ("mlp", "own", "mlp", {}),
        ("small-resnet:width=32", "own", "small-resnet", {"width": "32"}),
        ("small-resnet:width=32:blocks=2", "own", "small-resnet", {"width": "32", "blocks": "2"}),
        ("small-resnet:width=32, blocks=2", "own", "small-resnet", {"width": "32", "blocks": "2"}),
        ("resnet18", "timm", "resnet18", {}),
        ("resnet18.a1_in1k", "timm", "resnet18.a1_in1k", {}),
        ("test_vit:patch_size=4", "timm", "test_vit", {"patch_size": "4"}),
        ("package.module:factory", "factory", "package.module:factory", {}),
        ("nets/mine.py:make", "factory", "nets/mine.py:make", {}),
        ("C:/nets/mine.py:make", "factory", "C:/nets/mine.py:make", {}),
    ],
)
def test_names_are_taken_apart(typed: str, kind: str, base: str, settings: dict[str, str]) -> None:
    assert parse_name(typed) == ModelName(kind, base, settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("smal-resnet", "unknown model 'smal-resnet': did you mean .*small-resnet"),
        ("smal-vit:depth=3", "did you mean small-vit"),
        ("resnet1800", "did you mean .*resnet18"),
        ("vit_tiny_patch16_225", "did you mean vit_tiny_patch16_224"),
        (
            "§",
            "known: mlp, small-point-net, small-resnet, .*any name of timm, package.module",
        ),
        ("", "unknown model ''"),
        ("mine.py", "say which function makes it: mine.py:function"),
        ("small-resnet:width", "'width' must be written name=value"),
        ("small-resnet:", "'' must be written name=value"),
        ("mlp:width=", "'width=' must be written name=value"),
    ],
)
def test_names_that_stand_for_nothing_are_refused_with_the_nearest(
    typed: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        parse_name(typed)
    assert len(str(refusal.value).splitlines()) == 1


def test_settings_are_converted_and_completed_by_the_defaults() -> None:
    assert own_settings("small-resnet", {"width": "32"}) == {"width": 32, "blocks": 1}
    assert own_settings("small-vit", {"patch": "none"})["patch"] is None
    assert own_settings("mlp", {"dropout": "0.25"})["dropout"] == 0.25


@pytest.mark.parametrize(
    ("base", "typed", "message"),
    [
        ("small-resnet", {"widht": "32"}, "no setting 'widht': did you mean width"),
        ("small-resnet", {"width": "wide"}, "width must be a number, got 'wide'"),
        ("small-resnet", {"width": "-3"}, r"width must be in \[1, inf\), got -3"),
        ("small-resnet", {"width": "1.5"}, "width must be a whole number, got 1.5"),
        ("mlp", {"dropout": "nan"}, "dropout must be in"),
        ("mlp", {"depth": "inf"}, "depth must be"),
    ],
)
def test_settings_out_of_range_are_refused(base: str, typed: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        own_settings(base, typed)


def test_a_default_that_is_declared_is_the_default_of_the_constructor() -> None:
    for name, model in OWN.items():
        assert own_settings(name, {}) == (model.__init__.__kwdefaults__ or {})


def test_own_names_come_first_in_the_list() -> None:
    assert model_names() == ["mlp", "small-point-net", "small-resnet", "small-vit"]
    assert {"resnet18", "vit_tiny_patch16_224"} < set(model_names(timm=True)[4:])
