"""The example of a mixer of one's own: short, right, and compared by name."""

from __future__ import annotations

import ast
import importlib
import io
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.testing import check_augmentation

PLACE = Path(__file__).resolve().parents[2] / "examples" / "stripe_mix.py"


@pytest.fixture
def mixer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As a user imports it, so that other processes find it too."""
    monkeypatch.syspath_prepend(PLACE.parent)
    return importlib.import_module(PLACE.stem).StripeMix()


def test_it_keeps_the_contract(mixer: Any) -> None:
    check_augmentation(mixer)


def test_it_shows_stripes_and_weighs_labels_by_them(mixer: Any) -> None:
    x = torch.arange(4.0)[:, None, None, None].expand(4, 1, 3, 10)
    mixed, target = mixer(x, torch.arange(4), generator=torch.Generator().manual_seed(1))
    assert torch.equal(mixed, mixed[:, :, :1].expand_as(mixed))  # rows are alike
    assert torch.equal(mixed[:, 0, 0, 0], torch.arange(4.0))  # the first stripe is the own one
    shown = (mixed == x).flatten(1).float().mean(dim=1)
    other = target.labels[:, 0] != target.labels[:, 1]
    torch.testing.assert_close(target.weights[other, 0], shown[other])


def test_it_is_written_in_under_25_lines() -> None:
    """Lines with code in them: not the imports, the documentation and what is blank."""
    text = PLACE.read_text("utf-8")
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or documentation:
            skipped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    trivia = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {t.start[0] for t in tokens if t.type not in trivia and t.string.strip()} - skipped
    assert len(lines) < 25


def test_it_is_compared_by_its_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vicinal", "compare", "digits", "--seeds", "2"]
    command += ["--components", str(PLACE), "--methods", "none,stripe_mix", "--epochs", "1"]
    # Two, so that processes of their own have to find it as well.
    command += ["--workers", "2", "--threads", "1", "--out", str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "stripe_mix" in ended.stdout
    report = [sys.executable, "-m", "vicinal", "report", str(tmp_path / "run")]
    again = subprocess.run(report, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr + again.stdout
