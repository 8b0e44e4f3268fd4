from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.core.target import ClassTarget, Target
from vicinal.objectives.signal_annealing import SignalAnnealing

GOLDEN = json.loads((Path(__file__).parent / "golden" / "uda.json").read_text())
SCHEDULES = ["linear", "exp", "log"]


def classes(*labels: int) -> ClassTarget:
    target = Target.of(torch.tensor(labels))
    assert isinstance(target, ClassTarget)
    return target


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_thresholds_are_those_of_the_authors(schedule: Any) -> None:
    annealing = SignalAnnealing(schedule)
    ours = [annealing.threshold(at / GOLDEN["steps"], GOLDEN["classes"]) for at in GOLDEN["at"]]
    assert ours == pytest.approx(GOLDEN["thresholds"][schedule], rel=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_loss_is_that_of_the_authors(schedule: Any) -> None:
    labelled = GOLDEN["labelled"]
    loss, kept = SignalAnnealing(schedule)(
        torch.tensor(labelled["output"]),
        classes(*labelled["labels"]),
        labelled["at"] / GOLDEN["steps"],
    )
    assert loss.item() == pytest.approx(labelled["loss"][schedule], rel=1e-5)
    assert kept.item() == pytest.approx(labelled["kept"][schedule])


def test_thresholds_start_at_chance_and_end_at_one() -> None:
    linear, exp, log = (SignalAnnealing(schedule) for schedule in ("linear", "exp", "log"))
    assert linear.threshold(0, 4) == pytest.approx(1 / 4)
    assert log.threshold(0, 4) == pytest.approx(1 / 4)
    assert exp.threshold(0, 4) == pytest.approx(1 / 4 + math.exp(-5) * 3 / 4)
    assert linear.threshold(1, 4) == exp.threshold(1, 4) == 1
    assert log.threshold(1, 4) == pytest.approx(1 - math.exp(-5) * 3 / 4)
    halfway = [schedule.threshold(0.5, 4) for schedule in (exp, linear, log)]
    assert halfway == sorted(halfway)


def test_where_all_samples_are_known_the_loss_is_zero_and_so_is_the_gradient() -> None:
    output = torch.tensor([[9.0, 0.0], [0.0, 9.0]], requires_grad=True)
    loss, kept = SignalAnnealing("linear")(output, classes(0, 1), 0.1)
    assert loss == 0
    assert kept == 0
    loss.backward()
    assert output.grad is not None
    assert (output.grad == 0).all()


def test_only_samples_that_are_not_known_yet_move_the_model() -> None:
    output = torch.tensor([[9.0, 0.0], [0.2, 0.0], [9.0, 0.0]], requires_grad=True)
    loss, kept = SignalAnnealing("linear")(output, classes(0, 0, 1), 0.5)
    loss.backward()
    assert output.grad is not None
    assert (output.grad != 0).any(dim=1).tolist() == [False, True, True]
    assert kept.item() == pytest.approx(2 / 3)
    by_hand = (math.log(1 + math.exp(-0.2)) + math.log(1 + math.exp(9.0))) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_at_the_end_it_is_the_plain_loss() -> None:
    output = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) * 20
    target = classes(*(row % 3 for row in range(8)))
    loss, kept = SignalAnnealing("exp")(output, target, 1.0)
    torch.testing.assert_close(loss, target.loss(output))
    assert kept == 1


def test_of_a_mixture_the_weighted_probability_is_asked_for() -> None:
    half = torch.full((1,), 0.5)
    mixed = classes(0).mix(classes(1), half)
    output = torch.tensor([[4.0, 0.0]])  # 0.98 and 0.02, 0.5 under the mixture
    assert SignalAnnealing("linear")(output, classes(0), 0.5)[1] == 0
    assert SignalAnnealing("linear")(output, mixed, 0.5)[1] == 1


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule must be one of linear, exp, log, got 'cosine'"):
        SignalAnnealing("cosine")  # type: ignore[arg-type]
