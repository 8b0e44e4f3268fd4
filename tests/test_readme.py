"""The code that the documents show runs as it stands there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from vicinal.core import registry

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/mixers.md"])
def test_the_code_of_a_document_runs_from_top_to_bottom(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert blocks
    source = tmp_path / "blocks.py"
    # A file, because dataclasses and pickles look their module up.
    source.write_text("\n".join(block for block in blocks if "import annotations" not in block))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    registry.load()
    before = dict(registry._COMPONENTS)
    first = [block for block in blocks if "import annotations" in block]
    source.write_text("\n".join([*first, source.read_text()]))
    name = f"blocks_of_{Path(document).stem.lower()}"
    source.rename(tmp_path / f"{name}.py")
    try:
        module = importlib.import_module(name)
        for key, value in vars(module).copy().items():
            if key.startswith("test_"):
                value()
    finally:
        registry._COMPONENTS.clear()
        registry._COMPONENTS.update(before)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/design/method.md"])
def test_links_to_files_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link
