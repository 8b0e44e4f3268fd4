"""Class attention: what is heard is what the model computes, fused or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from vicinal import Batch
from vicinal.core.attention import ClassAttention
from vicinal.core.probe import ask, listening
from vicinal.models import SmallViT


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def transformer(name: str = "vit_tiny_patch16_224", **settings: Any) -> nn.Module:
    """In training mode, with weights large enough for attention to be uneven."""
    given = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "depth": 3}
    model: nn.Module = timm.create_model(name, num_classes=5, **given | settings)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.3)
    return model.train()


def images(height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(1))


def fuse(model: nn.Module, fused: bool) -> None:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            vars(module)["fused_attn"] = fused


def heard(model: nn.Module, x: Tensor, probe: ClassAttention | None = None) -> Tensor:
    probe = ClassAttention() if probe is None else probe
    probe.require(model)
    with listening([probe], {"model": model}) as answers:
        model(x)
    return answers[probe]


def softmax_matrices(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The attention that each layer without a fused kernel hands to its dropout."""
    fuse(model, False)
    found: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0].detach())

    handles = [
        module.register_forward_pre_hook(keep)
        for name, module in model.named_modules()
        if name.endswith("attn_drop")
    ]
    model(x)
    for handle in handles:
        handle.remove()
    return found


MODELS = {
    "plain": ({}, 1),
    "dropout": ({"attn_drop_rate": 0.5, "depth": 1}, 1),
    "normed queries and keys": ({"qk_norm": True}, 1),
    "registers": ({"reg_tokens": 4}, 5),
    "no position for the class": ({"no_embed_class": True, "init_values": 1e-6}, 1),
    "distilled": ({"name": "deit_tiny_distilled_patch16_224"}, 2),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("settings", "prefix"), MODELS.values(), ids=MODELS.keys())
def test_it_is_the_class_row_of_the_softmax_before_dropout(
    settings: dict[str, Any], prefix: int, fused: bool
) -> None:
    model, x = transformer(**settings), images()
    matrix = softmax_matrices(model, x)[-1]  # (B, heads, N, N)
    fuse(model, fused)
    expected = matrix[:, :, 0, prefix:].mean(dim=1).view(3, 4, 4)
    found = heard(model, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert found.std() > 1e-3
    assert not found.requires_grad


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["cait_xxs24_224", "xcit_nano_12_p8_224"])
def test_layers_for_the_class_token_alone_are_heard(name: str, fused: bool) -> None:
    model = timm.create_model(name, num_classes=5, depth=1, img_size=64)
    x = images(64, 64)
    row = softmax_matrices(model, x)[-1][:, :, 0, 1:].mean(dim=1)
    fuse(model, fused)
    found = heard(model, x)
    torch.testing.assert_close(found.flatten(1), row, rtol=1e-5, atol=1e-7)
    assert found.shape[1] == found.shape[2] == 64 // (16 if "cait" in name else 8)


def test_a_block_can_be_named_and_the_last_is_the_default() -> None:
    model, x = transformer(), images()
    rows = [matrix[:, :, 0, 1:].mean(dim=1) for matrix in softmax_matrices(model, x)]
    for place, row in enumerate(rows):
        named = heard(model, x, ClassAttention(block=f"blocks.{place}"))
        torch.testing.assert_close(named.flatten(1), row)
    torch.testing.assert_close(heard(model, x).flatten(1), rows[-1])
    assert not torch.allclose(rows[0], rows[-1], atol=1e-3)


def test_the_map_has_the_images_rows_and_columns() -> None:
    # With a single head whose keys are the first pixel of a patch, the map is a picture of these.
    model = transformer(img_size=(8, 16), embed_dim=2, num_heads=1, depth=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    x = images(8, 16)
    attention = model.blocks[0].attn
    tokens = torch.zeros(3, 9, 2)
    tokens[:, 1:, 1] = x[:, 0, ::4, ::4].flatten(1)
    tokens[:, 0, 0] = 1
    with torch.no_grad():
        attention.qkv.weight[0, 0] = 1  # the query of the class token
        attention.qkv.weight[2, 1] = 1  # the key of a patch
    probe = ClassAttention()
    with listening([probe], {"model": model}) as answers:
        attention(tokens)
    found = answers[probe]
    assert found.shape == (3, 2, 4)
    assert torch.equal(found.flatten(1).argsort(dim=1), x[:, 0, ::4, ::4].flatten(1).argsort(dim=1))


def test_it_is_that_of_the_batch_that_went_in_and_not_of_another() -> None:
    model, clean = transformer(), images()
    mixed = clean.clone()
    mixed[:, :, :8] = clean.flip(0)[:, :, :8]
    probe = ClassAttention()
    first, second = heard(model, clean), heard(model, mixed)
    assert (first - second).abs().amax() > 1e-3
    with listening([probe], {"model": model}) as answers:
        model(clean)
        model(mixed)
    assert torch.equal(answers[probe], second)


def test_listening_changes_neither_the_output_nor_the_gradients() -> None:
    model, x = transformer(), images()
    plain = model(x)
    plain.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    with listening([ClassAttention()], {"model": model}):
        output = model(x)
    output.sum().backward()
    assert torch.equal(output, plain)
    assert all(
        torch.equal(parameter.grad, gradient)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True)
    )
    assert not any(module._forward_hooks for module in model.modules())


def test_asked_before_it_takes_a_pass_of_its_own_in_evaluation_mode() -> None:
    model, x = transformer(attn_drop_rate=0.5, proj_drop_rate=0.5), images()
    probe = ClassAttention(when="before")
    found = ask([probe], {"model": model}, Batch.of(x)).evidence[probe]
    torch.testing.assert_close(found, heard(model.eval(), x))
    assert not found.requires_grad


def test_it_is_in_float32_under_autocast() -> None:
    model, x = transformer(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = heard(model, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, heard(model, x), rtol=0.2, atol=0.02)


def test_a_wrapped_transformer_is_found() -> None:
    model, x = transformer(), images()
    wrapped = nn.Sequential(nn.Identity(), model)
    assert torch.equal(heard(wrapped, x), heard(model, x))


class Looped(nn.Module):
    """A model with a class token, and attention of another make."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2)


REFUSED = {
    "class token, which SmallViT has not: try": lambda: SmallViT((3, 16, 16), 5),
    "class token, which ResNet has not": lambda: timm.create_model("resnet10t"),
    "which VisionTransformer has not": lambda: transformer(class_token=False, global_pool="avg"),
    "reads the class token, and this one has global_pool='avg'": lambda: transformer(
        global_pool="avg"
    ),
    "set patch_drop_rate to 0": lambda: transformer(patch_drop_rate=0.5),
    "attention of Looped is not heard": Looped,
    "attention of Eva is not heard": lambda: timm.create_model(
        "eva02_tiny_patch14_224", depth=1, global_pool="token"
    ),
    "not heard in compiled code": lambda: torch.compile(transformer()),
}


@pytest.mark.parametrize(("message", "make"), REFUSED.items(), ids=REFUSED.keys())
def test_models_that_cannot_answer_are_refused_in_one_line(
    message: str, make: Callable[[], nn.Module]
) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        ClassAttention().require(make())
    assert "\n" not in str(refusal.value)


def test_a_block_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no attention in block 'block.0': did you mean blocks.0"):
        ClassAttention(block="block.0").require(transformer())


def test_patches_that_make_no_grid_are_refused() -> None:
    model = transformer(img_size=(8, 16), dynamic_img_size=True)
    with pytest.raises(ValueError, match="12 patches of VisionTransformer do not make a square"):
        heard(model, images(12, 16))
