"""Every arm of a comparison stands on the same ground."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from vicinal.compare.plan import Recipe, trial_key
from vicinal.compare.records import TrialRecord
from vicinal.compare.trial import Arena, Trial, make_baseline, run_trial
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.method import Learner, Method, Phase, Stream
from vicinal.core.task import Task
from vicinal.data.embedded import rooms
from vicinal.data.splits import Split
from vicinal.methods.arms import parse_arm
from vicinal.methods.supervised import Supervised

ARMS = ("none", "bare", "mixup", "cutmix", "manifold_mixup", "cutout", "label_smoothing")
RECIPE = Recipe(
    model="small-resnet:width=8",
    model_fingerprint="",
    epochs=2,
    batch_size=8,
    optimiser="sgd",
    learning_rate=0.05,
    weight_decay=1e-4,
    crop=1,
    flip=True,
    folds=None,
    holdout=0.2,
    device="cpu",
    precision="32-true",
    threads=1,
)
SPLIT = Split(torch.arange(0, 40), torch.arange(40, 60))


def task(seed: int = 0) -> Task:
    """Stripes, across or down, in noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(60) % 2
    stripes = (torch.arange(8) % 2 * 160).expand(8, 8)
    x = torch.stack([stripes if label else stripes.T for label in y])[:, None]
    noise = torch.randint(0, 96, x.shape, generator=generator)
    x = (x + noise).to(torch.uint8)
    return Task("stripes", "image", "classification", x, y, classes=("down", "across"))


def run(method: Method, *, data: Task | None = None, seed: int = 1) -> TrialRecord:
    trial = Trial("key", "arm", seed, 0)
    return run_trial(trial, method, task=data or task(), split=SPLIT, recipe=RECIPE)


def numbers(record: TrialRecord) -> dict[str, object]:
    """All of a record but what the clock says."""
    fields = dataclasses.asdict(record)
    return {k: repr(v) for k, v in fields.items() if "seconds" not in k and k != "finished"}


@pytest.mark.parametrize("name", ARMS)
def test_a_trial_gives_the_same_numbers_again_whatever_the_global_state(name: str) -> None:
    method = parse_arm(name).method()
    first = numbers(run(method))
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    assert numbers(run(method)) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_differ() -> None:
    method = parse_arm("none").method()
    assert numbers(run(method, seed=1))["curves"] != numbers(run(method, seed=2))["curves"]


def test_every_arm_takes_the_same_number_of_steps() -> None:
    assert {run(parse_arm(name).method()).steps for name in ARMS} == {2 * 40 // 8}


def test_every_arm_starts_from_the_same_weights() -> None:
    arena = Arena(task(), SPLIT, RECIPE, seed=3)
    states = [parse_arm(name).method().start(arena.setting).model.state_dict() for name in ARMS]
    for state in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in state.items())


