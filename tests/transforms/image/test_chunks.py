"""Working in chunks changes nothing but the time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vicinal.transforms.image import chunks


def shifted(images: Tensor, by_row: Tensor) -> Tensor:
    return images + by_row[:, None, None, None]


@pytest.mark.parametrize("count", [0, 1, 7, 8])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_the_result_is_that_of_one_call(
    count: int, format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 3 * 2 * 4 * 5 * 4)  # three images
    images = torch.rand(count, 2, 4, 5).contiguous(memory_format=format)
    by_row = torch.arange(count)
    sizes = []

    def kernel(images: Tensor, by_row: Tensor) -> Tensor:
        sizes.append(len(images))
        return shifted(images, by_row)

    found = chunks.in_chunks(kernel, images, by_row)
    assert torch.equal(found, shifted(images, by_row))
    assert found.is_contiguous(memory_format=format)
    assert sizes == {0: [0], 1: [1], 7: [3, 3, 1], 8: [3, 3, 2]}[count]


def test_growth_makes_chunks_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 80)
    sizes = []

    def kernel(images: Tensor, by_row: Tensor) -> Tensor:
        sizes.append(len(images))
        return images

    chunks.in_chunks(kernel, torch.zeros(4, 1, 4, 5, dtype=torch.uint8), torch.zeros(4), growth=2)
    assert sizes == [2, 2]


def test_images_larger_than_a_chunk_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    images = torch.rand(3, 1, 4, 5)
    assert torch.equal(
        chunks.in_chunks(shifted, images, torch.arange(3)), shifted(images, torch.arange(3))
    )


def test_gradients_go_through_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    images = torch.rand(3, 1, 4, 5, requires_grad=True)
    chunks.in_chunks(shifted, images, torch.arange(3)).sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))
