"""The page in a real browser: headless Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

WIDTHS = (320, 390, 768, 1400)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Opens a file in Chromium, with a profile of its own, and gives what it prints."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(NAMES)})")

    def run(path: Path, *options: str) -> str:
        profile = tmp_path_factory.mktemp("profile")
        quiet = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
            "--disable-background-networking --disable-component-update --disable-sync"
        )
        ended = subprocess.run(
            [browser, *quiet.split(), f"--user-data-dir={profile}", *options, path.as_uri()],
            capture_output=True,
            timeout=120,
            check=True,
        )
        return ended.stdout.decode("utf-8")

    return run


def pixels(browse: Callable[..., str], path: Path, *options: str) -> Image.Image:
    """The page as it is drawn, 1400 by 1000 pixels."""
    picture = path.with_suffix(".png")
    browse(path, f"--screenshot={picture}", "--window-size=1400,1000", *options)
    with Image.open(picture) as image:
        return image.convert("RGB")


def brightness(image: Image.Image) -> float:
    """Mean of all pixels, 0 to 255."""
    small = image.convert("L").resize((1, 1), Image.Resampling.BOX)
    return float(small.getpixel((0, 0)))  # type: ignore[arg-type]


#: Reports for each frame what the page inside has become. It frames the report as it is: the
#: report's own policy would let no script run in it. A frame gets its page only when it is listened
#: to, so that none loads unheard.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><body><pre id="measured"></pre>
<textarea id="page" hidden>{page}</textarea><script>
for (const width of {widths}) {{
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.height = 900;
  frame.addEventListener("load", () => {{
    const page = frame.contentDocument, root = page.documentElement;
    const shown = page.querySelector(".strip-row");
    const images = [...page.images];
    document.getElementById("measured").append([
      width, root.scrollWidth, images.filter(i => i.complete && i.naturalWidth).length,
      getComputedStyle(shown).display, page.querySelector("h1").getBoundingClientRect().right,
    ].join(" ") + ";");
  }});
  frame.srcdoc = document.getElementById("page").value;
  document.body.append(frame);
}}
</script>"""


def test_the_page_is_drawn_as_styled_and_fits_every_width(
    tmp_path: Path, story: Callable[..., Any], browse: Callable[..., str]
) -> None:
    made = story(
        methods=["none", "mixup", f"cutmix:{','.join(f'a{i}={i}' for i in range(30))}"],
        gains=(0, 0, 0.06),
        classes=["cat", "d" * 200, "frog"],
        command="vicinal compare " + "x" * 400,
    )
    assert made.usage.label == made.run.methods[2]  # the long name is in the headline
    path = tmp_path / "probe.html"
    probe = PROBE.format(page=html.escape(made.page), widths=list(WIDTHS))
    path.write_text(probe, encoding="utf-8")
    dump = browse(path, "--dump-dom", "--virtual-time-budget=5000")
    (measured,) = re.findall(r'<pre id="measured">(.*?)</pre>', dump)
    seen = [line.split() for line in measured.strip(";").split(";")]
    assert sorted(int(width) for width, *_ in seen) == list(WIDTHS)
    for width, scrolled, images, display, right in seen:
        assert int(scrolled) <= int(width)  # nothing sticks out
        assert float(right) <= int(width)
        assert int(images) == 8 * 4  # eight samples, original and three methods, all decoded
        assert display == "grid"  # the policy lets the page's own style through


def test_the_browser_reads_the_page_as_it_was_written(
    tmp_path: Path, story: Callable[..., Any], browse: Callable[..., str]
) -> None:
    path = tmp_path / "report.html"
    made = story(methods=["none", "<script>document.title='x'</script>"], gains=(0, 0.06))
    made.write(path)
    dump = browse(path, "--dump-dom")
    assert "<title>&lt;script&gt;document.title='x'&lt;/script&gt; helps on pets" in dump
    for tag in ("svg", "img", "table", "section", "polyline", "circle"):
        assert dump.count(f"<{tag} ") == made.page.count(f"<{tag} ") > 0


def test_the_page_is_light_or_dark_as_the_reader_likes(
    tmp_path: Path, story: Callable[..., Any], browse: Callable[..., str]
) -> None:
    path = tmp_path / "report.html"
    story().write(path)
    light = pixels(browse, path)
    # Blink's number for a preference for dark.
    dark = pixels(browse, path, "--blink-settings=preferredColorScheme=0")
    assert brightness(light) > 200
    assert brightness(dark) < 60
    for image in (light, dark):
        colours = image.getcolors(maxcolors=1 << 24)
        assert colours is not None
        assert len(colours) > 100  # letters, smoothed
        # Blue stands out: the headline says that a method helps.
        assert sum(n for n, (red, _, blue) in colours if blue - red > 100) > 1000
