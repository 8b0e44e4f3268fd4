from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.methods.ground import ConvNet, images, make_setting, prepare, run, weights
from torch import Tensor, nn

from vicinal.compare.training import Examples, train
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.method import Learner, Method, Setting
from vicinal.core.target import ClassTarget, RegressionTarget, Target
from vicinal.evaluate.classification import evaluate_classification
from vicinal.methods.plain import Plain
from vicinal.methods.rankmixup import RankMixup
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.models.mlp import MLP

GOLDEN = Path(__file__).parent / "golden" / "rankmixup_authors.json"


class Listening(nn.Module):
    """A network that keeps what it was given."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.inner = ConvNet(outputs, dropout=0.0)
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x.detach().clone())
        output: Tensor = self.inner(x)
        return output


def step(method: RankMixup) -> Learner:
    learner = method.start(make_setting(5, network=Listening))
    method.step(learner, {"train": images().batch(torch.arange(12), epoch=0)})
    return learner


def weights_of(target: Target | None) -> Tensor:
    assert isinstance(target, ClassTarget)
    assert target.weights is not None
    return target.weights


@pytest.mark.parametrize(
    ("method", "mixes"),
    [(RankMixup(), 3), (RankMixup("mrl"), 1), (RankMixup("mrl", mixes=2), 2)],
    ids=["ndcg", "mrl", "two mixtures"],
)
def test_samples_and_all_their_mixtures_are_two_passes(method: RankMixup, mixes: int) -> None:
    # Batch normalisation sees them apart.
    clean, mixed = step(method).model.given
    assert torch.equal(clean, prepare(images().x[:12]))
    assert len(mixed) == 12 * mixes
    for own in mixed.split(12):
        assert not torch.equal(own, clean)


def test_each_mixture_has_one_weight_for_the_batch_and_partners_of_its_own() -> None:
    method = RankMixup()
    learner = method.start(make_setting(5))
    batch, _ = method.ready(learner, images().batch(torch.arange(12), epoch=0))
    targets = [method.mixture(learner, batch, at).target for at in range(3)]
    kept = torch.stack([weights_of(target)[:, 0] for target in targets])  # (3, 12)
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert len(set(kept[:, 0].tolist())) == 3
    labels = [target.labels for target in targets if isinstance(target, ClassTarget)]
    assert not any(torch.equal(labels[at], labels[at - 1]) for at in range(3))
    assert all(torch.equal(one[:, 0], images().y[:12]) for one in labels)


def test_without_weight_it_is_plain_training_on_the_clean_samples() -> None:
    # Without batch normalisation, whose statistics the mixtures move.
    def flat(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, outputs))

    ranked, _ = run(RankMixup("mrl", weight=0.0), network=flat)
    plain, _ = run(Plain(), network=flat)
    torch.testing.assert_close(weights(ranked.model), weights(plain.model))
    other, _ = run(RankMixup("mrl"), network=flat)
    assert not torch.allclose(weights(other.model), weights(plain.model), atol=1e-4)


def test_only_relevances_of_the_mixtures_reach_the_loss_and_not_their_labels() -> None:
    method = RankMixup("mrl", weight=0.5, margin=1.0)
    learner, fresh = (method.start(make_setting(5, network=Listening)) for _ in range(2))
    batch = images().batch(torch.arange(12), epoch=0)
    told = method.step(learner, {"train": batch})
    clean, mixed = learner.model.given
    raw, output = fresh.model(clean), fresh.model(mixed)
    ready, _ = method.ready(fresh, batch)
    target = method.mixture(fresh, ready, 0).target
    assert isinstance(target, ClassTarget)
    mixes = target.labels[:, 0] != target.labels[:, 1]
    gap = (output.max(1).values - raw.max(1).values + 1.0).clamp(min=0)
    ranking = 0.5 * (gap * mixes).mean()
    assert 0 < mixes.sum() < 12
    assert told["ranking"].item() == pytest.approx(ranking.item(), rel=1e-5)
    cross_entropy = F.cross_entropy(raw, images().y[:12])
    assert told["loss"].item() == pytest.approx(cross_entropy.item(), rel=1e-5)
    parameters = list(fresh.model.parameters())
    slopes = torch.autograd.grad(cross_entropy + ranking, parameters)
    for after, before, slope in zip(learner.model.parameters(), parameters, slopes, strict=True):
        torch.testing.assert_close(after, before - 0.05 * slope, atol=1e-5, rtol=1e-4)


class Given(Mixup):
    """Mixtures whose weights and partners were decided elsewhere, one after the other."""

    def __init__(self, decided: Iterator[MixupParams]) -> None:
        super().__init__()
        self.decided = decided

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return next(self.decided)


def authors_cases() -> list[dict[str, Any]]:
    """What cvlab-yonsei/RankMixup makes of the same weights, samples, partners and shares.

    Without mixtures of one class for the margin, which it leaves out in another way.
    """
    cases = json.loads(GOLDEN.read_text())["cases"]
    return [case for case in cases if not any(case.get("same_class", []))]


@pytest.mark.parametrize("case", authors_cases())
def test_a_step_is_the_authors(case: dict[str, Any]) -> None:
    method = RankMixup(case["kind"], weight=case["weight"], margin=case.get("margin", 0.0))
    x, y = torch.tensor(case["x"]), torch.tensor(case["y"])
    decided = (
        MixupParams(torch.tensor(partner), torch.tensor(kept).expand(len(y)))
        for partner, kept in zip(case["partner"], case["kept"], strict=True)
    )
    method.mixer = Given(decided)
    before = torch.tensor(case["fc_weight"])

    def network(outputs: int) -> nn.Module:
        linear = nn.Linear(before.shape[1], len(before))
        linear.weight.data, linear.bias.data = before.clone(), torch.tensor(case["fc_bias"])
        return linear

    setting = make_setting(1, network=network, momentum=0.0)
    object.__setattr__(setting, "prepare", lambda x: x)
    learner = method.start(setting)
    learner.optimisers["model"].param_groups[0]["lr"] = 0.1
    told = method.step(learner, {"train": Batch.of(x, y)})
    assert told["loss"].item() == pytest.approx(case["cross_entropy"], abs=1e-5)
    assert (told["loss"] + told["ranking"]).item() == pytest.approx(case["loss"], abs=1e-5)
    linear = learner.model
    wanted = torch.tensor(case["weight_after"]), torch.tensor(case["bias_after"])
    torch.testing.assert_close(linear.weight.detach(), wanted[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(linear.bias.detach(), wanted[1], atol=1e-5, rtol=0)


def test_boxes_are_mixtures_too_and_their_area_is_the_relevance() -> None:
    method = RankMixup(mixer="cutmix", alpha=1.0)
    learner = method.start(make_setting(5))
    batch, _ = method.ready(learner, images().batch(torch.arange(12), epoch=0))
    mixed = method.mixture(learner, batch, 1)
    pasted = (mixed.tensor != batch.tensor).flatten(1).float().mean(dim=1)
    assert isinstance(mixed.target, ClassTarget)
    other = mixed.target.labels[:, 0] != mixed.target.labels[:, 1]
    shares = torch.stack([pasted, 1 - pasted]).amax(dim=0)
    torch.testing.assert_close(mixed.target.top_weight()[other], shares[other])


def test_what_is_shown_is_a_mixture() -> None:
    method = RankMixup()
    _, mixed = step(method).model.given
    learner = method.start(make_setting(5, network=Listening))
    shown, _ = method.augmented(learner, images().batch(torch.arange(12), epoch=0))
    assert torch.equal(shown.x, mixed[:12])


def test_batches_without_classes_are_refused() -> None:
    method = RankMixup()
    learner = method.start(make_setting(5))
    batch = images().batch(torch.arange(12), epoch=0)
    numbers = batch.replace(target=RegressionTarget(torch.rand(12)))
    with pytest.raises(ValueError, match="RankMixup trains on batches with class labels"):
        method.step(learner, {"train": numbers})


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"weight": -1.0}, "weight"), ({"mixes": 0}, "mixes"), ({"alpha": 0.0}, "alpha")],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be in"):
        RankMixup(**settings)


# What training with it does.

SEEDS = 3


def judged(method: Method, seed: int) -> dict[str, float]:
    """200 digits for 300 epochs: accuracy, ECE, and confidence on samples and on halves of two."""
    from lightning_fabric import Fabric
    from sklearn.datasets import load_digits
    from torch.optim.lr_scheduler import LambdaLR

    digits = load_digits()
    examples = Examples(torch.tensor(digits.data).float(), torch.tensor(digits.target))
    shuffled = torch.randperm(len(examples.y), generator=torch.Generator().manual_seed(seed))
    rows, test = shuffled[:200], shuffled[200:]
    fabric = Fabric(accelerator="cpu", devices=1)

    def make_model(outputs: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return MLP((64,), outputs)

    setting = Setting(
        modality="tabular",
        kind="classification",
        outputs=10,
        seed=seed,
        steps=1200,
        launcher=fabric,
        make_model=make_model,
        make_optimiser=lambda parameters: fabric.setup_optimizers(
            torch.optim.AdamW(parameters, lr=3e-4)
        ),
        make_schedule=lambda optimiser, _: LambdaLR(optimiser.optimizer, lambda _: 1.0),
        prepare=lambda x: (x - 5) / 6,
    )
    learner, _ = train(method, setting, examples, rows=rows, batch_size=50, epochs=300)
    x, y = setting.prepare(examples.x[test]), examples.y[test]
    other = y != y.roll(1)
    with torch.no_grad(), learner.evaluating():
        output = learner.model(x)
        halves = learner.model((x + x.roll(1, dims=0))[other] / 2).softmax(dim=1)
    pair = torch.stack([y, y.roll(1)], dim=1)[other]
    metrics = evaluate_classification(output, y, classes=list("0123456789")).metrics
    return {
        "accuracy": metrics["accuracy"],
        "ece": metrics["ece"],
        "confidence": output.softmax(dim=1).amax(dim=1).mean().item(),
        "half": halves.amax(dim=1).mean().item(),
        "pair": halves.gather(1, pair).sum(dim=1).mean().item(),
    }


def means(method: Method) -> dict[str, float]:
    """Over the seeds."""
    all_of_them = [judged(method, seed) for seed in range(SEEDS)]
    return {name: sum(one[name] for one in all_of_them) / SEEDS for name in all_of_them[0]}


@pytest.mark.slow
def test_halves_are_predicted_with_less_confidence_and_clean_samples_are_not() -> None:
    plain, ranked = means(Plain()), means(RankMixup())
    mixed = means(Supervised(prepared=Mixup(2.0, scope="batch")))
    assert ranked["half"] < plain["half"] - 0.03
    assert ranked["pair"] < plain["pair"] - 0.03
    assert abs(ranked["accuracy"] - plain["accuracy"]) < 0.01
    # Plain mixup is too modest about clean samples, which costs it its calibration.
    assert mixed["confidence"] < plain["confidence"] - 0.1 < ranked["confidence"] - 0.05
    assert mixed["ece"] > 2 * plain["ece"]
    assert ranked["ece"] < plain["ece"] + 0.01
