from __future__ import annotations

import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vicinal.core.errors import InputError
from vicinal.data import storage


@pytest.fixture
def small_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MEMORY_BUDGET", 100)
    monkeypatch.setenv("VICINAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_over_the_budget_pixels_lie_on_disk_and_no_file_is_left(small_budget):
    array = storage.uint8_array((11, 10))
    assert isinstance(array, np.memmap)
    array[3] = 7
    assert torch.from_numpy(array)[3].tolist() == [7] * 10
    assert list(small_budget.iterdir()) == []
    assert not isinstance(storage.uint8_array((10, 10)), np.memmap)


def test_a_disk_without_room_is_refused_with_both_sizes(small_budget, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 10, 0))
    with pytest.raises(InputError, match=r"take 5\.0 GB and 0\.0 GB are free.*VICINAL_CACHE"):
        storage.uint8_array((5, 10**9))


def test_the_cache_folder_is_the_users_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("VICINAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert storage.cache_folder() == tmp_path / "vicinal"
    monkeypatch.setenv("VICINAL_CACHE", str(tmp_path / "elsewhere"))
    assert storage.cache_folder() == tmp_path / "elsewhere"


@given(keep=arrays.arrays(bool, st.integers(1, 40)))
def test_compacting_keeps_the_rows_in_order_in_the_same_memory(keep):
    array = np.arange(2 * len(keep)).reshape(-1, 2)
    expected = array[keep]
    kept = storage.compact(array, keep)
    np.testing.assert_array_equal(kept, expected)
    assert np.shares_memory(kept, array) or not keep.any()