class Watching(Supervised):
    """Plain training that remembers which rows it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        self.seen.append(batches["train"].index)
        return super().step(learner, batches)


def test_scenes_of_points_are_turned_and_mirrored_but_never_tilted_before_every_arm() -> None:
    data = rooms()
    baseline = make_baseline(data, crop=RECIPE.crop, flip=RECIPE.flip)
    assert baseline is not None
    batch = Batch(data.x, None, torch.arange(len(data.y)))[:20]
    before = batch.x["position"].values
    after = baseline(batch, draws=Draws(0, batch.index)).x["position"].values
    assert torch.equal(after[:, 2], before[:, 2])
    assert not torch.isclose(after[:, 0], before[:, 0]).all()
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
    # Of a turn the determinant is positive, of one with a single flip negative.
    old, new = batch.x["position"].rows(), batch.x["position"].with_values(after).rows()
    moves = [torch.linalg.lstsq(was, now).solution for was, now in zip(old, new, strict=True)]
    assert {float(move.det().sign()) for move in moves} == {-1.0, 1.0}


def test_training_sees_training_rows_alone_each_once_an_epoch() -> None:
    method = Watching()
    run(method)
    epochs = torch.cat(method.seen).view(2, -1)
    assert all(epoch.sort().values.tolist() == list(range(40)) for epoch in epochs)


class Hungry(Watching):
    """Writes down the unlabelled rows that arrive too."""

    apart = {"unlabelled": 0.0}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.unlabelled: list[Tensor] = []

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(streams={"train": Stream(), "unlabelled": Stream("unlabelled")}),)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        self.unlabelled.append(batches["unlabelled"].index)
        assert batches["unlabelled"].target is None
        return super().step(learner, batches)


def test_with_few_labels_every_arm_trains_on_the_same_few_rows_for_as_many_steps() -> None:
    recipe = dataclasses.replace(RECIPE, labels_per_class=5, batch_size=5, epochs=6)

    def trained(method: Watching, seed: int, data: Task | None = None) -> TrialRecord:
        trial = Trial("key", "arm", seed, 0)
        return run_trial(trial, method, task=data or task(), split=SPLIT, recipe=recipe)

    plain, hungry, other = Watching(), Hungry(), Watching()
    records = [trained(plain, 1), trained(hungry, 1), trained(other, 2)]
    assert [record.steps for record in records] == [12, 12, 12]
    known, same, elsewhere = (set(torch.cat(m.seen).tolist()) for m in (plain, hungry, other))
    assert known == same
    assert known != elsewhere
    labels = task().y
    assert sorted(labels[sorted(known)].tolist()) == [0] * 5 + [1] * 5
    hidden = set(torch.cat(hungry.unlabelled).tolist())
    assert hidden == set(range(40)) - known
    arena = Arena(task(), SPLIT, recipe, seed=1)
    assert set(arena.rows.tolist()) == known
    assert set(arena.parts["unlabelled"].tolist()) == hidden


def test_held_out_labels_cannot_reach_training() -> None:
    data = task()
    swapped = data.y.clone()
    swapped[40:] = 1 - swapped[40:]
    method = parse_arm("mixup").method()
    honest = run(method, data=data)
    other = run(method, data=dataclasses.replace(data, y=swapped))
    assert other.curves["train loss"] == honest.curves["train loss"]
    assert other.metrics["accuracy"] == pytest.approx(1 - honest.metrics["accuracy"])


def test_the_statistics_of_the_inputs_are_those_of_the_training_rows() -> None:
    data = task()
    changed = data.x.clone()
    changed[40:] = 255
    honest = run(parse_arm("none").method(), data=data)
    other = run(parse_arm("none").method(), data=dataclasses.replace(data, x=changed))
    assert other.curves["train loss"] == honest.curves["train loss"]


def test_curves_have_a_value_an_epoch_and_end_with_the_result() -> None:
    record = run(parse_arm("none").method())
    assert {len(curve) for curve in record.curves.values()} == {2}
    assert record.curves["held-out accuracy"][-1] == record.metrics["accuracy"]


def test_regression_is_judged_in_the_unit_of_its_target() -> None:
    x = torch.linspace(-1, 1, 200)[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    y = 1000 + 50 * x
    data = Task("line", "tabular", "regression", x[:, None], y, columns=("x",))
    recipe = dataclasses.replace(
        RECIPE, model="mlp", epochs=20, optimiser="adamw", learning_rate=3e-3, crop=0, flip=False
    )
    split = Split(torch.arange(150), torch.arange(150, 200))
    record = run_trial(
        Trial("key", "none", 0, 0),
        parse_arm("none").method(),
        task=data,
        split=split,
        recipe=recipe,
    )
    assert record.metrics["rmse"] < 5  # of a spread of 29 about 1000
    assert record.metrics["r2"] > 0.95


@pytest.mark.parametrize(
    "change",
    [
        {"method": "mixup"},
        {"code": "edited"},
        {"seed": 2},
        {"fold": 1},
        {"recipe": dataclasses.replace(RECIPE, epochs=3)},
        {"recipe": dataclasses.replace(RECIPE, threads=2)},
        {"recipe": dataclasses.replace(RECIPE, labels_per_class=4)},
        {"recipe": dataclasses.replace(RECIPE, model_fingerprint="other source")},
        {"task": dataclasses.replace(task(), fingerprint="other pixels")},
    ],
)
def test_whatever_decides_a_result_changes_the_key(change: dict[str, object]) -> None:
    facts: dict[str, object] = {
        "method": "none",
        "code": "",
        "seed": 1,
        "fold": 0,
        "recipe": RECIPE,
    }
    facts["task"] = task()

    def key(facts: dict[str, object]) -> str:
        return trial_key(facts.pop("task"), facts.pop("recipe"), **facts)  # type: ignore[arg-type]

    assert key(dict(facts)) == key(dict(facts))
    assert key(facts | change) != key(dict(facts))
