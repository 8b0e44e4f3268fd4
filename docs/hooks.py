"""Makes the pages that are read from elsewhere: the start, and the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page, and a page made of all cards."""
    from mkdocs.structure.files import File

    from vicinal.catalogue import as_markdown, select

    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("(docs/", "(")
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "catalogue.md", content=as_markdown(select())))
    return files
