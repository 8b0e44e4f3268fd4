"""The report: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.compare.records import Gallery, RunRecord, TrialRecord
from vicinal.compare.report import numbers
from vicinal.compare.report.classes import class_changes
from vicinal.compare.report.differences import paired_differences
from vicinal.compare.report.figures import FEW, learning_curves, reliability_diagram
from vicinal.compare.report.leaderboard import FURTHER, completed, leaderboard
from vicinal.compare.report.numbers import Score
from vicinal.compare.report.samples import Samples
from vicinal.compare.report.words import answer
from vicinal.compare.usage import Usage
from vicinal.compare.verdict import Verdict
from vicinal.evaluate import METRICS, primary_metric

if TYPE_CHECKING:
    from markupsafe import Markup


def write_report(
    path: Path,
    run: RunRecord,
    trials: Sequence[TrialRecord],
    verdicts: Sequence[Verdict],
    gallery: Gallery,
    usage: Usage,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the file; its folder is there.
        run: what was asked for, and on what.
        trials: completed and failed.
        verdicts: one for each method of the run.
        gallery: samples as the methods show them.
        usage: the lines that use the winner.
    """
    page = render(run, trials, verdicts, gallery, usage)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        # mkstemp lets nobody else read it; a report is as readable as other files.
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def render(
    run: RunRecord,
    trials: Sequence[TrialRecord],
    verdicts: Sequence[Verdict],
    gallery: Gallery,
    usage: Usage,
) -> str:
    """The page as text; for the arguments see `write_report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("vicinal.compare", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    style = resources.files("vicinal.compare.report").joinpath("style.css").read_text("utf-8")
    # The page allows this one style sheet by its hash: text that got past escaping could not bring
    # its own.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    content = _content(run, trials, verdicts, gallery, usage)
    template = environment.get_template("page.html.j2")
    return template.render(content, style=Markup(style), style_hash=digest)


def _content(
    run: RunRecord,
    trials: Sequence[TrialRecord],
    verdicts: Sequence[Verdict],
    gallery: Gallery,
    usage: Usage,
) -> dict[str, Any]:
    """What the template shows, by the names it uses."""
    name = primary_metric(run.task["kind"])
    metric = METRICS[name]
    done = completed(run, trials)
    score = Score.of(
        name, numbers.mean(one.metrics[name] for some in done.values() for one in some)
    )
    rows = leaderboard(run, trials, verdicts, score)
    content: dict[str, Any] = {
        "run": run,
        "created": _day(run.created),
        "metric": metric,
        "score": score,
        "metrics": METRICS,
        "nothing": numbers.NOTHING,
        "write": _plain,
        "few": FEW,
        "answer": answer(run, rows, usage.label, score),
        "facts": _facts(run, done),
        "rows": rows,
        "further": [one for one in FURTHER if any(one in row.further for row in rows)],
        "failures": [row for row in rows if row.errors],
        "differences": paired_differences(run, trials, verdicts, score),
        "curves": learning_curves(done, run.baseline, score),
        "diagrams": {
            method: diagram
            for method, some in done.items()
            if (diagram := reliability_diagram(some)) is not None
        },
        "samples": Samples.of(gallery, run.methods),
        "classes": class_changes(done, run.baseline),
        "usage": usage,
        "data": _data(run),
    }
    return content | {"contents": _contents(content)}


def _contents(content: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections that there are: anchor and title."""
    sections = [
        ("leaderboard", "Leaderboard", True),
        ("differences", "Differences", content["differences"]),
        ("curves", "Learning curves", content["curves"]),
        ("reliability", "Confidence", content["diagrams"]),
        ("samples", "Samples", content["samples"].rows),
        ("classes", "Classes", content["classes"]),
        ("use", "Use it", True),
        ("data", "Data", True),
        ("settings", "Settings", True),
        ("environment", "Run it again", True),
    ]
    return [(anchor, title) for anchor, title, there in sections if there]


def _facts(run: RunRecord, done: dict[str, list[TrialRecord]]) -> list[tuple[str, str]]:
    """A few numbers that say how large the comparison was."""
    completed_trials = [one for some in done.values() for one in some]
    seconds = sum(one.wall_seconds for one in completed_trials)
    facts = [
        (f"{len(run.methods)}", "method" if len(run.methods) == 1 else "methods"),
        (f"{len(completed_trials)}", "trainings"),
        (f"{run.settings['epochs']}", "epochs each"),
        (f"{run.task['training']:,}", "training rows"),
        (f"{run.task['held_out']:,}", "held-out rows"),
        (numbers.duration(seconds), "in all"),
    ]
    if run.task["splits"] > 1:
        facts.insert(2, (f"{run.task['splits']}", "folds"))
    return facts


def _data(run: RunRecord) -> list[tuple[str, str]]:
    """The data's facts, in words."""
    task = run.task
    lines = [
        ("source", task["source"]),
        ("kind", f"{task['modality']} {task['kind']}"),
        ("rows", f"{task['rows']:,}"),
        ("shape of a row", " × ".join(map(str, task["shape"]))),
        ("split", f"{task['training']:,} to train on, {task['held_out']:,} held out"),
        ("target", task["target"]),
        ("fingerprint", task["fingerprint"]),
    ]
    if task["splits"] > 1:
        lines.insert(5, ("folds", f"{task['splits']}"))
    return [(name, str(value)) for name, value in lines if value not in (None, "")]


def _day(created: str) -> str:
    return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M} UTC"


def _breakable(name: str) -> Markup:
    """A name that may break into lines between its parameters."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[:,=_/])", name))


def _plain(value: Any) -> str:
    """A setting as a reader would write it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
