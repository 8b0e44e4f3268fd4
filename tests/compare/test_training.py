from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.ground import BATCH, images, make_setting, run
from torch import Tensor

from vicinal.compare.training import Examples, TrainingFailed, divide, train
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Part, Phase, Stream
from vicinal.core.target import ClassTarget, RegressionTarget
from vicinal.methods.supervised import Supervised


class Recorder(Method):
    """Keeps what arrives, and reports the number of the step."""

    def __init__(
        self,
        *phases: Phase,
        apart: Mapping[Part, float] | None = None,
        **streams: Stream,
    ) -> None:
        self.planned = phases or (Phase(streams=streams or {"train": Stream()}),)
        self.apart = apart or {}
        self.entered: list[tuple[str, int, int]] = []
        self.arrived: list[dict[str, Batch]] = []

    def phases(self) -> tuple[Phase, ...]:
        return self.planned

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        assert learner.phase == phase.name
        self.entered.append((phase.name, steps, learner.step))

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        self.arrived.append(dict(batches))
        return {"step": torch.tensor(learner.step)}

    def rows(self, name: str = "train") -> list[list[int]]:
        """The rows of every batch of a stream."""
        return [batches[name].index.tolist() for batches in self.arrived]

    def seen(self, name: str = "train") -> set[int]:
        """All rows that a stream has brought."""
        return {row for rows in self.rows(name) for row in rows}


# Streams.


def test_every_row_comes_once_an_epoch_with_its_input_and_label() -> None:
    method, plain = Recorder(), images()
    run(method, epochs=2)
    for epoch, batches in enumerate((method.arrived[:5], method.arrived[5:])):
        rows = torch.cat([batch["train"].index for batch in batches])
        assert sorted(rows.tolist()) == list(range(60))
        for batch in (one["train"] for one in batches):
            assert batch.epoch == epoch
            assert torch.equal(batch.x, plain.x[batch.index])
            assert isinstance(batch.target, ClassTarget)
            assert torch.equal(batch.target.labels[:, 0], plain.y[batch.index])


def test_a_stream_ahead_brings_what_the_main_one_brings_later() -> None:
    method = Recorder(train=Stream(), next=Stream(ahead=1), later=Stream(ahead=7))
    run(method, epochs=3)
    rows = method.rows()
    assert method.rows("next")[:-1] == rows[1:]
    assert method.rows("later")[:-7] == rows[7:]
    assert method.arrived[4]["next"].epoch == 1


@pytest.mark.parametrize("relative, size", [(0.5, 6), (2.0, 24), (0.01, 1)])
def test_batches_have_their_relative_size(relative: float, size: int) -> None:
    method = Recorder(train=Stream(), other=Stream(relative_size=relative))
    run(method)
    assert {len(rows) for rows in method.rows("other")} == {size}
    assert {len(rows) for rows in method.rows()} == {BATCH}


def test_parts_are_apart_and_unlabelled_rows_come_without_targets() -> None:
    method = Recorder(
        apart={"held_out": 0.2, "unlabelled": 0.3},
        train=Stream(),
        held=Stream("held_out"),
        bare=Stream("unlabelled"),
    )
    run(method, epochs=6)
    seen = {name: method.seen(name) for name in ("train", "held", "bare")}
    assert [len(rows) for rows in seen.values()] == [30, 12, 18]
    assert len(set.union(*seen.values())) == 60
    assert all(batches["bare"].target is None for batches in method.arrived)
    assert all(batches["held"].target is not None for batches in method.arrived)


def test_regression_takes_apart_and_hands_out_numbers() -> None:
    plain = images()
    examples = Examples(plain.x, plain.y.float())
    method = Recorder(apart={"held_out": 0.25}, train=Stream(), held=Stream("held_out"))
    run(method, examples=examples)
    batch = method.arrived[0]["held"]
    assert isinstance(batch.target, RegressionTarget)
    assert torch.equal(batch.target.values, examples.y[batch.index])
    assert len(method.seen("held")) == 15


def test_rows_that_come_with_the_data_replace_those_set_apart() -> None:
    method = Recorder(apart={"unlabelled": 0.5}, train=Stream(), bare=Stream("unlabelled"))
    run(method, rows=torch.arange(48), parts={"unlabelled": torch.arange(48, 60)})
    assert method.seen() == set(range(48))
    assert method.seen("bare") == set(range(48, 60))


def test_with_no_share_apart_the_training_rows_come_again_without_their_labels() -> None:
    method = Recorder(apart={"unlabelled": 0.0}, train=Stream(), bare=Stream("unlabelled"))
    run(method)
    assert method.seen() == method.seen("bare") == set(range(60))
    assert all(batches["bare"].target is None for batches in method.arrived)
    method = Recorder(apart={"unlabelled": 0.0}, train=Stream(), bare=Stream("unlabelled"))
    run(method, rows=torch.arange(48), parts={"unlabelled": torch.arange(48, 60)})
    assert method.seen("bare") == set(range(48, 60))


