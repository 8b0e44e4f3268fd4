"""The loops, as they are, compiled, and as torch says it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vicinal.core.boxes import box_mask
from vicinal.mixers import compiled, loops

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool)


@pytest.fixture(params=["plain", "compiled"])
def ran(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops take batches of any size, and run as they are or compiled."""
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    if request.param == "plain":
        monkeypatch.setattr(compiled, "_installed", lambda: True)
        monkeypatch.setattr(compiled, "_run", _plain)
    else:
        pytest.importorskip("numba")


def _plain(loop: Any, *arrays: Any) -> bool:
    half = len(arrays[0]) // 2
    loop(*arrays, 0, half)
    loop(*arrays, half, len(arrays[0]))
    return True


def rows(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) * 255).to(dtype)


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("space", [(7,), (5, 6), (3, 4, 5)])
def test_a_box_is_pasted_and_the_rest_copied(dtype: torch.dtype, space: tuple[int, ...]) -> None:
    x, pool = rows((5, 2, *space), dtype), rows((4, 2, *space), dtype, seed=1)
    at = torch.tensor([3, 0, 0, 2, 1])
    start = torch.stack([torch.tensor([0, 1, 1, 0, 2]) for _ in space], dim=1)
    stop = torch.stack([torch.tensor([size, 3, 1, 0, 3]) for size in space], dim=1)
    out = torch.empty_like(x)
    assert compiled.paste(out, x, pool, at, start=start, stop=stop)
    inside = box_mask(start, stop, space)[:, None]
    assert torch.equal(out, torch.where(inside, pool[at], x))


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_place_is_taken_from_whom_the_mask_says(dtype: torch.dtype) -> None:
    x, pool = rows((5, 3, 4, 6), dtype), rows((4, 3, 4, 6), dtype, seed=1)
    at = torch.tensor([3, 0, 0, 2, 1])
    own = rows((5, 4, 6), seed=2) < 100
    out = torch.empty_like(x)
    assert compiled.choose(out, x, pool, at, own)
    assert torch.equal(out, torch.where(own[:, None], x, pool[at]))


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_are_interpolated_as_torch_does(dtype: torch.dtype) -> None:
    x, pool = rows((5, 3, 4, 6), dtype), rows((4, 3, 4, 6), dtype, seed=1)
    at = torch.tensor([3, 0, 0, 2, 1])
    kept = torch.tensor([0.0, 0.3, 0.5, 0.8, 1.0])
    out = torch.empty_like(x)
    assert compiled.interpolate(out, x, pool, at, kept)
    expected = torch.lerp(pool[at], x, kept.to(dtype).view(-1, 1, 1, 1))
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=0)
    assert torch.equal(out[0], pool[3])
    assert torch.equal(out[4], x[4])
    places = rows((5, 4, 6), seed=2) / 255
    places[0, 0, 0], places[0, 0, 1] = 0, 1
    assert compiled.interpolate_places(out, x, pool, at, places)
    expected = torch.lerp(pool[at], x, places.to(dtype)[:, None])
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=0)
    assert torch.equal(out[0, :, 0, 0], pool[3, :, 0, 0])
    assert torch.equal(out[0, :, 0, 1], x[0, :, 0, 1])


@pytest.mark.usefixtures("ran")
def test_bytes_are_interpolated_to_the_nearest() -> None:
    x, pool = rows((5, 3, 4, 6), torch.uint8), rows((4, 3, 4, 6), torch.uint8, seed=1)
    at = torch.tensor([3, 0, 0, 2, 1])
    kept = torch.tensor([0.0, 0.3, 0.55, 0.8, 1.0])
    out = torch.empty_like(x)
    assert compiled.interpolate(out, x, pool, at, kept)
    exact = torch.lerp(pool[at].double(), x.double(), kept.double().view(-1, 1, 1, 1))
    assert (out - exact).abs().max() <= 0.5 + 1e-4
    places = kept[:, None, None].expand(5, 4, 6)
    again = torch.empty_like(x)
    assert compiled.interpolate_places(again, x, pool, at, places)
    assert torch.equal(again, out)


def test_half_precision_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    x = rows((2, 3, 4), torch.float16)
    out = torch.full_like(x, -1)
    at, kept = torch.tensor([1, 0]), torch.tensor([0.5, 0.5])
    assert not compiled.interpolate(out, x, x, at, kept)
    assert not compiled.interpolate_places(out, x, x, at, torch.full((2, 4), 0.5))
    assert (out == -1).all()


def test_small_batches_and_scattered_memory_are_left_to_torch() -> None:
    x = rows((2, 3, 4, 4))
    at, kept = torch.tensor([1, 0]), torch.tensor([0.5, 0.5])
    assert not compiled.interpolate(torch.empty_like(x), x, x, at, kept)
    wide = rows((2, 512, 512, 4)).movedim(3, 1)
    assert wide.nbytes >= compiled.WORTHWHILE
    assert not compiled.interpolate(torch.empty_like(wide), wide, wide, at, kept)


def test_several_callers_at_once_get_their_own_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    torch.set_num_threads(2)  # conftest sets it back
    x = rows((64, 1000))
    at, kept = torch.arange(64).flip(0), rows((64,), seed=1) / 255
    expected = torch.lerp(x[at], x, kept[:, None])

    def mixed(_: int) -> bool:
        out = torch.empty_like(x)
        assert compiled.interpolate(out, x, x, at, kept)
        return torch.allclose(out, expected, rtol=1e-6)

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(mixed, range(40)))


def _in_a_child(connection: Any) -> None:
    x = rows((8, 1000))
    out = torch.empty_like(x)
    kept = torch.full((8,), 0.25)
    compiled.interpolate(out, x, x, torch.arange(8).flip(0), kept)
    connection.send(out.tolist())


def test_a_forked_process_mixes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    torch.set_num_threads(2)
    x = rows((8, 1000))
    out = torch.empty_like(x)
    assert compiled.interpolate(out, x, x, torch.arange(8).flip(0), torch.full((8,), 0.25))
    context = get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_a_child, args=(theirs,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert ours.recv() == out.tolist()


def test_the_loops_leave_rows_of_others_alone() -> None:
    out = np.zeros((4, 3), dtype=np.float32)
    x = np.ones((4, 3), dtype=np.float32)
    loops.interpolate(out, x, x, np.arange(4), np.full(4, 0.5, dtype=np.float32), 1, 3)
    assert out.tolist() == [[0] * 3, [1] * 3, [1] * 3, [0] * 3]
