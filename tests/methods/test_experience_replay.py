"""Classes that arrive some at a time, and what is kept of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.methods.ground import BATCH, images, make_setting, run
from torch import Tensor

from vicinal import Batch
from vicinal.core.method import Learner
from vicinal.methods.experience_replay import ExperienceReplay
from vicinal.transforms.image.crop import PadCrop


class Watched(ExperienceReplay):
    """Notes the rows of every step: those that arrived, and all that are trained on."""

    def __init__(self, tasks: int, *, memory: int = 20, replayed: float = 0.5) -> None:
        super().__init__(tasks, memory=memory, replayed=replayed)
        self.arrived: list[Tensor] = []
        self.trained: list[Tensor] = []

    def union(self, learner: Learner, batch: Batch) -> Batch:
        union = super().union(learner, batch)
        self.arrived.append(batch.index)
        self.trained.append(union.index)
        assert isinstance(union.target, type(batch.target))
        return union


def test_classes_come_one_after_the_other_and_do_not_come_back() -> None:
    method = Watched(3)
    run(method, epochs=1)  # five steps of twelve rows, a task every other step
    classes = [set(images().y[rows].tolist()) for rows in method.arrived]
    assert all(len(of_step) == 1 for of_step in classes)
    assert [min(of_step) for of_step in classes] in ([0, 0, 1, 2, 2], [0, 0, 1, 1, 2])
    rows = torch.cat(method.arrived)
    assert len(rows.unique()) == len(rows)  # one pass


def test_what_is_replayed_had_arrived_before_and_the_first_batch_is_alone() -> None:
    method = Watched(3)
    run(method, epochs=2)
    before: set[int] = set()
    for arrived, trained in zip(method.arrived, method.trained, strict=True):
        assert torch.equal(trained[: len(arrived)], arrived)
        replayed = trained[len(arrived) :]
        assert len(replayed) == (round(0.5 * len(arrived)) if before else 0)
        assert set(replayed.tolist()) <= before
        before |= set(arrived.tolist())


def test_the_memory_holds_no_more_than_it_may_and_counts_what_it_holds() -> None:
    method = Watched(3, memory=7)
    learner, _ = run(method, epochs=2)
    memory = method.replay(learner)
    assert len(memory) == 7
    kept = images().y[memory.rows].bincount(minlength=3)
    assert torch.equal(learner.memory["kept"], kept)
    arrived = images().y[torch.cat(method.arrived)].bincount(minlength=3)
    assert torch.equal(learner.memory["arrived"], arrived)
    assert learner.memory["new"].tolist() == [False, False, True]


def test_a_row_looks_different_each_time_it_is_replayed() -> None:
    method = ExperienceReplay(1, memory=20)
    everything = images().batch(torch.arange(60), epoch=0)
    learner = method.start(dataclasses.replace(make_setting(5), baseline=PadCrop(2)))
    batch = everything[torch.arange(BATCH)]
    views = []
    for step in range(2):
        learner.step = step
        views.append(method.augmented(learner, method.union(learner, batch))[0].tensor)
    assert not torch.equal(*views)


def test_tasks_without_classes_are_refused() -> None:
    regression = dataclasses.replace(make_setting(5), kind="regression", outputs=1)
    with pytest.raises(ValueError, match="where there are classes"):
        ExperienceReplay().start(regression)
    with pytest.raises(ValueError, match="tasks must be in"):
        ExperienceReplay(0)
    with pytest.raises(ValueError, match="memory must be in"):
        ExperienceReplay(memory=0)
