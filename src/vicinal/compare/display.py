"""What the terminal shows while a comparison runs, and at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from vicinal.compare.comparison import CHOSEN, Comparison, Outcome
from vicinal.compare.records import RunRecord, TrialRecord
from vicinal.compare.statistics import Verdict, describe
from vicinal.compare.trial import Trial
from vicinal.compare.verdict import difference, remark, unit
from vicinal.evaluate import METRICS, primary_metric

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bars
    from rich.table import Table

STYLES = {"helps": "green", "hurts": "red"}


def show_choices(console: Console, comparison: Comparison) -> None:
    """What was found in the data, and what was chosen."""
    from rich.table import Table

    run = comparison.run
    task = run.task
    kind = f"{len(task['classes'])} classes" if task["classes"] else "regression"
    shape = " x ".join(map(str, task["shape"]))
    rows = "scenes of points" if task["modality"] == "points" else f"rows of {shape}"
    console.print(
        f"[bold]{run.name}[/]: {task['rows']} {rows}, {kind}; "
        f"{task['training']} to train on, {task['held_out']} held out"
        + (f", {task['splits']} folds" if task["splits"] > 1 else ""),
        highlight=False,
    )
    for note in task["notes"]:
        console.print(f"  [yellow]![/] {_plain(note)}", highlight=False)
    for label, reason in run.left_out.items():
        console.print(f"  [yellow]![/] {_plain(label)} is left out: {reason}", highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for name in CHOSEN:
        why = _plain(run.reasons.get(name, "as asked for"))
        table.add_row(f"  {name.replace('_', ' ')}", str(run.settings[name]), why)
    console.print(table, highlight=False, style="dim")
    settings = run.settings
    last = settings["first_seed"] + settings["seeds"] - 1
    console.print(
        f"{len(comparison.trials)} trials: {len(run.methods)} methods, "
        f"seeds {settings['first_seed']} to {last}"
        + (f", {task['splits']} folds" if task["splits"] > 1 else "")
        + f"; on {settings['device']}, {settings['precision']}, "
        f"{settings['workers']} at a time with {settings['threads']} threads each",
        highlight=False,
    )


class Board:
    """The live leaderboard: a bar for all trials, one for each that runs, and the scores so far."""

    def __init__(self, console: Console, comparison: Comparison) -> None:
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._console = console
        self._comparison = comparison
        self._records: list[TrialRecord] = []
        self._bars: Bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._all = self._bars.add_task("trials", total=len(comparison.trials))
        self._running: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
            self._refresh()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    @property
    def records(self) -> Sequence[TrialRecord]:
        """The trials that ended."""
        return self._records

    def on_progress(self, trial: Trial, share: float) -> None:
        """A trial got so far."""
        name = f"{trial.method}, seed {trial.seed}, fold {trial.fold}"
        if share < 1:
            self._running[name] = share
        else:  # a worker's last message may come after its result
            self._running.pop(name, None)
        self._refresh()

    def on_done(self, record: TrialRecord) -> None:
        """A trial ended."""
        self._running.pop(f"{record.method}, seed {record.seed}, fold {record.fold}", None)
        self._take(record, "")

    def on_known(self, record: TrialRecord) -> None:
        """A trial was in the store already."""
        self._take(record, " (from the store)")

    def _take(self, record: TrialRecord, remark: str) -> None:
        self._records.append(record)
        self._bars.update(self._all, completed=len(self._records))
        if not self._console.is_terminal:
            line = _line(record, self._comparison) + remark
            self._console.print(line, highlight=False, soft_wrap=True)
        self._refresh()

    def _refresh(self) -> None:
        from rich.console import Group

        if not self._console.is_terminal:
            return
        parts: list[RenderableType] = [standings(self._comparison.run, self._records), self._bars]
        parts += [f"  {name}: {share:.0%}" for name, share in self._running.items()]
        self._live.update(Group(*parts))


def _line(record: TrialRecord, comparison: Comparison) -> str:
    name = primary_metric(comparison.run.task["kind"])
    what = (
        f"{name} {METRICS[name].format(record.metrics[name])}, {record.wall_seconds:.1f} s"
        if record.state == "done"
        else f"failed: {record.error}"
    )
    fold = f", fold {record.fold}" if comparison.run.task["splits"] > 1 else ""
    return f"{_plain(record.method)}, seed {record.seed}{fold}: {what}"


def standings(run: RunRecord, records: Sequence[TrialRecord]) -> Table:
    """Mean scores so far, no verdicts yet: a leader after one trial is no winner."""
    from rich.table import Table

    name = primary_metric(run.task["kind"])
    metric = METRICS[name]
    table = Table(title="so far", title_justify="left")
    for heading in ("method", "trials", name):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    rows = []
    for label in run.methods:
        scores = [r.metrics[name] for r in records if r.method == label and r.state == "done"]
        rows.append((label, len(scores), fmean(scores) if scores else math.nan))
    worst = -math.inf if metric.higher_is_better else math.inf
    rows.sort(
        key=lambda row: worst if math.isnan(row[2]) else row[2], reverse=metric.higher_is_better
    )
    for label, count, mean in rows:
        table.add_row(label, str(count), "" if math.isnan(mean) else metric.format(mean))
    return table


def show_outcome(console: Console, outcome: Outcome) -> None:
    """The verdicts, what more seeds would tell, and the answer in a sentence."""
    console.print(verdict_table(outcome), highlight=False)
    for verdict in outcome.verdicts:
        if said := remark(verdict):
            console.print(f"  {_plain(verdict.method)}: {said}", highlight=False)
    failed = [record for record in outcome.trials if record.state == "failed"]
    for record in failed:
        console.print(
            f"[red]failed[/] {_plain(record.method)}, seed {record.seed}: {_plain(record.error)}",
            highlight=False,
        )
    console.print(headline(outcome), highlight=False)


def headline(outcome: Outcome) -> str:
    """The answer in a sentence."""
    baseline = outcome.run.baseline
    if outcome.usage.label is not None:
        best = next(v for v in outcome.verdicts if v.method == outcome.usage.label)
        name = primary_metric(outcome.run.task["kind"])
        return f"[bold green]{_plain(best.method)}[/] {describe(best, name)}"
    run = outcome.run
    done = sum(record.state == "done" for record in outcome.trials)
    planned = len(run.methods) * run.settings["seeds"] * run.task["splits"]
    if done < planned:
        return f"{done} of {planned} trials are done: no verdict stands before all are."
    if all(v.word in ("too few seeds", "baseline") for v in outcome.verdicts):
        return "One seed gives no verdict: run again with --seeds 2 or more."
    return f"No method is shown to beat {baseline} yet."


def show_usage(console: Console, outcome: Outcome) -> None:
    """The lines of Python and YAML."""
    use = outcome.usage
    what = (
        f"To use {use.label}" if use.label is not None else f"To go on with {outcome.run.baseline}"
    )
    console.print(f"\n{what}, in Python:\n", highlight=False, markup=False)
    console.print(_indented(use.python), highlight=False, markup=False, soft_wrap=True)
    console.print("\nas YAML, for vicinal compare --config:\n", highlight=False, markup=False)
    console.print(_indented(use.yaml), highlight=False, markup=False, soft_wrap=True)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def verdict_table(outcome: Outcome) -> Table:
    """A row for each method, the best first below the baseline."""
    from rich.table import Table
    from rich.text import Text

    run = outcome.run
    name = primary_metric(run.task["kind"])
    metric = METRICS[name]
    table = Table(
        title=f"\nheld-out {metric.name}; difference to {run.baseline} in {unit(name)} with its "
        "95 % interval; p after Holm",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    headings = ["method", metric.name, "difference", "p", "ECE", "time", ""]
    if run.task["kind"] == "regression":
        headings.remove("ECE")
    for heading in headings:
        left = heading in ("method", "")
        # Long names may wrap; numbers may not.
        table.add_column(
            heading,
            justify="left" if left else "right",
            no_wrap=heading != "method",
            overflow="fold" if heading == "method" else "ellipsis",
            min_width=12 if heading == "method" else None,
        )
    sign = 1 if metric.higher_is_better else -1
    order = sorted(
        outcome.verdicts,
        key=lambda v: (v.method != run.baseline, -sign * v.difference if v.pairs else math.inf),
    )
    for verdict in order:
        *cells, word = _row(verdict, outcome)
        table.add_row(*cells, Text(word, style=STYLES.get(verdict.word, "")))
    return table


def _row(verdict: Verdict, outcome: Outcome) -> list[str]:
    run = outcome.run
    name = primary_metric(run.task["kind"])
    metric = METRICS[name]
    done = [r for r in outcome.trials if r.method == verdict.method and r.state == "done"]
    row = [
        _plain(verdict.method),
        metric.format(fmean(r.metrics[name] for r in done)) if done else "",
    ]
    p = ""
    if not math.isnan(verdict.p_holm):
        p = "< 0.001" if verdict.p_holm < 0.001 else f"{verdict.p_holm:.3f}"
    compared = verdict.method != run.baseline and not math.isnan(verdict.difference)
    row += [" ".join(difference(verdict, name)).rstrip() if compared else "", p]
    if run.task["kind"] != "regression":
        row.append(f"{fmean(r.metrics['ece'] for r in done):.3f}" if done else "")
    row.append(overhead(verdict.method, outcome))
    return [*row, verdict.word]


def overhead(method: str, outcome: Outcome) -> str:
    """Training time over the baseline's, of the trials that both have."""
    seconds: dict[str, dict[tuple[int, int], float]] = {}
    for record in outcome.trials:
        if record.state == "done":
            seconds.setdefault(record.method, {})[record.seed, record.fold] = record.seconds
    base, own = seconds.get(outcome.run.baseline, {}), seconds.get(method, {})
    shared = base.keys() & own.keys()
    if method == outcome.run.baseline or not shared:
        return f"{fmean(own.values()):.1f} s" if own else ""
    ratio = sum(own[key] for key in shared) / max(sum(base[key] for key in shared), 1e-9)
    return f"{ratio - 1:+.0%}"


def _plain(text: str) -> str:
    """A text in which nothing is taken for markup."""
    from rich.markup import escape

    return escape(text)