def test_a_pooled_stream_finds_partners_in_its_part_and_nowhere_else() -> None:
    method = Recorder(apart={"held_out": 0.2}, train=Stream(pooled=True), held=Stream("held_out"))
    run(method, epochs=1)
    batch = method.arrived[0]["train"]
    inside = torch.tensor(sorted(method.seen()))
    assert torch.equal(batch.take(inside).x, images().x[inside])
    with pytest.raises(LookupError):
        batch.take(method.arrived[0]["held"].index)


def test_a_pool_of_unlabelled_rows_has_no_labels_either() -> None:
    bare = Stream("unlabelled", pooled=True)
    method = Recorder(apart={"unlabelled": 0.5}, bare=bare)
    run(method, epochs=1)
    pool = method.arrived[0]["bare"].pool
    assert pool is not None
    assert pool.target is None


def one_of_each(
    rows: Tensor, size: int, *, seed: int, epoch: int, labels: Tensor | None
) -> Sequence[Tensor]:
    """Batches without two of a kind."""
    assert labels is not None
    return [
        torch.stack(row) for row in zip(*(rows[labels == one] for one in range(3)), strict=True)
    ]


def test_a_sampler_decides_which_rows_come_together() -> None:
    method = Recorder(train=Stream(), triples=Stream(sampler=one_of_each, ahead=1))
    run(method, epochs=6)
    for batches in method.arrived:
        assert batches["triples"].target.labels.flatten().tolist() == [0, 1, 2]
    # Twenty triples an epoch, one a step, and the first was skipped.
    assert [batches["triples"].epoch for batches in method.arrived] == [0] * 19 + [1] * 11


def test_a_sampler_sees_no_hidden_labels() -> None:
    seen: list[Tensor | None] = []

    def sampler(
        rows: Tensor, size: int, *, seed: int, epoch: int, labels: Tensor | None
    ) -> Sequence[Tensor]:
        seen.append(labels)
        return rows.split(size)

    bare = Stream("unlabelled", sampler=sampler)
    run(Recorder(apart={"unlabelled": 0.5}, bare=bare), epochs=1)
    assert seen == [None] * len(seen)
    assert seen


def test_a_sampler_cannot_bring_rows_of_another_part() -> None:
    def thief(
        rows: Tensor, size: int, *, seed: int, epoch: int, labels: Tensor | None
    ) -> Sequence[Tensor]:
        return [torch.arange(60)]

    method = Recorder(apart={"held_out": 0.2}, train=Stream(sampler=thief))
    with pytest.raises(ValueError, match="rows of its own part"):
        run(method)


def test_what_the_dataset_delivers_beside_comes_row_by_row() -> None:
    plain = images()
    method = Recorder()
    run(method, examples=Examples(plain.x, plain.y, {"weight": torch.arange(60) * 10}))
    for batch in (one["train"] for one in method.arrived):
        assert torch.equal(batch.extras["weight"], batch.index * 10)


# Parts.


@given(
    seed=st.integers(0, 1000),
    held=st.sampled_from([0.1, 0.2, 0.25]),
    bare=st.sampled_from([0.1, 0.3, 0.5]),
)
def test_shares_are_of_all_training_rows_in_every_class(
    seed: int, held: float, bare: float
) -> None:
    y = torch.arange(120) % 3
    rows = torch.arange(120)[torch.arange(120) % 6 < 5]  # 40 rows of class 0 and 1, 20 of 2
    method = Recorder(apart={"held_out": held, "unlabelled": bare})
    parts = divide(method, rows, y, seed=seed)
    assert sorted(torch.cat(list(parts.values())).tolist()) == rows.tolist()
    for label, count in enumerate((40, 40, 20)):
        for part, share in (("held_out", held), ("unlabelled", bare)):
            found = int((y[parts[part]] == label).sum())  # type: ignore[index]
            assert abs(found - share * count) <= 1


def test_for_one_share_every_arm_sets_the_same_rows_apart() -> None:
    rows, y = torch.arange(60), images().y
    first = divide(Recorder(apart={"held_out": 0.2}), rows, y, seed=3)
    second = divide(Recorder(apart={"held_out": 0.2, "unlabelled": 0.5}), rows, y, seed=3)
    other = divide(Recorder(apart={"held_out": 0.2}), rows, y, seed=4)
    assert torch.equal(first["held_out"], second["held_out"])
    assert not torch.equal(first["held_out"], other["held_out"])


@pytest.mark.parametrize("apart", [{"held_out": 1.0}, {"held_out": 0.6, "unlabelled": 0.4}])
def test_shares_that_leave_nothing_to_train_on_are_refused(apart: Mapping[Part, float]) -> None:
    with pytest.raises(ValueError, match="share of"):
        run(Recorder(apart=apart))


def test_too_few_rows_for_a_part_are_named() -> None:
    method = Recorder(apart={"held_out": 0.01}, held=Stream("held_out"))
    with pytest.raises(TrainingFailed, match=r"60 training rows are too few.*held_out"):
        run(method)


