"""The random words that everything stands on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core import counter

WORDS = st.integers(0, 2**64 - 1)
ROWS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20)


def plain_finaliser(word: int) -> int:
    """SplitMix64's, variant 13, in exact integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
    return word ^ (word >> 31)


@given(word=WORDS)
def test_integers_arrays_and_tensors_are_mixed_alike(word: int) -> None:
    expected = plain_finaliser(word)
    assert counter.mix_int(word) == expected
    assert counter.mix_words(np.array([word], dtype=np.uint64)).tolist() == [expected]
    mixed = counter.mix_tensor(torch.tensor([counter.signed(word)]))
    assert mixed.tolist() == [counter.signed(expected)]


def test_the_stream_is_that_of_splitmix64() -> None:
    # The first outputs for the seed 1234567, as published with the reference implementation.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(counter.GOLDEN) + np.uint64(1234567)
    assert counter.mix_words(states).tolist() == published


@given(rows=ROWS, key=WORDS)
def test_rows_have_the_same_words_on_every_device(rows: list[int], key: int) -> None:
    on_host = counter.row_words(np.array(rows, dtype=np.int64), key).view(np.int64)
    elsewhere = counter.row_tensor(torch.tensor(rows), key)
    assert on_host.tolist() == elsewhere.tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_narrow_rows_have_the_words_of_wide_ones(dtype: torch.dtype) -> None:
    rows = torch.arange(100)
    wide = counter.row_words(rows.numpy(), 7)
    assert np.array_equal(counter.row_words(rows.to(dtype).numpy(), 7), wide)
    assert counter.row_tensor(rows.to(dtype), 7).tolist() == wide.view(np.int64).tolist()


def test_half_of_the_bits_turn_with_any_bit_of_the_input() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 4000, dtype=np.uint64)
    mixed = counter.mix_words(words.copy())
    for bit in range(64):
        turned = counter.mix_words(words ^ np.uint64(1 << bit)) ^ mixed
        shares = np.unpackbits(turned.view(np.uint8)).reshape(len(words), 64).mean(0)
        assert abs(shares.mean() - 0.5) < 0.01
        assert abs(shares - 0.5).max() < 0.06  # of 64 x 64 shares of 4,000, about 7 deviations


def test_seeds_and_epochs_have_keys_of_their_own() -> None:
    keys = {counter.seed_key(seed, epoch) for seed in range(-200, 200) for epoch in range(50)}
    assert len(keys) == 400 * 50
    assert all(0 <= key < 2**64 for key in keys)


def test_a_name_has_the_same_key_in_every_process() -> None:
    # Python salts the hash of a string: two processes would disagree.
    code = "from vicinal.core.counter import name_key; print(name_key('partner'))"
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PATH": ""},
    )
    assert int(told.stdout) == counter.name_key("partner")
