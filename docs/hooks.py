"""Makes the pages that are read from elsewhere: files of the repository, and the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
#: Pages by the file that they show.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository, and a page made of all cards."""
    from mkdocs.structure.files import File

    from vicinal.catalogue import as_markdown, select

    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text)))
    files.append(File.generated(config, "catalogue.md", content=as_markdown(select())))
    return files


def relinked(text: str) -> str:
    """A text whose links to files of the repository lead to their pages."""
    for source, page in PAGES.items():
        text = text.replace(f"]({source})", f"]({page})")
    return text.replace("](docs/", "](").replace("[Apache-2.0](LICENSE)", "Apache-2.0")
