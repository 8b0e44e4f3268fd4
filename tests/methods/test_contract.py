"""The contract of methods, held against every kind of recipe through the one trainer."""

from __future__ import annotations

import ast
import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.methods.ground import (
    BATCH,
    CLASSES,
    ConvNet,
    MakeNetwork,
    TokenNet,
    images,
    make_setting,
    prepare,
    run,
    weights,
)
from tests.methods.recipes.companions import Adversary, Distilled, MeanTeacher
from tests.methods.recipes.mixing import Attentive, PasteSalient, RandomLayer, Ranking
from tests.methods.recipes.partners import (
    ConfidentUnlabelled,
    LookAhead,
    Replayed,
    StoredMixup,
)
from tests.methods.recipes.phases import ClosedForm, ContrastThenProbe
from tests.methods.recipes.predictions import Averaged, JointLabels
from torch import Tensor, nn

from vicinal.compare import training
from vicinal.compare.training import Examples, Progress
from vicinal.core import registry
from vicinal.core.method import Learner, Method
from vicinal.core.probe import listening
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix


def teacher() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(99)
        return ConvNet(CLASSES)


def reinforced(records: int = 4) -> Examples:
    """The images with stored mixtures, and a teacher's probabilities for them."""
    plain = images()
    generator = torch.Generator().manual_seed(3)
    count = len(plain.y)
    partner = torch.randint(0, count, (count, records), generator=generator)
    kept = torch.rand(count, records, generator=generator)
    judged = torch.rand(count, records, CLASSES, generator=generator).softmax(dim=2)
    extras = {"mixing": StoredMixup(partner, kept), "teacher": judged}
    return Examples(plain.x, plain.y, extras)


@dataclass(frozen=True)
class Kind:
    """A kind of recipe.

    moved: the networks whose weights change.
    """

    method: Callable[[], Method]
    network: MakeNetwork = ConvNet
    examples: Callable[[], Examples] = images
    moved: frozenset[str] = frozenset({"model"})

    def run(self, **options: Any) -> tuple[Learner, Progress]:
        return run(
            self.method(), **{"network": self.network, "examples": self.examples()} | options
        )


KINDS = {
    "plain": Kind(Supervised),
    "input mixing": Kind(lambda: Supervised(prepared=CutMix())),
    "mixing at a random layer": Kind(RandomLayer),
    "saliency before": Kind(lambda: Supervised(prepared=PasteSalient())),
    "attention during": Kind(Attentive, network=TokenNet),
    "two losses": Kind(Ranking),
    "labelled and unlabelled": Kind(ConfidentUnlabelled),
    "frozen teacher": Kind(lambda: Distilled(teacher())),
    "mean teacher": Kind(MeanTeacher, moved=frozenset({"model", "teacher"})),
    "adversary": Kind(Adversary, moved=frozenset({"model", "masks"})),
    "look ahead": Kind(LookAhead, moved=frozenset({"model", "policy"})),
    "contrast, then probe": Kind(ContrastThenProbe, moved=frozenset({"model", "projection"})),
    "closed form": Kind(ClosedForm),
    "averaged prediction": Kind(Averaged),
    "joint labels": Kind(JointLabels),
    "replayed": Kind(Replayed, examples=reinforced),
}

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def everything(learner: Learner) -> dict[str, Tensor]:
    """All weights, statistics and memory of a learner, by name."""
    state = learner.state_dict()
    found = {f"memory {name}": tensor for name, tensor in state["memory"].items()}
    for name, network in state["networks"].items():
        found |= {f"{name} {key}": tensor for key, tensor in network.items()}
    return found


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


def alike(first: dict[str, list[float]], second: dict[str, list[float]]) -> bool:
    """Equal bit for bit, NaN where the other has NaN."""
    return repr(first) == repr(second)


