"""Mix-KD: which rows are mixed, whom the model learns from, and what teachers become of mixup."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from tests.methods.ground import ConvNet, images, make_setting, prepare, run, weights
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, Draws
from vicinal.compare.training import Examples, train
from vicinal.core.method import Learner, Method
from vicinal.methods.mix_kd import MixKD, PartialMixup
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.models.mlp import MLP
from vicinal.testing import check_method


def rows(count: int, epoch: int = 0) -> tuple[Batch, Draws]:
    generator = torch.Generator().manual_seed(0)
    batch = Batch.of(torch.randn(count, 3, generator=generator), torch.arange(count) % 4)
    return batch, Draws(0, batch.index, epoch)


def seeded_net(outputs: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return ConvNet(outputs)


def dense(batch: Batch, classes: int) -> Tensor:
    """The labels of a batch as weights of all classes."""
    assert isinstance(batch.target, ClassTarget)
    return batch.target.dense(classes)


# Which rows are mixed.


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_exactly_the_share_is_mixed(fraction: float) -> None:
    batch, _ = rows(37)
    for epoch in range(20):
        draws = Draws(0, batch.index, epoch)
        params = PartialMixup(1.0, fraction).sample(batch, draws)
        clean = params.kept == 1
        assert clean.sum().item() == round((1 - fraction) * 37)
        mixed = PartialMixup(1.0, fraction).apply(batch, params)
        assert torch.equal(mixed.x[clean], batch.x[clean])
        assert torch.equal(dense(mixed, 4)[clean], dense(batch, 4)[clean])
        moved = (mixed.x != batch.x).any(dim=1)
        assert torch.equal(moved, ~clean & (params.partner != batch.index))


def test_with_replacement_as_many_are_left_as_in_the_authors_code() -> None:
    batch, _ = rows(64)
    mixer = PartialMixup(1.0, 0.1, replacement=True)
    left = [
        (mixer.sample(batch, Draws(0, batch.index, epoch)).kept == 1).float().mean().item()
        for epoch in range(2000)
    ]
    assert fmean(left) == pytest.approx(0.595, abs=0.01)


@pytest.mark.parametrize("replacement", [False, True])
def test_the_order_of_a_batch_does_not_matter(replacement: bool) -> None:
    batch, draws = rows(16)
    mixer = PartialMixup(0.4, 0.5, replacement=replacement)
    mixed = mixer.apply(batch, mixer.sample(batch, draws))
    other = batch[torch.arange(15, -1, -1)].replace(pool=None)
    again = mixer.apply(other, mixer.sample(other, Draws(0, other.index)))
    assert torch.equal(again.x.flip(0), mixed.x)


def test_all_rows_mixed_is_mixup() -> None:
    batch, draws = rows(16)
    whole, plain = PartialMixup(0.4, 1.0).sample(batch, draws), Mixup(0.4).sample(batch, draws)
    assert torch.equal(whole.kept, plain.kept)
    assert torch.equal(whole.partner, plain.partner)


# The step.


def test_a_step_descends_on_labels_and_teacher_both_asked_about_the_mixtures() -> None:
    teacher = seeded_net()
    method = MixKD(teacher, mixed_fraction=0.5)
    setting = make_setting(1, network=lambda outputs: ConvNet(outputs, dropout=0.0), momentum=0)
    learner = method.start(setting)
    learner.networks["teacher"].train()
    method.enter(learner, method.phases()[0], 1)
    model = copy.deepcopy(learner.model)
    batch = images().batch(torch.arange(12), epoch=0)
    method.step(learner, {"train": batch})

    ready = batch.replace(x=prepare(batch.tensor))
    mixer = PartialMixup(1.0, 0.5)
    mixed = mixer.apply(ready, mixer.sample(ready, learner.draws(ready).within("prepared")))
    student, wanted = model(mixed.x), teacher.eval()(mixed.x).detach()
    student, wanted = (one / one.std(dim=1, keepdim=True) for one in (student, wanted))
    loss = 0.1 * F.cross_entropy(student, dense(mixed, 3)) + 0.9 * F.kl_div(
        student.log_softmax(dim=1), wanted.softmax(dim=1), reduction="batchmean"
    )
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    moved = weights(model) - 0.05 * torch.cat([slope.flatten() for slope in slopes])
    torch.testing.assert_close(weights(learner.model), moved, atol=1e-6, rtol=1e-5)


def test_with_nothing_mixed_it_is_plain_standardised_distillation() -> None:
    class Plain(MixKD):
        def __init__(self) -> None:
            super().__init__(seeded_net())
            self.prepared = None

    unmixed, _ = run(MixKD(seeded_net(), mixed_fraction=0.0))
    plain, _ = run(Plain())
    mixed, _ = run(MixKD(seeded_net()))
    torch.testing.assert_close(weights(unmixed.model), weights(plain.model), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(weights(mixed.model), weights(plain.model), atol=1e-4)


def test_predictions_are_standardised_unless_a_temperature_is_given() -> None:
    batch = images().batch(torch.arange(12), epoch=0)
    for temperature in (None, 4.0):
        method = MixKD(seeded_net(), temperature=temperature)
        learner, _ = run(method)
        with torch.no_grad(), learner.evaluating():
            found, output = method.predict(learner, batch), learner.model(prepare(batch.tensor))
        assert torch.equal(found.argmax(dim=1), output.argmax(dim=1))
        assert torch.allclose(found.std(dim=1), torch.ones(12), atol=1e-4) == (temperature is None)


# The teacher.


def test_a_teacher_that_is_given_stays_as_it_is() -> None:
    teacher = seeded_net()
    before = copy.deepcopy(teacher.state_dict())
    learner, _ = run(MixKD(teacher))
    for state in (teacher.state_dict(), learner.networks["teacher"].state_dict()):
        assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert teacher.training
    assert all(one.requires_grad for one in teacher.parameters())


def test_a_file_of_weights_teaches_as_the_network_does(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_file(seeded_net().state_dict(), path)
    stored, _ = run(MixKD(str(path)))
    given, _ = run(MixKD(seeded_net()))
    assert torch.equal(weights(stored.model), weights(given.model))


def test_files_that_hold_no_such_weights_are_refused_in_a_line(tmp_path: Path) -> None:
    other, junk = tmp_path / "other.safetensors", tmp_path / "junk.safetensors"
    save_file(nn.Linear(2, 2).state_dict(), other)
    junk.write_text("no weights")
    for path, said in (
        (other, "holds the weights of another network"),
        (junk, "is no safetensors file"),
        (tmp_path / "none", "there is no file"),
    ):
        with pytest.raises(ValueError, match=said) as refusal:
            run(MixKD(str(path)))
        assert "\n" not in str(refusal.value)


def test_without_a_teacher_a_twin_is_trained_on_clean_rows_and_frozen() -> None:
    twins: list[Tensor] = []

    def keep(learner: Learner, _progress: Any) -> None:
        assert not learner.networks["teacher"].training
        twins.append(weights(learner.networks["teacher"]).clone())

    learner, _ = run(MixKD(), observe=keep)
    assert learner.updates["teacher"] == learner.updates["model"] == 15
    assert all(torch.equal(one, twins[0]) for one in twins)
    other, _ = run(MixKD(mixed_fraction=1.0))
    assert torch.equal(weights(other.networks["teacher"]), twins[0])


def test_a_teacher_that_is_given_keeps_the_contract() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        teacher = nn.Sequential(nn.Flatten(1), nn.AdaptiveAvgPool1d(12), nn.Linear(12, 3))
    check_method(MixKD(Rows(teacher)), models=["small-resnet:width=8", "mlp"])


class Rows(nn.Module):
    """Takes samples of any shape as rows of numbers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x.flatten(1).unsqueeze(1)).flatten(1)
        return output


