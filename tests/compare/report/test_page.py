"""The page: what it says, and that it stands alone."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
#: Text goes on through these; it is parted by the others.
INLINE = {"wbr", "strong", "span", "em", "a", "abbr"}
#: SVG shapes may close themselves.
SHAPES = {"line", "circle", "rect", "polyline", "polygon", "path"}


@dataclass
class Page(HTMLParser):
    """A page taken apart. It fails where a tag is not closed, or closed twice."""

    source: str
    tags: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._table = ""
        self.feed(self.source)
        self.close()
        assert not self._open
        self.text = " ".join(self.text.split())
        self.tables = {
            name: [[" ".join(cell.split()) for cell in row] for row in rows]
            for name, rows in self.tables.items()
        }

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES
        self._note(tag, attrs)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = dict(attrs)["class"] or ""
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
        if tag not in INLINE:
            self.handle_data(" ")

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.tables[self._table][-1][-1] += data

    def all(self, name: str) -> list[str]:
        """The values of an attribute, of all elements."""
        return [value for _, attribute, value in self.attributes if attribute == name]


STORIES: dict[str, dict[str, Any]] = {
    "usual": {},
    "failures": {"failed": [("randaugment", 3), ("mixup", 0)]},
    "nothing but failures": {"failed": [("mixup", seed) for seed in range(5)]},
    "failed baseline": {"failed": [("none", seed) for seed in range(5)]},
    "one method": {"methods": ["none"]},
    "one seed": {"seeds": 1},
    "folds": {"folds": 4, "seeds": 1},
    "table": {"tables": True},
    "regression": {"kind": "regression", "tables": True, "gains": (0, -0.05, 0, 0.05)},
    "large": {
        "methods": ["none", *(f"method_{i}:alpha={i},strength=0.25,mode=x" for i in range(11))],
        "classes": [f"class {i}" for i in range(100)],
        "seeds": 3,
    },
}


@pytest.mark.parametrize("name", STORIES)
def test_the_page_is_well_formed_and_links_within_itself(
    name: str, story: Callable[..., Any]
) -> None:
    made = story(**STORIES[name])
    page = Page(made.page)
    assert max(Counter(page.all("id")).values()) == 1
    anchors = {link.removeprefix("#") for link in page.all("href")}
    assert anchors <= set(page.all("id"))
    assert {"leaderboard", "use", "data", "settings", "environment"} <= anchors
    rows = page.tables["leaderboard"][1:]
    assert sorted(row[0] for row in rows) == sorted(made.run.methods)
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text


@pytest.mark.parametrize("name", STORIES)
def test_the_page_needs_no_network_and_may_not_use_it(name: str, story: Callable[..., Any]) -> None:
    source = story(**STORIES[name]).page
    page = Page(source)
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(link.startswith("#") for link in page.all("href"))
    assert all(link.startswith("data:image/") for link in page.all("src"))
    assert "http:" not in source
    assert "https:" not in source
    (style,) = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [value for value in page.all("content") if "default-src" in value]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:")
    assert page.all("style") == []  # the policy would drop them


def test_regression_is_told_by_its_error_and_has_no_classes(story: Callable[..., Any]) -> None:
    made = story(kind="regression", tables=True, gains=(0, -0.05, 0, 0.05))
    page = Page(made.page)
    header, best, *_ = page.tables["leaderboard"]
    assert header[2] == "RMSE"
    assert header[6:8] == ["MAE", "R²"]
    assert best[0] == "mixup"
    assert best[3].startswith("−")
    assert "below zero is better" in page.text
    assert not {"reliability", "classes"} & set(page.all("id"))
    assert "← better" in page.text


def test_the_page_tells_data_settings_reasons_command_and_the_lines_to_use(
    story: Callable[..., Any],
) -> None:
    made = story()
    page = Page(made.page)
    for note in made.run.task["notes"]:
        assert note in page.text
    assert "digits do not keep their meaning when mirrored" in page.text
    assert made.run.command in page.text
    assert "torch 2.14.0" in page.text
    settings = {row[0]: row[1:] for row in page.tables["settings"][1:]}
    assert settings["epochs"] == ["30", "30,000 steps in all, as small data needs many"]
    assert settings["flip"] == ["yes", ""]
    assert "folds" not in settings
    for lines in (made.usage.python, made.usage.yaml):
        assert f"<code>{lines.replace('&', '&amp;')}</code>" in made.page


def test_of_a_hundred_classes_the_page_shows_twenty_and_says_so(
    story: Callable[..., Any],
) -> None:
    page = Page(story(**STORIES["large"]).page)
    assert len(page.tables["classes"]) == 21
    assert "The 20 of 100 classes with the largest changes" in page.text


HOSTILE = ("none", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} 猫")


def test_hostile_names_are_shown_and_nothing_else(story: Callable[..., Any]) -> None:
    made = story(
        methods=HOSTILE,
        classes=['<b title="x">cat</b>', "' onload='alert(1)", "</style><style>", "&lt;dog&gt;"],
        failed=[(HOSTILE[1], 0)],
        name="</title><script>",
        command="vicinal compare '<img src=http://x>' --methods \"$(rm)\"",
        left_out={"<i>": "</dl>"},
        reasons={"epochs": "</table>"},
        environment={"<u>": "<u>"},
    )
    made.run.task["notes"].append("skipped: <object data=x>.jpg")
    page = Page(made.page)
    plain = Page(story().page)
    assert set(page.tags) - {"details"} <= set(plain.tags)
    assert page.tags["script"] == page.tags["b"] == page.tags["object"] == page.tags["i"] == 0
    assert page.tags["style"] == 1
    assert page.tags["img"] == plain.tags["img"]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(link.startswith("data:image/") for link in page.all("src"))
    for name in (*HOSTILE, *made.run.task["classes"], "skipped: <object data=x>.jpg"):
        assert " ".join(name.split()) in page.text


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, story: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    made = story()
    made.write(path)
    assert path.read_text("utf-8") == made.page
    assert path.stat().st_mode & 0o777 == 0o644

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        story(seeds=2).write(path)
    assert path.read_text("utf-8") == made.page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_large_run_with_photographs_stays_light(story: Callable[..., Any]) -> None:
    import io
    import random

    from PIL import Image

    from vicinal.compare.records import Sample

    made = story(**STORIES["large"])
    chance = random.Random(0)

    def photograph() -> Sample:
        # As rough as a photograph gets: noise on every fourth pixel, smooth between.
        small = Image.frombytes("RGB", (48, 48), chance.randbytes(3 * 48 * 48))
        buffer = io.BytesIO()
        small.resize((192, 192), Image.Resampling.BICUBIC).save(buffer, "PNG")
        return Sample(buffer.getvalue(), "cat 0.70, dog 0.30")

    photographs = [photograph() for _ in range(8)]
    gallery = dict.fromkeys(made.gallery, photographs)
    assert sum(len(s.picture) for row in gallery.values() for s in row) > 5e6
    size = len(replace(made, gallery=gallery).page.encode())
    assert size < 2e6


def test_the_same_records_give_the_same_page(story: Callable[..., Any]) -> None:
    assert story().page == story().page
