"""Mixing some rows at a time gives what mixing them at once gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Draws, Mixer
from vicinal.mixers import blocks
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix

LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.mT.contiguous().mT,
    "expanded": lambda x: x[:, :1].expand_as(x),
    "every second row": lambda x: x.repeat_interleave(2, 0)[::2],
}


def images(rows: int, dtype: torch.dtype) -> Tensor:
    x = torch.randn(rows, 3, 5, 4, generator=torch.Generator().manual_seed(rows))
    return (x * 50 + 128).clamp(0, 255).to(dtype) if dtype == torch.uint8 else x.to(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "mix, dtype",
    [
        (Mixup(), torch.float32),
        (Mixup(), torch.bfloat16),
        (CutMix(), torch.float32),
        (CutMix(), torch.uint8),
    ],
)
@pytest.mark.parametrize("block", [1, 600, 10_000])
def test_blocks_of_any_size_give_the_whole(
    monkeypatch: pytest.MonkeyPatch, mix: Mixer, dtype: torch.dtype, layout: str, block: int
) -> None:
    x = LAYOUTS[layout](images(11, dtype))
    batch = Batch.of(x)
    params = mix.sample(batch, Draws(0, batch.index))
    before = x.clone()
    whole = mix.apply(batch, params).tensor
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    in_blocks = mix.apply(batch, params).tensor
    assert torch.equal(in_blocks, whole)
    assert torch.equal(x, before)
    assert in_blocks.data_ptr() != x.data_ptr()


def test_blocks_are_mixed_with_partners_from_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch.of(images(9, torch.float32))
    part = batch[2:7]
    params = Mixup().sample(batch, Draws(0, batch.index))[2:7]
    whole = Mixup().apply(part, params).tensor
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 500)
    assert torch.equal(Mixup().apply(part, params).tensor, whole)


def counted(monkeypatch: pytest.MonkeyPatch, x: Tensor, how: Tensor) -> int:
    """How often the kernel is called for blocks of two rows."""
    calls = []

    def kernel(own: Tensor, partner: Tensor, how: Tensor, out: Tensor | None = None) -> Tensor:
        calls.append(len(own))
        return torch.lerp(partner, own, how, out=out)

    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2 * x[0].numel() * x.element_size())
    result = blocks.in_blocks(kernel, x, x, torch.arange(len(x)).flip(0), how)
    torch.testing.assert_close(result, torch.lerp(x.flip(0), x, how))
    assert sum(calls) == len(x)
    return len(calls)


def test_a_large_batch_is_mixed_in_blocks_and_the_last_may_be_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert counted(monkeypatch, torch.randn(7, 4), torch.rand(7, 1)) == 4
    assert counted(monkeypatch, torch.randn(2, 4), torch.rand(2, 1)) == 1


@pytest.mark.parametrize("which", ["x", "how"])
def test_where_gradients_are_wanted_there_is_one_expression(
    monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    tensors: dict[str, Any] = {"x": torch.randn(7, 4), "how": torch.rand(7, 1)}
    tensors[which].requires_grad_()
    assert counted(monkeypatch, **tensors) == 1
    with torch.no_grad():
        assert counted(monkeypatch, **tensors) == 4
