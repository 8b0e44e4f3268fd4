"""Memory that tensors free stays with the process."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from vicinal.compare.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_what_is_freed_is_not_faulted_in_again() -> None:
    assert keep_freed_memory()

    def use() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(1 << 20) for _ in range(16)]  # 64 MiB in pieces of 4
        assert all(tensor[-1] == 1 for tensor in tensors)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    first = use()
    for _ in range(3):  # the heap grows to what is needed
        last = use()
    assert last <= first // 10 or last < 100
