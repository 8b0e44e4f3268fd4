"""What is loaded by an import or by asking for help: a user waits for every module."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "datasets",
    "lightning_fabric",
    "matplotlib",
    "pandas",
    "sklearn",
    "sqlalchemy",
    "statsmodels",
    "timm",
    "torchmetrics",
    "torchvision",
}
ASK_FOR_HELP = """
import sys
sys.argv = ["vicinal", "--help"]
from vicinal.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def loaded_by(code: str) -> set[str]:
    """All modules that are there after some code in a fresh interpreter."""
    probe = f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    ["import vicinal", "import vicinal; vicinal.Batch, vicinal.Draws", ASK_FOR_HELP],
    ids=["import vicinal", "the core", "vicinal --help"],
)
def test_no_heavy_library_is_loaded_before_it_is_needed(code: str) -> None:
    modules = loaded_by(code)
    assert "vicinal" in modules
    assert modules & HEAVY == set()


def test_help_needs_no_torch() -> None:
    modules = loaded_by(ASK_FOR_HELP)
    assert "vicinal.cli" in modules
    assert "torch" not in modules


def test_mixers_load_no_heavy_library() -> None:
    modules = loaded_by("from vicinal.mixers.paste import CutMix; CutMix()")
    assert "torch" in modules
    assert modules & HEAVY == set()
