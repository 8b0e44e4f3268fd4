"""Steps of the authors' main.py, replayed: snu-mllab/Co-Mixup at 2a76816, PuzzleMix at e2dbf3a."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.methods.ground import images, make_setting, run, weights
from torch import Tensor, nn

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.method import Learner
from vicinal.core.params import Params
from vicinal.core.probe import Saliency
from vicinal.core.target import SoftTarget
from vicinal.methods.co_mixup import CoMixupTraining
from vicinal.methods.puzzle_mix import PuzzleMixTraining
from vicinal.methods.saliency_training import SaliencyTraining, gradient_in_training
from vicinal.methods.supervised import Supervised
from vicinal.mixers.co_mixup import CoMixup
from vicinal.mixers.puzzle import PuzzleMixParams
from vicinal.mixers.puzzle_mix import PuzzleMix

GOLDEN = load_file(Path(__file__).parent / "golden" / "saliency_training_authors.safetensors")
#: Classes, with which K / 2 of the authors' steps at rate 0.1 are ours at `make_setting`'s 0.05.
COUNT = 4


class AuthorsNetwork(nn.Module):
    """The network that the authors' code was run with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(80, COUNT)

    def forward(self, x: Tensor) -> Tensor:
        features = F.avg_pool2d(torch.tanh(self.norm(self.conv(x))), 2)
        output: Tensor = self.head(features.flatten(1))
        return output


@dataclass(frozen=True)
class NoParams(Params):
    """Nothing is drawn. row: (B,) int64."""

    row: Tensor


class Stored(Mixer):
    """Gives the authors' mixtures, and keeps the saliency that it was shown."""

    probes = (Saliency(),)

    def __init__(self, mixed: Tensor, target: Tensor) -> None:
        self.mixed, self.target = mixed, SoftTarget(target)
        self.seen: list[Tensor] = []

    def sample(self, batch: Batch, draws: Draws) -> NoParams:
        self.seen.append(batch.evidence[Saliency()])
        return NoParams(batch.index)

    def apply(self, batch: Batch, params: Any) -> Batch:
        return batch.replace(x=self.mixed, target=self.target)


def stored(tag: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{tag}."): value
        for name, value in GOLDEN.items()
        if name.startswith(f"{tag}.")
    }


def start(method: Supervised, theirs: dict[str, Tensor]) -> tuple[Learner, Batch]:
    """Our learner with the authors' weights, and their batch."""
    setting = dataclasses.replace(
        make_setting(1, network=lambda _: AuthorsNetwork(), momentum=0.0),
        outputs=COUNT,
        prepare=lambda x: (x.float() / 255 - GOLDEN["mean"]) / GOLDEN["std"],
    )
    learner = method.start(setting)
    state = {
        name.removeprefix("before."): value
        for name, value in theirs.items()
        if name.startswith("before.")
    }
    learner.model.load_state_dict(state, strict=False)
    return learner, Batch.of(theirs["levels"], theirs["y"])


