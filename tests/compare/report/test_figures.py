"""What the figures show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from vicinal.compare.records import ReliabilityBin, TrialRecord
from vicinal.compare.report.classes import class_changes
from vicinal.compare.report.differences import paired_differences
from vicinal.compare.report.figures import Course, learning_curves, pooled, reliability_diagram
from vicinal.compare.report.leaderboard import completed
from vicinal.compare.report.numbers import Score

nan = math.nan
ACCURACY = Score.of("accuracy", 0.9)


def trial(method: str = "none", seed: int = 0, **fields: Any) -> TrialRecord:
    return TrialRecord(f"{method}{seed}", method, seed, 0, "done", **fields)


def test_a_course_skips_what_was_not_measured_and_spans_all_trainings() -> None:
    course = Course.of([[nan, 0.5, nan, 0.9], [nan, 0.7, nan, 0.5], [nan, nan, nan, 0.4]])
    assert course.epochs == (2, 4)
    assert course.mean == pytest.approx((0.6, 0.6))
    assert (course.low, course.high) == ((0.5, 0.4), (0.7, 0.9))
    assert course.band == [(2, 0.7), (4, 0.9), (4, 0.4), (2, 0.5)]


def test_panels_share_their_axes_and_show_the_baseline_behind_others() -> None:
    def curves(level: float) -> dict[str, list[float]]:
        return {"train loss": [2.0, level], "held-out accuracy": [nan, level]}

    done = {"none": [trial(curves=curves(0.5))], "mixup": [trial("mixup", curves=curves(0.9))]}
    panels = learning_curves(done, "none", ACCURACY)
    (base_loss, _), (own_loss, own_score) = panels["none"], panels["mixup"]
    assert base_loss.panel == own_loss.panel
    assert base_loss.baseline is None
    assert own_loss.baseline == base_loss.course
    assert (own_score.course.epochs, own_score.last) == ((2,), "90.0 %")
    assert own_score.course.mean == pytest.approx((90.0,))


def test_a_method_without_curves_has_no_panel() -> None:
    assert learning_curves({"none": [trial()], "mixup": []}, "none", ACCURACY) == {}


def test_pooled_bins_are_those_of_all_predictions_together() -> None:
    one = ReliabilityBin(0.8, 0.9, 30, 0.84, 0.5)
    other = ReliabilityBin(0.8, 0.9, 10, 0.88, 0.9)
    empty = ReliabilityBin(0.0, 0.1, 0, nan, nan)
    (bin,) = pooled([one, empty, other, empty])
    assert (bin.count, bin.confidence, bin.accuracy) == pytest.approx((40, 0.85, 0.6))


def test_an_over_confident_bin_lies_below_the_diagonal() -> None:
    bins = [ReliabilityBin(0.8, 0.9, 30, 0.85, 0.6), ReliabilityBin(0.3, 0.4, 10, 0.35, 0.5)]
    diagram = reliability_diagram([trial(reliability=bins)])
    assert diagram is not None
    modest, bold = diagram.marks
    assert modest.down < modest.ideal
    assert bold.down > bold.ideal
    assert bold.radius > modest.radius
    assert (diagram.total, diagram.most) == (40, 30)
    assert [bar.height for bar in diagram.bars] == [12.0, 36.0]
    assert reliability_diagram([trial()]) is None


def test_a_bin_of_few_predictions_is_marked_as_such() -> None:
    bins = [ReliabilityBin(0.1, 0.2, 9, 0.15, 0.0), ReliabilityBin(0.2, 0.3, 10, 0.25, 0.0)]
    diagram = reliability_diagram([trial(reliability=bins)])
    assert diagram is not None
    assert [mark.few for mark in diagram.marks] == [True, False]


def test_class_changes_are_means_over_pairs_of_trainings() -> None:
    done = {
        "none": [trial(per_class={"a": 0.5, "b": 1.0}), trial(seed=1, per_class={"a": 0.7})],
        # Seed 2 has no counterpart.
        "mixup": [
            trial("mixup", seed=1, per_class={"a": 0.8}),
            trial("mixup", seed=0, per_class={"a": 0.8, "b": nan}),
            trial("mixup", seed=2, per_class={"a": 0.0, "b": 0.0}),
        ],
    }
    changes = class_changes(done, "none")
    assert changes is not None
    assert [(name, base, cell.text) for name, base, (cell,) in changes.rows] == [
        ("a", "60", "+20.0"),
        ("b", "100", "–"),
    ]


def test_of_many_classes_those_that_changed_most_are_shown() -> None:
    names = [f"c{i}" for i in range(100)]
    done = {
        "none": [trial(per_class=dict.fromkeys(names, 0.5))],
        "mixup": [trial("mixup", per_class={c: 0.5 + i / 300 for i, c in enumerate(names)})],
        "cutmix": [trial("cutmix", per_class=dict.fromkeys(names, 0.5) | {"c0": 0.1})],
    }
    changes = class_changes(done, "none")
    assert changes is not None
    assert changes.total == 100
    assert [name for name, *_ in changes.rows] == ["c0", *(f"c{i}" for i in range(99, 80, -1))]
    assert [cell.kind for cell in changes.rows[0][2]] == ["unclear", "hurts"]
    assert changes.rows[0][2][1].step == 8


def test_there_are_no_class_changes_without_classes_or_without_another_method() -> None:
    assert class_changes({"none": [trial()], "mixup": [trial("mixup")]}, "none") is None
    assert class_changes({"none": [trial(per_class={"a": 1.0})]}, "none") is None


def test_differences_show_every_pair_and_the_best_first(story: Callable[..., Any]) -> None:
    made = story(failed=[("randaugment", 3)])
    figure = paired_differences(made.run, made.trials, made.verdicts, ACCURACY)
    assert figure is not None
    assert [one.method for one in figure.strips] == ["mixup", "cutmix:alpha=0.5", "randaugment"]
    done = completed(made.run, made.trials)
    base = [one.metrics["accuracy"] for one in done["none"]]
    own = [one.metrics["accuracy"] for one in done["mixup"]]
    assert figure.strips[0].pairs == pytest.approx([a - b for a, b in zip(own, base, strict=True)])
    assert len(figure.strips[2].pairs) == 4
    assert figure.axis.low <= 0 <= figure.axis.high


def test_lower_errors_come_first(story: Callable[..., Any]) -> None:
    made = story(kind="regression", gains=(0, 0.05, 0, -0.05))
    rmse = Score.of("rmse", 53.0)
    figure = paired_differences(made.run, made.trials, made.verdicts, rmse)
    assert figure is not None
    assert [one.method for one in figure.strips][::2] == ["randaugment", "mixup"]


def test_an_interval_from_two_seeds_does_not_dwarf_the_points(story: Callable[..., Any]) -> None:
    made = story(seeds=2)
    figure = paired_differences(made.run, made.trials, made.verdicts, ACCURACY)
    assert figure is not None
    assert figure.cut
    points = [abs(pair) for one in figure.strips for pair in one.pairs]
    assert figure.axis.high < 3 * max(points)


def test_zero_is_in_the_figure_even_where_all_lies_beyond(story: Callable[..., Any]) -> None:
    made = story(gains=(0, -0.1, -0.1, -0.1))
    figure = paired_differences(made.run, made.trials, made.verdicts, ACCURACY)
    assert figure is not None
    assert not figure.cut
    assert max(pair for one in figure.strips for pair in one.pairs) < 0
    assert [figure.label(tick) for tick in (0.0, -0.05)] == ["0", "−5"]
    assert 0.0 in figure.axis.ticks


def test_with_one_method_there_is_no_figure(story: Callable[..., Any]) -> None:
    made = story(methods=["none"])
    assert paired_differences(made.run, made.trials, made.verdicts, ACCURACY) is None
