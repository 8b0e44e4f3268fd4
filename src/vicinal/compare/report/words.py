"""The answer in plain language: what was asked, what was found, how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vicinal.compare.records import RunRecord
from vicinal.compare.report.leaderboard import Row
from vicinal.compare.report.numbers import Score, count, listed


@dataclass(frozen=True)
class Answer:
    """The top of the page.

    kind: the class that colours it. found: a paragraph each, what is stressed and the rest.
    """

    headline: str
    kind: str
    asked: str
    found: list[tuple[str, str]]
    sure: list[str]


def answer(run: RunRecord, rows: Sequence[Row], winner: str | None, score: Score) -> Answer:
    """Say it.

    Args:
        run: what was asked for.
        rows: of the leaderboard.
        winner: the method to use, None where none beats the baseline.
        score: the metric that decides.
    """
    others = [row for row in rows if row.method != run.baseline]
    headline, kind = _headline(run, others, winner)
    found, sure = _found(run, rows, winner, score), _sure(run, others, score)
    return Answer(headline, kind, _asked(run, score), found, sure)


def _headline(run: RunRecord, others: Sequence[Row], winner: str | None) -> tuple[str, str]:
    if winner is not None:
        more = [row.method for row in _with(others, "helps") if row.method != winner]
        too = f", and so {'does' if len(more) == 1 else 'do'} {listed(more)}" if more else ""
        return f"{winner} helps on {run.name}{too}", "helps"
    if not others:
        return f"Only the baseline, {run.baseline}, was trained: nothing was compared", "unclear"
    if not any(row.p for row in others):
        return f"No verdict on {run.name}", "unclear"
    hurting = _with(others, "hurts")
    if hurting:
        names = listed([row.method for row in hurting])
        hurt = f"{names} {'hurts' if len(hurting) == 1 else 'hurt'}"
        if len(hurting) == len(others):
            return f"{hurt} on {run.name}", "hurts"
        return f"Nothing is shown to help on {run.name} yet; {hurt}", "hurts"
    return f"No method is shown to help on {run.name} yet", "unclear"


def _asked(run: RunRecord, score: Score) -> str:
    seeds, splits = run.settings["seeds"], run.task["splits"]
    trained = f"with {count(seeds, 'seed')}" + (f" on each of {splits} folds" if splits > 1 else "")
    held_out = count(run.task["held_out"], "held-out row") + (" a fold" if splits > 1 else "")
    return (
        f"Does training with another augmentation than the baseline, {run.baseline}, give a better "
        f"{run.settings['model']} for {run.name}? Every method was trained {trained}, with the "
        "same data, splits, initial weights and number of steps, and judged after its last epoch "
        f"by {score.metric.name} on {held_out} that it had not seen."
    )


def _found(
    run: RunRecord, rows: Sequence[Row], winner: str | None, score: Score
) -> list[tuple[str, str]]:
    lines = [
        (
            f"{row.method} {row.word}",
            f": {row.difference}{score.unit} against the baseline "
            f"(95 % interval {row.between}, p\N{NO-BREAK SPACE}{_equals(row.p)}).",
        )
        for word in ("helps", "hurts")
        for row in _with(rows, word)
    ]
    if winner is not None and len(_with(rows, "helps")) > 1:
        rest = " has the best mean of those that help; they were not tested against each other."
        lines.append((winner, rest))
    unclear = _with(rows, "no evidence yet")
    if unclear:
        lines.append(("No evidence yet", f" for {_undecided(unclear)}."))
    few = _names(rows, "too few seeds")
    if few:
        rest = (
            f" on {few}: a single pair of trainings cannot tell the effect of a method from the "
            "luck of a seed. Run again with --seeds 3 or more; finished trainings are kept."
        )
        lines.append(("No verdict is possible", rest))
    diverged = _names(rows, "diverged")
    if diverged:
        lines.append(("No verdict", f" on {diverged}: some of the scores are no numbers."))
    failed = [f"{row.failed} of {row.method}" for row in rows if row.failed]
    if failed:
        lines.append(("Trainings failed", f": {listed(failed)}."))
    return lines or [("Nothing", f": no method was named to hold against {run.baseline}.")]


def _undecided(rows: Sequence[Row]) -> str:
    """Their names, with what would settle them as far as there is room."""
    if len(rows) <= 3:
        return listed([f"{row.method} ({row.remark})" for row in rows])
    near = min(rows, key=lambda row: row.more or math.inf)
    tail = f"; the nearest to a verdict is {near.method} ({near.remark})" if near.more else ""
    return f"{listed([row.method for row in rows])}{tail}"


def _sure(run: RunRecord, others: Sequence[Row], score: Score) -> list[str]:
    tested = [row for row in others if row.p]
    if not tested:
        return [
            "Not at all: it takes trainings with different seeds to see how far luck alone "
            "moves the difference."
        ]
    splits = run.task["splits"]
    chance = "initial weights, order of the samples and draws of the augmentation" + (
        ", and which rows were held out" if splits > 1 else ""
    )
    if len(tested) == 1:
        rate = "If it had no effect, there would be a verdict in at most 5 of 100 such runs."
    else:
        rate = (
            f"If none of the {len(tested)} methods had an effect, at most 5 of 100 such runs would "
            "give any of them a verdict (Holm's correction)."
        )
    lines = [
        f"The intervals cover the randomness of training: {chance}. {rate}",
        "They do not cover other held-out data, another model, longer training, or other strengths "
        "of the same methods"
        + (
            "."
            if splits > 1
            else ": seeds cannot show whether other held-out rows would give the same answer."
        ),
    ]
    if score.metric.counted:
        step = 100 * score.metric.granularity(run.task["held_out"])
        lines[1] += f" One held-out row more or less is {step:.2g} percentage points."
    return lines


def _with(rows: Sequence[Row], word: str) -> list[Row]:
    return [row for row in rows if row.word == word]


def _names(rows: Sequence[Row], word: str) -> str:
    return listed([row.method for row in _with(rows, word)])


def _equals(p: str) -> str:
    # Not to be parted at the end of a line.
    return (p if p.startswith("<") else f"= {p}").replace(" ", "\N{NO-BREAK SPACE}")