def test_two_classes_need_a_temperature() -> None:
    setting = dataclasses.replace(make_setting(1), outputs=2)
    with pytest.raises(ValueError, match="give a temperature"):
        MixKD().start(setting)
    assert MixKD(temperature=4.0).start(setting)


@pytest.mark.parametrize(
    "settings",
    [
        {"mixed_fraction": 1.1},
        {"alpha": 0.0},
        {"label_weight": -0.1},
        {"teacher_weight": -0.1},
        {"temperature": 0.0},
        {"replacement": 1},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        MixKD(**settings)
    with pytest.raises(TypeError, match="teacher must be a path"):
        MixKD(3)  # type: ignore[arg-type]


# What becomes of it, on digits.


def trained(method: Method, width: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A perceptron after 40 epochs of 500 digits, and its logits and labels of all others."""
    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    examples = Examples(torch.from_numpy(digits.data).float(), labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    known, rest = order[:500], order[500:]
    steps = 40 * (500 // 25)
    setting = dataclasses.replace(
        make_setting(steps, seed=seed, network=lambda outputs: MLP((64,), outputs, width=width)),
        modality="tabular",
        outputs=10,
        prepare=lambda x: (x - 4.9) / 6,
    )
    learner, _ = train(method, setting, examples, rows=known, batch_size=25, epochs=40)
    batch = examples.batch(rest, epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        return learner.model, method.predict(learner, batch), labels[rest]


def accuracy(output: Tensor, labels: Tensor) -> float:
    return 100 * (output.argmax(dim=1) == labels).float().mean().item()


@pytest.mark.slow
def test_a_teacher_trained_with_mixup_is_less_sure_and_teaches_no_better_by_a_point() -> None:
    # Measured: entropies of 0.05 and 0.60 nats. The students of plain teachers are 0.0 points
    # better, 94.7 % both: whether such teachers are better is not settled here.
    gains = []
    for seed in range(3):
        taught, entropies = [], []
        for mixer in (None, Mixup()):
            teacher, output, _ = trained(Supervised(prepared=mixer), 256, seed)
            share = output.softmax(dim=1)
            entropies.append(torch.special.entr(share).sum(dim=1).mean().item())
            taught.append(accuracy(*trained(MixKD(teacher), 16, seed)[1:]))
        assert entropies[1] > 5 * entropies[0]
        gains.append(taught[0] - taught[1])
    assert fmean(gains) > -1