@every_kind
def test_training_moves_the_networks_that_learn_and_no_other(kind: Kind) -> None:
    started = kind.method().start(make_setting(15, network=kind.network))
    learner, progress = kind.run()
    moved = {
        name
        for name, network in learner.networks.items()
        if not torch.equal(weights(network), weights(started.networks[name]))
    }
    assert moved == kind.moved
    assert progress.epoch == 3
    assert all(len(curve) == 3 for curve in progress.curves.values())
    assert progress.curves


@every_kind
def test_no_gradient_is_left_anywhere(kind: Kind) -> None:
    learner, _ = kind.run(epochs=1)
    for network in learner.networks.values():
        assert all(parameter.grad is None for parameter in network.parameters())


@every_kind
def test_every_arm_takes_the_same_number_of_steps(kind: Kind) -> None:
    learner, _ = kind.run()
    assert learner.step == 15
    solved = isinstance(kind.method(), ClosedForm)
    assert learner.updates["model"] == (0 if solved else 15)


@every_kind
def test_one_seed_gives_one_result_bit_for_bit(kind: Kind) -> None:
    (first, early), (second, late) = kind.run(), kind.run()
    assert same(everything(first), everything(second))
    assert alike(early.curves, late.curves)
    other, _ = kind.run(seed=1)
    assert not same(everything(first), everything(other))