def test_a_row_cannot_be_in_two_parts() -> None:
    with pytest.raises(ValueError, match="a row is in two of the parts unlabelled, train"):
        run(Recorder(), parts={"unlabelled": torch.tensor([3])})


def test_a_stream_of_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ValueError, match="the part 'unlabelled' is wanted, which nothing sets apart"
    ):
        run(Recorder(bare=Stream("unlabelled")))


# Phases and steps.


def test_phases_take_their_shares_of_the_steps_and_know_them() -> None:
    method = Recorder(Phase("a", 0.25), Phase("b", 0.75), Phase("c", 0.0))
    learner, _ = run(method, epochs=4)
    assert method.entered == [("a", 5, 0), ("b", 15, 5), ("c", 0, 20)]
    assert learner.step == len(method.arrived) == 20


@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5), epochs=st.integers(1, 4))
def test_the_steps_of_all_phases_add_up_whatever_their_shares(cuts: list[int], epochs: int) -> None:
    method = Recorder(*(Phase(str(at), cut / sum(cuts)) for at, cut in enumerate(cuts)))
    learner, progress = run(method, epochs=epochs)
    assert learner.step == sum(steps for _, steps, _ in method.entered) == 5 * epochs
    assert progress.epoch == epochs


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.6), ()])
def test_shares_that_do_not_sum_to_one_are_refused_before_training(shares: Sequence[float]) -> None:
    method = Recorder(*(Phase(str(at), share) for at, share in enumerate(shares)))
    if not shares:
        method.planned = ()
    with pytest.raises(ValueError, match="the shares of the phases must sum to 1, got"):
        run(method)
    assert not method.arrived


def test_a_later_phase_goes_on_in_the_data_where_the_earlier_one_ended() -> None:
    method, whole = Recorder(Phase("a", 0.4), Phase("b", 0.6)), Recorder()
    run(method, epochs=2)
    run(whole, epochs=2)
    assert method.rows() == whole.rows()


def test_networks_are_in_training_mode_when_a_phase_is_entered() -> None:
    class Freezing(Recorder):
        def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
            assert learner.model.training
            learner.model.eval()

        def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
            assert not learner.model.training
            return super().step(learner, batches)

    method = Freezing(Phase("a", 0.5), Phase("b", 0.5))
    run(method)
    assert len(method.arrived) == 15


def test_steps_that_do_not_make_equal_epochs_are_refused() -> None:
    with pytest.raises(ValueError, match="7 steps do not make 2 equal epochs"):
        train(
            Recorder(),
            make_setting(7),
            images(),
            rows=torch.arange(60),
            batch_size=BATCH,
            epochs=2,
        )


def test_rows_fewer_than_a_batch_are_one_batch() -> None:
    method = Recorder()
    learner, progress = train(
        method,
        make_setting(3),
        images(),
        rows=torch.arange(5),
        batch_size=BATCH,
        epochs=3,
    )
    assert [sorted(rows) for rows in method.rows()] == [list(range(5))] * 3
    assert [batches["train"].epoch for batches in method.arrived] == [0, 1, 2]
    assert (learner.step, progress.epoch) == (3, 3)


# Curves.


def test_curves_are_means_over_the_steps_of_each_epoch() -> None:
    epochs: list[int] = []
    _, progress = run(Recorder(), observe=lambda _, at: epochs.append(at.epoch))
    assert progress.curves == {"train step": [2.0, 7.0, 12.0]}
    assert epochs == [1, 2, 3]
    assert progress.seconds > 0


def test_a_curve_is_nan_where_its_phase_did_not_report() -> None:
    class Changing(Recorder):
        def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
            return {learner.phase: torch.tensor(1.0)}

    _, progress = run(Changing(Phase("a", 0.3), Phase("b", 0.4), Phase("c", 0.3)), epochs=4)
    nan = math.nan
    assert repr(progress.curves) == repr(
        {
            "train a": [1.0, 1.0, nan, nan],
            "train b": [nan, 1.0, 1.0, nan],
            "train c": [nan, nan, 1.0, 1.0],
        }
    )


def test_reports_do_not_keep_the_graphs_of_past_steps() -> None:
    kept: list[weakref.ref[Tensor]] = []

    class Careless(Supervised):
        def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
            assert all(loss() is None for loss in kept[:-1])
            loss = learner.model(learner.setting.prepare(batches["train"].tensor)).mean()
            kept.append(weakref.ref(loss))
            return {"loss": loss}  # not detached

    run(Careless())
    assert len(kept) == 15


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training_at_its_epoch(value: float) -> None:
    class Diverging(Recorder):
        def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
            super().step(learner, batches)
            return {"loss": torch.tensor(value if learner.step == 7 else 1.0)}

    method = Diverging()
    with pytest.raises(TrainingFailed, match=f"train loss is {value} in epoch 2: try a lower"):
        run(method)
    assert len(method.arrived) == 10