def expect_the_authors_weights(learner: Learner, theirs: dict[str, Tensor]) -> None:
    """Statistics of batch normalisation included, which count the passes in training mode."""
    for name, tensor in learner.model.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(tensor, theirs[f"after.{name}"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tag", ["co", "co_half"])
def test_a_step_of_co_mixup_is_the_authors(tag: str) -> None:
    theirs = stored(tag)
    clean = theirs["clean_lam"].item()
    mixer = Stored(theirs["mixed"], theirs["target"])
    method = SaliencyTraining(mixer, clean=clean, loss="binary")
    learner, batch = start(method, theirs)
    method.step(learner, {"train": batch})
    torch.testing.assert_close(mixer.seen[0], theirs["saliency"] * COUNT / 2)
    expect_the_authors_weights(learner, theirs)


def puzzle(
    monkeypatch: pytest.MonkeyPatch, theirs: dict[str, Tensor], *, adversarial: float
) -> PuzzleMixTraining:
    """Puzzle Mix with the authors' partners, cut and noise."""
    method = PuzzleMixTraining(
        clean=theirs["clean_lam"].item(),
        loss="binary",
        adversarial=adversarial,
        transport=False,
        scope="batch",
    )

    def sample(mixer: PuzzleMix, batch: Batch, draws: Draws) -> PuzzleMixParams:
        standard = (theirs["levels"] / 255 - GOLDEN["mean"]) / GOLDEN["std"]
        torch.testing.assert_close(batch.tensor, standard)
        expected = theirs["saliency"]
        found = batch.evidence[Saliency()]
        torch.testing.assert_close(found / found.mean(), expected / expected.mean())
        partner = torch.tensor([2, 0, 3, 1, 5, 4])
        return PuzzleMixParams(partner, theirs["share"], torch.full((6, 2), 8))

    monkeypatch.setattr(PuzzleMix, "sample", sample)
    if adversarial:
        drawn = {
            "own": theirs["masks"][0].expand(6) > 0,
            "partner": theirs["masks"][1].expand(6) > 0,
            "strength": theirs["strength"].expand(6),
            "start": theirs["uniform"],
        }
        for name in ("uniform", "bernoulli"):
            monkeypatch.setattr(Draws, name, lambda self, name, *_, **__: drawn[name])
    return method


@pytest.mark.parametrize("tag", ["plain", "clean", "own", "both"])
def test_a_step_of_puzzle_mix_is_the_authors(monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    # Without and with the clean loss, each without and with noise.
    theirs = stored(tag)
    method = puzzle(monkeypatch, theirs, adversarial=0.5 if "masks" in theirs else 0.0)
    learner, batch = start(method, theirs)
    if not method.clean:
        mixed, _ = method.augmented(learner, batch)
        torch.testing.assert_close(mixed.x, theirs["mixed"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mixed.target.dense(COUNT), theirs["target"])  # type: ignore[union-attr]
    else:
        mixed, _ = method.mixed(learner, batch, gradient_in_training(method.clean))
        torch.testing.assert_close(mixed.x, theirs["mixed"], atol=1e-5, rtol=1e-5)
        learner, _ = start(method, theirs)
    method.step(learner, {"train": batch})
    expect_the_authors_weights(learner, theirs)


@pytest.mark.parametrize(
    ("method", "mixer"),
    [(PuzzleMixTraining(), PuzzleMix()), (CoMixupTraining(clean=0.0, cells=2), CoMixup(cells=2))],
)
def test_without_clean_loss_and_noise_it_is_the_mixer_bit_for_bit(
    method: Supervised, mixer: Mixer
) -> None:
    first, told = run(method, epochs=1)
    second, expected = run(Supervised(prepared=mixer), epochs=1)
    assert torch.equal(weights(first.model), weights(second.model))
    assert told.curves == expected.curves


@pytest.mark.parametrize(
    "method",
    [
        CoMixupTraining(),
        CoMixupTraining(clean=0.0),
        PuzzleMixTraining(),
        PuzzleMixTraining(clean=1.0, adversarial=0.5),
    ],
)
def test_one_extra_pass_forward_and_back_is_all_it_costs(method: SaliencyTraining) -> None:
    learner = method.start(make_setting(5))
    calls = {"forward": 0, "backward": 0}
    head = learner.model.head
    assert isinstance(head, nn.Module)
    head.register_forward_hook(lambda *_: calls.update(forward=calls["forward"] + 1))
    head.register_full_backward_hook(lambda *_: calls.update(backward=calls["backward"] + 1))
    method.step(learner, {"train": images().batch(torch.arange(12), epoch=0)})
    assert calls == {"forward": 2, "backward": 2}
    assert learner.updates == {"model": 1}
    assert all(one.grad is None for one in learner.model.parameters())


def test_a_look_at_the_mixtures_trains_nothing() -> None:
    method = CoMixupTraining()
    learner = method.start(make_setting(5))
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    mixed, _ = method.augmented(learner, images().batch(torch.arange(12), epoch=0))
    assert mixed.x.shape == (12, 1, 8, 8)
    assert all(torch.equal(value, before[n]) for n, value in learner.model.state_dict().items())
    assert all(one.grad is None for one in learner.model.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CoMixupTraining(clean=-1.0), "clean"),
        (lambda: CoMixupTraining(loss="hinge"), "loss"),  # type: ignore[arg-type]
        (lambda: CoMixupTraining(part=1), "part"),
        (lambda: PuzzleMixTraining(adversarial=1.5), "adversarial"),
        (lambda: PuzzleMixTraining(radius=0.0), "radius"),
        (lambda: PuzzleMixTraining(alpha=0.0), "alpha"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_tasks_it_cannot_train_on_are_refused() -> None:
    numbers = dataclasses.replace(make_setting(5), kind="regression")
    with pytest.raises(ValueError, match="loss=binary is of classes, the task is regression"):
        PuzzleMixTraining(loss="binary").start(numbers)
    method = PuzzleMixTraining(adversarial=0.1)
    learner = method.start(make_setting(5))
    with pytest.raises(ValueError, match=r"images of 8 bits, these are torch\.float32"):
        method.step(learner, {"train": Batch.of(torch.rand(6, 1, 8, 8), torch.arange(6) % 3)})
