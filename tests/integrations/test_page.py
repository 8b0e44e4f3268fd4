"""The page on integrations says what runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"
BLOCKS = re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S)


def test_every_place_has_its_block() -> None:
    names = [name for name, _ in BLOCKS]
    assert names == ["A loop of your own", "timm", "torchvision v2", "transformers", "Lightning"]


@pytest.mark.filterwarnings("ignore")  # advice of the trainers on loaders
@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_the_block_runs(name: str, code: str) -> None:
    with torch.random.fork_rng():
        exec(compile(code, f"{PAGE.name}: {name}", "exec"), {"__name__": "page"})
