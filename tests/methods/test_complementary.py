from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.methods.ground import CLASSES, images, make_setting, run, weights

from vicinal import Batch, ClassTarget, Target
from vicinal.compare.training import Examples
from vicinal.core.complementary_target import ComplementaryTarget
from vicinal.methods.complementary import ComplementaryLabels


def hidden(seed: int, *rows: int, epoch: int = 0) -> torch.Tensor:
    """The classes that the method lets itself see of some rows."""
    method = ComplementaryLabels()
    learner = method.start(make_setting(5, seed=seed))
    batch, _ = method.augmented(learner, images().batch(torch.tensor(rows), epoch=epoch))
    assert isinstance(batch.target, ComplementaryTarget)
    assert batch.target.weights is None
    return batch.target.excluded[:, 0]


def test_a_row_is_never_said_not_to_be_what_it_is() -> None:
    rows = torch.arange(60)
    assert (hidden(0, *rows.tolist()) != images().y).all()


def test_a_row_keeps_its_label_in_every_epoch_and_company_and_not_over_seeds() -> None:
    rows = list(range(60))
    first = hidden(0, *rows)
    assert torch.equal(first, hidden(0, *rows, epoch=7))
    assert torch.equal(first[[50, 3]], hidden(0, 50, 3))
    assert not torch.equal(first, hidden(1, *rows))


def test_what_the_rows_truly_are_plays_no_other_part() -> None:
    # Under this transition the labels 0 and 1 give 2, and 2 gives 0: swapping 0 and 1 hides well.
    transition = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    plain = images()
    swapped = Examples(plain.x, torch.tensor([1, 0, 2])[plain.y])
    for loss in ("scl_nl", "forward"):
        method = ComplementaryLabels(loss, transition=transition)  # type: ignore[arg-type]
        (first, _), (second, _) = run(method), run(method, examples=swapped)
        assert torch.equal(weights(first.model), weights(second.model))


def test_complementary_labels_that_come_with_the_data_are_taken_as_they_are() -> None:
    method = ComplementaryLabels()
    learner = method.start(make_setting(5))
    batch = images().batch(torch.arange(6), epoch=0)
    given = batch.replace(target=ComplementaryTarget(torch.full((6, 1), 2)))
    ready, _ = method.augmented(learner, given)
    assert ready.target is given.target


def test_it_learns_the_classes_without_having_seen_one() -> None:
    method = ComplementaryLabels()
    learner, progress = run(method, epochs=12)
    plain = images()
    with torch.no_grad(), learner.evaluating():
        batch = plain.batch(torch.arange(60), epoch=0, labelled=False)
        right = method.predict(learner, batch).argmax(dim=1) == plain.y
    assert right.float().mean() > 0.9
    assert progress.curves["train score"][-1] > 0.95


def test_tasks_that_it_does_not_suit_are_refused() -> None:
    plain = make_setting(5)
    with pytest.raises(ValueError, match="at least 2 classes"):
        ComplementaryLabels().start(dataclasses.replace(plain, kind="regression", outputs=1))
    with pytest.raises(ValueError, match=f"of 4 classes, the task has {CLASSES}"):
        ComplementaryLabels(transition=(1 - torch.eye(4)) / 3).start(plain)
    with pytest.raises(ValueError, match="rows must sum to 1"):
        ComplementaryLabels(transition=torch.ones(3, 3))
    with pytest.raises(ValueError, match="loss must be one of"):
        ComplementaryLabels("nl")  # type: ignore[arg-type]
    method = ComplementaryLabels()
    learner = method.start(plain)
    mixed = Target.of(torch.tensor([0, 1])).mix(Target.of(torch.tensor([1, 2])), torch.ones(2))
    assert isinstance(mixed, ClassTarget)
    with pytest.raises(ValueError, match="one class a row"):
        method.hidden(learner, Batch(torch.zeros(2, 1, 8, 8), mixed, torch.arange(2)))
