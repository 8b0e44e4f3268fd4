from __future__ import annotations

import pytest
import torch
from torch import nn

from vicinal.core.errors import InputError
from vicinal.models.timm_models import build_from_timm, is_timm_name, timm_names


def test_a_resnet_takes_any_size_and_any_channels() -> None:
    model = build_from_timm("test_resnet", {}, input_shape=(1, 32, 32), outputs=7)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_patch16_224"])
def test_a_transformer_of_fixed_size_is_made_for_the_size_of_the_inputs(name: str) -> None:
    model = build_from_timm(name, {}, input_shape=(3, 32, 48), outputs=5)
    assert model(torch.zeros(2, 3, 32, 48)).shape == (2, 5)
    assert model.pos_embed.shape[1] == 1 + 2 * 3  # the class token, and patches of 16


def test_settings_reach_the_constructor_and_outweigh_the_size_of_the_inputs() -> None:
    settings = {"patch_size": "4", "img_size": "40"}
    model = build_from_timm("vit_tiny_patch16_224", settings, input_shape=(3, 32, 32), outputs=5)
    assert model.pos_embed.shape[1] == 1 + 10**2


def test_settings_may_be_words() -> None:
    model = build_from_timm("test_vit", {"global_pool": "avg"}, input_shape=(3, 32, 32), outputs=5)
    assert isinstance(model.fc_norm, nn.LayerNorm)  # there with mean pooling alone


def test_what_timm_refuses_is_said_in_one_line() -> None:
    with pytest.raises(InputError, match=r"timm cannot make 'test_resnet' with .*no_such") as error:
        build_from_timm("test_resnet", {"no_such": "1"}, input_shape=(3, 32, 32), outputs=2)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"it takes images .* got rows of shape \(30,\)"):
        build_from_timm("test_resnet", {}, input_shape=(30,), outputs=2)


def test_names_are_timms_with_or_without_the_tag_of_weights() -> None:
    assert is_timm_name("resnet18")
    assert is_timm_name("resnet18.a1_in1k")
    assert not is_timm_name("hf-hub:timm/resnet18")  # would be a download
    assert not is_timm_name("small-resnet")
    assert "resnet18" in timm_names()