@every_kind
def test_nothing_but_dropout_draws_from_global_state(kind: Kind) -> None:
    network = kind.network if kind.network is TokenNet else lambda n: ConvNet(n, dropout=0.0)
    before = torch.get_rng_state()
    first, _ = kind.run(network=network, torch_seed=1)
    second, _ = kind.run(network=network, torch_seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert same(everything(first), everything(second))


@every_kind
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_trial_taken_up_again_ends_as_one_that_never_stopped(kind: Kind, epoch: int) -> None:
    saved: list[dict[str, Any]] = []

    def save(learner: Learner, progress: Progress) -> None:
        if progress.epoch == epoch:
            saved.append(copy.deepcopy(learner.state_dict()))

    whole, progress = kind.run(observe=save)
    resumed, rest = kind.run(state=saved[0], torch_seed=5)
    assert same(everything(whole), everything(resumed))
    assert rest.epoch == 3
    for name, curve in progress.curves.items():
        expected = [math.nan] * epoch + curve[epoch:]
        assert repr(rest.curves.get(name, [math.nan] * 3)) == repr(expected)
    assert resumed.updates == whole.updates


@every_kind
def test_predictions_do_not_depend_on_the_other_rows(kind: Kind) -> None:
    method = kind.method()
    learner, _ = kind.run(epochs=1)
    batch = kind.examples().batch(torch.arange(8), epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        together = method.predict(learner, batch)
        alone = torch.cat([method.predict(learner, batch[at : at + 1]) for at in range(8)])
    assert together.shape == (8, CLASSES)
    torch.testing.assert_close(together, alone)


@every_kind
def test_judging_in_between_changes_nothing(kind: Kind) -> None:
    method = kind.method()
    batch = kind.examples().batch(torch.arange(8), epoch=0, labelled=False)

    def judge(learner: Learner, _progress: Progress) -> None:
        with torch.no_grad(), learner.evaluating():
            method.predict(learner, batch)

    judged, _ = kind.run(observe=judge)
    alone, _ = kind.run()
    assert same(everything(judged), everything(alone))


def test_the_trainer_knows_no_method() -> None:
    tree = ast.parse(inspect.getsource(training))
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    components = list(registry.components())
    assert components
    for component in components:
        assert component.__name__ not in words
        assert component.card.name not in words
    assert not any("vicinal.methods" in str(module) for module in imported)
    assert "isinstance" not in words


# Who is moved by what.


def stepped(method: Method, **options: Any) -> Learner:
    """After one step, without momentum and dropout."""
    learner, _ = run(
        method,
        epochs=1,
        rows=torch.arange(BATCH),
        momentum=0.0,
        network=lambda outputs: ConvNet(outputs, dropout=0.0),
        **options,
    )
    assert learner.step == 1
    return learner


def test_the_model_does_not_feel_the_loss_of_its_adversary_nor_the_other_way_round() -> None:
    base, masks, model = (
        stepped(Adversary(model_weight=a, mask_weight=b))
        for a, b in [(1.0, 1.0), (1.0, 100.0), (100.0, 1.0)]
    )
    assert torch.equal(weights(base.model), weights(masks.model))
    assert not torch.equal(weights(base.model), weights(model.model))
    own = [weights(learner.networks["masks"]) for learner in (base, masks, model)]
    assert torch.equal(own[0], own[2])
    assert not torch.equal(own[0], own[1])


def test_an_adversary_makes_its_mixtures_harder() -> None:
    # The model stands still, so what the loss does is the masks' doing.
    _, progress = run(
        Adversary(model_weight=0.0),
        epochs=20,
        network=lambda outputs: ConvNet(outputs, dropout=0.0),
    )
    losses = progress.curves["train loss"]
    assert sum(losses[-5:]) > sum(losses[:5])


def test_the_outer_gradient_is_the_slope_of_the_held_out_loss_after_a_step() -> None:
    method = LookAhead()
    learner = method.start(
        make_setting(5, network=lambda outputs: ConvNet(outputs, dropout=0.0).double())
    )
    policy = learner.networks["policy"].double()
    plain = images()
    setting_free = Examples(plain.x.double(), plain.y)
    object.__setattr__(learner.setting, "prepare", lambda x: (x - 110) / 50)
    batch = setting_free.batch(torch.arange(12), epoch=0)
    held = setting_free.batch(torch.arange(12, 24), epoch=0)
    (slope,) = torch.autograd.grad(method.look_ahead(learner, batch, held), [policy.bias])
    found = []
    for by in (1e-5, -1e-5):
        with torch.no_grad():
            policy.bias[0] += by
        found.append(method.look_ahead(learner, batch, held).item())
        with torch.no_grad():
            policy.bias[0] -= by
    assert slope[0].item() == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-3)
    assert slope[0].abs() > 1e-7


def test_a_look_ahead_leaves_the_model_where_it_is() -> None:
    method = LookAhead()
    learner = method.start(make_setting(5))
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    batch, held = (images().batch(rows, epoch=0) for rows in torch.arange(24).split(12))
    learner.update(policy=method.look_ahead(learner, batch, held))
    assert same(before, learner.model.state_dict())
    assert all(parameter.grad is None for parameter in learner.model.parameters())


def test_a_frozen_teacher_keeps_its_weights_and_its_statistics() -> None:
    given = teacher()
    learner, _ = run(Distilled(given))
    assert same(given.state_dict(), learner.networks["teacher"].state_dict())
    assert given.training
    assert not learner.networks["teacher"].training


def test_a_mean_teacher_is_the_average_of_the_model_over_time() -> None:
    seen: list[Tensor] = []
    learner, _ = run(
        MeanTeacher(),
        epochs=3,
        rows=torch.arange(BATCH),
        observe=lambda learner, _: seen.append(weights(learner.model)),
    )
    expected = seen[0]  # the first update copies
    for later in seen[1:]:
        expected = 0.9 * expected + 0.1 * later
    torch.testing.assert_close(weights(learner.networks["teacher"]), expected)


def test_features_rest_while_the_probe_learns_and_the_head_while_they_do() -> None:
    seen: list[dict[str, Tensor]] = []
    learner, progress = run(
        ContrastThenProbe(),
        epochs=4,
        observe=lambda learner, _: seen.append(copy.deepcopy(learner.model.state_dict())),
    )
    start = ContrastThenProbe().start(make_setting(20)).model.state_dict()

    def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
        return {
            name.split(".")[0] for name, one in before.items() if not torch.equal(one, after[name])
        }

    assert moved(start, seen[1]) == {"features"}
    assert moved(seen[1], seen[3]) == {"head"}  # statistics of batch normalisation included
    assert math.isnan(progress.curves["train loss"][1])
    assert math.isnan(progress.curves["train contrast"][2])
    assert learner.schedules["model"].get_last_lr()[0] == pytest.approx(0.05 * (1 - 10 / 11))


def test_a_head_in_closed_form_is_the_solution_of_the_ridge_regression() -> None:
    learner, _ = run(ClosedForm(), epochs=1)
    plain = images()
    with torch.no_grad(), learner.evaluating():
        features = learner.model.features(prepare(plain.x)).double()
    labels = torch.eye(CLASSES, dtype=torch.float64)[plain.y]
    # A ridge is a least squares problem with one more row for each feature.
    stacked = torch.cat([features, torch.eye(128, dtype=torch.float64)])
    wanted = torch.cat([labels, torch.zeros(128, CLASSES, dtype=torch.float64)])
    solution = torch.linalg.lstsq(stacked, wanted).solution
    torch.testing.assert_close(learner.model.head.weight.double(), solution.T, atol=1e-4, rtol=1e-3)


# What a method may not see.


def shuffled(y: Tensor, rows: Tensor) -> Tensor:
    """The labels with those of some rows in another order."""
    generator = torch.Generator().manual_seed(11)
    mixed = y.clone()
    mixed[rows] = y[rows][torch.randperm(len(rows), generator=generator)]
    assert not torch.equal(mixed, y)
    return mixed


def test_labels_of_unlabelled_rows_change_nothing() -> None:
    plain, rows = images(), torch.arange(60)
    known, hidden = rows[:24], rows[24:]

    def trained(examples: Examples) -> Tensor:
        learner, _ = run(
            ConfidentUnlabelled(), examples=examples, rows=known, parts={"unlabelled": hidden}
        )
        return weights(learner.model)

    truth = trained(plain)
    assert torch.equal(truth, trained(Examples(plain.x, shuffled(plain.y, hidden))))
    assert not torch.equal(truth, trained(Examples(plain.x, shuffled(plain.y, known))))
    darker = plain.x.clone()
    darker[hidden] //= 2
    assert not torch.equal(truth, trained(Examples(darker, plain.y)))


def test_a_student_that_replays_or_distils_reads_no_label() -> None:
    stored = reinforced()
    nowhere = shuffled(stored.y, torch.arange(60))
    for method, truth, lie in [
        (Replayed(), stored, Examples(stored.x, nowhere, stored.extras)),
        (Distilled(teacher()), images(), Examples(stored.x, nowhere)),
    ]:
        (first, _), (second, _) = run(method, examples=truth), run(method, examples=lie)
        assert torch.equal(weights(first.model), weights(second.model))


def test_labels_of_held_out_rows_move_the_policy_and_not_the_model() -> None:
    plain, held = images(), torch.arange(12, 24)

    def trained(examples: Examples) -> Learner:
        # The policy moves by so little in one step that it decides alike for every sample.
        return stepped(LookAhead(), examples=examples, parts={"held_out": held})

    first, second = trained(plain), trained(Examples(plain.x, shuffled(plain.y, held)))
    assert not torch.equal(weights(first.networks["policy"]), weights(second.networks["policy"]))
    assert torch.equal(weights(first.model), weights(second.model))


# What recipes compute, by hand.


def test_stored_mixtures_are_replayed_with_partners_from_anywhere() -> None:
    stored = reinforced()
    rows = torch.arange(5, 11)
    pool = stored.batch(torch.arange(60), epoch=0)
    method = Replayed()
    learner = method.start(make_setting(5))
    batch = stored.batch(rows, epoch=2)
    mixed = method.replay(learner, batch.replace(pool=pool))
    mixing, judged = stored.extras["mixing"], stored.extras["teacher"]
    for at, row in enumerate(rows.tolist()):
        possible = []
        for record in range(4):
            partner, kept = mixing.partner[row, record], mixing.kept[row, record]
            x = kept * prepare(stored.x[row]) + (1 - kept) * prepare(stored.x[partner])
            matches = torch.allclose(mixed.x[at], x, atol=1e-5)
            possible += [record] * matches
        assert len(possible) == 1
        assert torch.equal(mixed.target.probabilities[at], judged[row, possible[0]])
    assert not set(mixing.partner[rows].flatten().tolist()) <= set(rows.tolist())


def test_labels_follow_the_attention_heard_in_the_pass_that_trains() -> None:
    method = Attentive()
    learner = method.start(make_setting(5, network=TokenNet))
    batch, params = method.augmented(learner, images().batch(torch.arange(6), epoch=0))
    with listening(method.probes, learner.networks) as heard:
        output = learner.model(batch.x)
    loss = method.objective(output, batch, params, heard)
    attention = heard[method.probes[0]]
    log = output.log_softmax(dim=1)
    by_hand = []
    for at in range(6):
        own, partner = batch.target.labels[at]
        given, total = 0.0, 0.0
        for patch in range(16):
            row, column = 2 * (patch // 4), 2 * (patch % 4)
            pasted = (
                params.start[at, 0] <= row < params.stop[at, 0]
                and params.start[at, 1] <= column < params.stop[at, 1]
            )
            total += attention[at, 0, 1 + patch].item()
            given += attention[at, 0, 1 + patch].item() * pasted
        share = given / total
        by_hand.append(-(1 - share) * log[at, own] - share * log[at, partner])
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())


def test_saliency_is_of_the_unmixed_batch_and_the_model_in_training() -> None:
    # A model that looks at one pixel: every pasted patch is centred there.
    class OnePixel(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.head = nn.Linear(1, outputs)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.head(x[:, :, 2, 5])
            return output

    method = Supervised(prepared=PasteSalient())
    learner = method.start(make_setting(5, network=OnePixel))
    batch = images().batch(torch.arange(6), epoch=0)
    _, params = method.augmented(learner, batch)
    assert params.centre.tolist() == [[2, 5]] * 6
    assert all(parameter.grad is None for parameter in learner.model.parameters())
    assert learner.model.training


def test_the_layer_is_drawn_anew_for_every_step() -> None:
    learner = RandomLayer().start(make_setting(300))
    drawn = []
    for step in range(300):
        learner.step = step
        drawn.append(int(learner.step_draws().below("layer", 3)))
    assert all(70 < drawn.count(layer) < 130 for layer in range(3))


def test_averaged_predictions_do_not_tell_left_from_right() -> None:
    learner, _ = run(Averaged(), epochs=1)
    batch = images().batch(torch.arange(8), epoch=0, labelled=False)
    mirrored = batch.replace(x=batch.tensor.flip(-1))
    with torch.no_grad(), learner.evaluating():
        one, other = (Averaged().predict(learner, some) for some in (batch, mirrored))
        plain, turned = (Supervised().predict(learner, some) for some in (batch, mirrored))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(plain, turned)
    torch.testing.assert_close(one.exp().sum(dim=1), torch.ones(8))


def test_turned_copies_vote_with_the_logits_of_their_own_turn() -> None:
    method = JointLabels()
    learner, _ = run(method, epochs=1)
    batch = images().batch(torch.arange(5), epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        voted = method.predict(learner, batch)
        for row in range(5):
            for label in range(CLASSES):
                votes = [
                    learner.model(prepare(batch.tensor[row : row + 1]).rot90(turn, (2, 3)))[
                        0, label * 4 + turn
                    ]
                    for turn in range(4)
                ]
                torch.testing.assert_close(voted[row, label], torch.stack(votes).mean())


def test_an_arm_that_takes_more_steps_than_the_others_is_stopped() -> None:
    class Greedy(Supervised):
        def step(self, learner: Learner, batches: Any) -> Any:
            super().step(learner, batches)
            return super().step(learner, batches)

    with pytest.raises(RuntimeError, match="Greedy took 2 optimiser steps in 1 steps"):
        run(Greedy())


def test_input_mixing_reaches_the_loss() -> None:
    plain, _ = run(Supervised())
    mixed, _ = run(Supervised(prepared=Mixup()))
    assert not torch.equal(weights(plain.model), weights(mixed.model))
