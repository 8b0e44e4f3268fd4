"""The answer in plain language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vicinal.compare.report.leaderboard import leaderboard
from vicinal.compare.report.numbers import Score
from vicinal.compare.report.words import Answer, answer


def answer_of(made: Any, name: str = "accuracy") -> Answer:
    score = Score.of(name, 0.9 if name == "accuracy" else 53.0)
    rows = leaderboard(made.run, made.trials, made.verdicts, score)
    return answer(made.run, rows, made.usage.label, score)


def found(said: Answer) -> list[str]:
    return ["".join(parts) for parts in said.found]


@pytest.mark.parametrize(
    ("options", "headline", "kind"),
    [
        ({}, "mixup helps on pets", "helps"),
        ({"gains": (0, 0.05, 0.04)}, "mixup helps on pets, and so does cutmix:alpha=0.5", "helps"),
        (
            {"gains": (0, 0.0, 0.0, -0.04)},
            "Nothing is shown to help on pets yet; randaugment hurts",
            "hurts",
        ),
        (
            {"gains": (0, -0.05, -0.05, -0.05)},
            "mixup, cutmix:alpha=0.5 and randaugment hurt on pets",
            "hurts",
        ),
        ({"gains": ()}, "No method is shown to help on pets yet", "unclear"),
        ({"seeds": 1}, "No verdict on pets", "unclear"),
        (
            {"methods": ["none"]},
            "Only the baseline, none, was trained: nothing was compared",
            "unclear",
        ),
        ({"failed": [("none", seed) for seed in range(5)]}, "No verdict on pets", "unclear"),
    ],
)
def test_the_headline_promises_no_more_than_the_verdicts(
    options: dict[str, Any], headline: str, kind: str, story: Callable[..., Any]
) -> None:
    said = answer_of(story(**options))
    assert (said.headline, said.kind) == (headline, kind)


def test_every_method_is_spoken_of(story: Callable[..., Any]) -> None:
    made = story(failed=[("randaugment", 3)])
    helps, hurts, unclear, failed = found(answer_of(made))
    assert helps.startswith("mixup helps: +")
    assert " points against the baseline (95 % interval +" in helps
    assert hurts.startswith("randaugment hurts: −")
    assert unclear.startswith("No evidence yet for cutmix:alpha=0.5 (")
    assert failed == "Trainings failed: 1 of randaugment."


def test_the_best_of_several_that_help_is_no_verdict_among_them(
    story: Callable[..., Any],
) -> None:
    lines = found(answer_of(story(gains=(0, 0.05, 0.04))))
    assert (
        "mixup has the best mean of those that help; they were not tested against each other."
        in lines
    )


def test_of_many_open_methods_only_the_nearest_to_a_verdict_is_explained(
    story: Callable[..., Any],
) -> None:
    made = story(methods=["none", *"abcdef"], gains=())
    (line,) = found(answer_of(made))
    more = {v.method: v.more_seeds for v in made.verdicts if v.more_seeds is not None}
    near = min(more, key=lambda method: more[method])
    assert line.startswith("No evidence yet for ")
    assert f"; the nearest to a verdict is {near} (about " in line
    assert line.count("(") == 1


def test_one_seed_gives_no_verdict_and_says_what_to_do(story: Callable[..., Any]) -> None:
    said = answer_of(story(seeds=1))
    (line,) = found(said)
    assert line.startswith("No verdict is possible on mixup, cutmix:alpha=0.5 and randaugment:")
    assert "--seeds 3" in line
    assert said.sure[0].startswith("Not at all")


def test_what_the_interval_covers_depends_on_the_splits(story: Callable[..., Any]) -> None:
    one, folds = answer_of(story()), answer_of(story(folds=4, seeds=2))
    assert "which rows were held out" not in one.sure[0]
    assert "which rows were held out" in folds.sure[0]
    assert "seeds cannot show whether other held-out rows" in one.sure[1]
    assert "seeds cannot show" not in folds.sure[1]
    assert "If none of the 3 methods had an effect, at most 5 of 100 such runs" in one.sure[0]
    assert one.sure[1].endswith("One held-out row more or less is 0.2 percentage points.")
    assert "with 2 seeds on each of 4 folds" in folds.asked


def test_regression_is_told_in_units_of_the_target(story: Callable[..., Any]) -> None:
    said = answer_of(story(kind="regression", gains=(0, -0.05, 0, 0.05)), "rmse")
    assert found(said)[0].startswith("mixup helps: −")
    assert "points" not in " ".join([*found(said), *said.sure])
    assert "by RMSE on 500 held-out rows" in said.asked
