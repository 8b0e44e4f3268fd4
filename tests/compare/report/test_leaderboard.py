"""The table of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from vicinal.compare.report.leaderboard import Row, leaderboard
from vicinal.compare.report.numbers import Score

ACCURACY = Score.of("accuracy", 0.9)


def rows_of(made: Any, score: Score = ACCURACY) -> dict[str, Row]:
    """By method, in their order."""
    rows = leaderboard(made.run, made.trials, made.verdicts, score)
    return {row.method: row for row in rows}


def test_a_row_has_the_numbers_of_its_trainings(story: Callable[..., Any]) -> None:
    made = story(failed=[("randaugment", 3)])
    rows = rows_of(made)
    assert list(rows) == ["mixup", "cutmix:alpha=0.5", "none", "randaugment"]
    for verdict in made.verdicts:
        row = rows[verdict.method]
        own = [t for t in made.trials if t.method == row.method and t.state == "done"]
        assert row.mean == pytest.approx(fmean(t.metrics["accuracy"] for t in own))
        assert row.score == f"{100 * row.mean:.1f} %"
        assert row.further == {
            "ece": f"{fmean(t.metrics['ece'] for t in own):.3f}",
            "nll": f"{fmean(t.metrics['nll'] for t in own):.3f}",
        }
        assert row.word == verdict.word
        if row.method == "none":
            assert row.difference == row.between == row.p == ""
            continue
        low, middle, high = (
            f"{100 * value:+.1f}".replace("-", "−")
            for value in (verdict.low, verdict.difference, verdict.high)
        )
        assert (row.difference, row.between) == (middle, f"{low} to {high}")
        assert row.p == f"{verdict.p_holm:.3f}"


def test_failed_trainings_are_counted_named_and_kept_out_of_the_means(
    story: Callable[..., Any],
) -> None:
    row = rows_of(story(failed=[("mixup", 1), ("mixup", 4)]))["mixup"]
    assert (row.done, row.failed, row.missing) == (3, 2, 0)
    assert row.errors == [
        f"seed {seed}: the loss is inf in epoch 3: try a lower --learning-rate" for seed in (1, 4)
    ]


def test_trainings_that_have_not_run_yet_are_missing(story: Callable[..., Any]) -> None:
    made = story()
    rows = rows_of(replace(made, trials=[t for t in made.trials if t.seed != 4]))
    assert {(row.done, row.missing) for row in rows.values()} == {(4, 1)}


def test_a_method_that_never_finished_comes_last(story: Callable[..., Any]) -> None:
    rows = rows_of(story(failed=[("mixup", seed) for seed in range(5)]))
    assert list(rows)[-1] == "mixup"
    assert (rows["mixup"].score, rows["mixup"].half, rows["mixup"].further) == ("–", "", {})


def test_the_lowest_error_comes_first(story: Callable[..., Any]) -> None:
    made = story(kind="regression", gains=(0, -0.05, 0, 0.05))
    rows = rows_of(made, Score.of("rmse", 53.0))
    assert list(rows) == ["mixup", "none", "cutmix:alpha=0.5", "randaugment"]
    assert rows["mixup"].difference.startswith("−")
    assert set(rows["mixup"].further) == {"mae", "r2"}


def test_the_interval_of_a_mean_is_that_of_the_t_distribution(story: Callable[..., Any]) -> None:
    from scipy import stats

    made = story()
    own = [100 * t.metrics["accuracy"] for t in made.trials if t.method == "mixup"]
    low, high = stats.t.interval(0.95, 4, loc=fmean(own), scale=stats.sem(own))
    assert rows_of(made)["mixup"].half == f"{(high - low) / 2:.1f} %"


def test_trainings_on_one_fold_are_no_independent_witnesses(story: Callable[..., Any]) -> None:
    from scipy import stats

    made = story(folds=4, seeds=2)
    folds = [
        fmean(
            100 * t.metrics["accuracy"]
            for t in made.trials
            if (t.method, t.fold) == ("mixup", fold)
        )
        for fold in range(4)
    ]
    # Variance times 1/n + test/train, after Nadeau and Bengio.
    half = stats.t.isf(0.025, 3) * stats.tstd(folds) * (1 / 4 + made.run.overlap) ** 0.5
    assert rows_of(made)["mixup"].half == f"{half:.1f} %"


def test_training_time_is_compared_over_the_trainings_that_both_completed(
    story: Callable[..., Any],
) -> None:
    made = story(seeds=3)
    slow = {("none", 0): 10.0, ("none", 1): 20.0, ("mixup", 1): 30.0, ("mixup", 2): 900.0}
    trials = [
        replace(t, seconds=slow[t.method, t.seed])
        for t in made.trials
        if (t.method, t.seed) in slow
    ]
    row = rows_of(replace(made, trials=trials))["mixup"]
    assert (row.overhead, row.seconds) == ("+50 %", "7 min 45 s")
