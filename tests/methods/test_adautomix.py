"""AdAutoMix: the authors' numbers, the signs of its two games, and what it does to training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tests.methods.authors import expect_the_same, replay
from tests.methods.ground import images, prepare, run
from tests.methods.test_mask_training import small, started
from torch import Tensor
from torch.nn import functional

from vicinal.compare.plan import Recipe
from vicinal.compare.training import train
from vicinal.compare.trial import Arena
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method
from vicinal.data.read import read_task
from vicinal.data.splits import Split
from vicinal.methods.adautomix import AdAutoMix, similarity
from vicinal.methods.mask_training import masks_of, mixed_head, target_of, twin_of
from vicinal.methods.supervised import Supervised
from vicinal.mixers.attention_mask import constant_near_ends
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.k_way import mix_many


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("adautomix", AdAutoMix()),
        ("adautomix_told", AdAutoMix(embed_weights=True, upsampling="nearest", margin=0.45)),
    ],
)
def test_two_iterations_are_those_of_the_authors_code(name: str, method: AdAutoMix) -> None:
    """The first is adversarial, the second is not; in `told` both show the model plain mixup."""
    expect_the_same(*replay(method, name))


def test_similarity_is_the_weighted_mean_of_cosines() -> None:
    output = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    sources = torch.tensor([[[3.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, -1.0]]])
    weights = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    wanted = (0.25 * 1 + 0.75 * 0 + 0.5 * 0.5**0.5 - 0.5) / 2
    assert similarity(output, sources, weights).item() == pytest.approx(wanted, abs=1e-6)


def played(
    method: AdAutoMix, learner: Learner, batch: Batch, *, step: int
) -> tuple[Tensor, float, float]:
    """The generator's loss, the twin's loss on the mixtures, and how alike they are to sources."""
    learner.step = step
    batch, judged = method.heard(learner, batch)
    params = masks_of(learner).sample(batch, learner.draws(batch))
    mixed = masks_of(learner).apply(batch, params)
    output = mixed_head(twin_of(learner)(mixed.x)).detach()
    _, at = batch.partners(params.partner.reshape(-1))
    sources = torch.cat([judged[:, None], judged[at.view_as(params.partner)]], dim=1)
    alike = similarity(output, sources, params.weights)
    loss = method.generator_loss(learner, batch, params, judged)
    return loss, target_of(mixed).loss(output).item(), alike.item()


def changes(method: AdAutoMix, *, step: int) -> tuple[Tensor, Tensor]:
    """What one step of the generator alone does on each of twenty batches: (20,) of the twin's
    loss, and (20,) of the similarity.
    """
    learner, _ = run(method, network=small, epochs=6)
    method.enter(learner, method.phases()[0], 1)
    generator = learner.networks["generator"]
    before = copy.deepcopy(generator.state_dict())
    found = []
    for number in range(20):
        generator.load_state_dict(before)
        rows = torch.randperm(60, generator=torch.Generator().manual_seed(number))[:24]
        batch = images().batch(rows, epoch=number)
        batch = batch.replace(x=prepare(batch.tensor))
        loss, hard, alike = played(method, learner, batch, step=step)
        gradients = torch.autograd.grad(loss, list(generator.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(generator.parameters(), gradients, strict=True):
                parameter -= 0.01 * gradient
        _, harder, liker = played(method, learner, batch, step=step)
        found.append((harder - hard, liker - alike))
    loss_change, alike_change = torch.tensor(found).unbind(1)
    return loss_change, alike_change


def test_an_adversarial_step_makes_the_mixtures_harder_and_less_like_their_sources() -> None:
    harder, liker = changes(AdAutoMix(momentum=0.9), step=0)
    assert (harder > 0).sum() >= 18
    assert (liker < 0).sum() >= 18


def test_a_cooperative_step_makes_the_mixtures_easier() -> None:
    harder, _ = changes(AdAutoMix(momentum=0.9), step=1)
    assert (harder < 0).sum() >= 18


def test_with_the_sign_of_the_text_mixtures_stay_like_their_sources() -> None:
    _, liker = changes(AdAutoMix(momentum=0.9, similarity_sign=-1), step=0)
    assert (liker > 0).sum() >= 18


def test_without_similarity_every_adversarial_step_makes_the_mixtures_harder() -> None:
    harder, _ = changes(AdAutoMix(momentum=0.9, similarity_sign=0), step=0)
    assert (harder > 0).all()


@pytest.mark.parametrize(("interval", "adversarial"), [(1, {0, 1, 2, 3}), (2, {0, 2}), (3, {0, 3})])
def test_every_so_many_steps_are_adversarial(interval: int, adversarial: set[int]) -> None:
    method = AdAutoMix(interval=interval, beta=1.0)
    learner, batch = started(method)
    found = set()
    for step in range(4):
        loss, hard, _ = played(method, learner, batch, step=step)
        assert abs(loss.item()) == pytest.approx(hard, rel=1e-5)
        if loss < 0:
            found.add(step)
    assert found == adversarial


def test_two_images_and_constant_masks_are_mixup_for_the_model() -> None:
    method = AdAutoMix(images=2)
    learner, batch = started(method)
    heard, _ = method.heard(learner, batch)
    masks = masks_of(learner)
    params = constant_near_ends(masks.sample(heard, learner.draws(batch)), 0.5)
    kept, at = params.weights[:, 0], batch.partners(params.partner[:, 0])[1]
    by_hand = torch.lerp(batch.x[at], batch.x, kept[:, None, None, None])
    torch.testing.assert_close(masks.apply(batch, params).x, by_hand)
    torch.testing.assert_close(mix_many(batch, params.partner, weights=params.weights).x, by_hand)


def test_the_models_loss_is_the_sum_of_its_three_parts() -> None:
    method = AdAutoMix(mixup=0.2)
    learner, batch = started(method)
    heard, _ = method.heard(learner, batch)
    params = masks_of(learner).sample(heard, learner.draws(batch)).detach()
    loss, output = method.model_loss(learner, heard, params)
    learner, _ = started(method)
    masked = masks_of(learner).apply(batch, params)
    labels = masked.target.labels  # type: ignore[union-attr]
    clean = learner.model(batch.x)[:, :3]
    torch.testing.assert_close(output, clean)
    wanted = 0.8 * functional.cross_entropy(clean, labels[:, 0])
    at = batch.partners(params.partner.reshape(-1))[1].view(-1, 2)
    sources = torch.stack([batch.x, batch.x[at[:, 0]], batch.x[at[:, 1]]], dim=1)
    plain = (params.weights[:, :, None, None, None] * sources).sum(1)
    for share, x in ((0.2, plain), (1.0, masked.x)):
        log = learner.model(x)[:, 3:].log_softmax(1)
        wanted = wanted - share * (params.weights * log.gather(1, labels)).sum(1).mean()
    torch.testing.assert_close(loss, wanted)


def test_settings_out_of_range_are_refused() -> None:
    for setting in (
        {"images": 1},
        {"alpha": 0.0},
        {"beta": 1.5},
        {"interval": 0},
        {"similarity_sign": 2},
        {"margin": 0.6},
        {"momentum": 1.1},
        {"upsampling": "cubic"},
    ):
        with pytest.raises(ValueError, match=next(iter(setting))):
            AdAutoMix(**setting)  # type: ignore[arg-type]


def hardness(method: AdAutoMix, learner: Learner, batch: Batch) -> float:
    """By how much the twin's loss on generated mixtures exceeds that on plain ones.

    Both are of the same images, partners and weights.
    """
    for network in learner.networks.values():
        network.train()
    batch = batch.replace(x=learner.setting.prepare(batch.tensor))
    batch, _ = method.heard(learner, batch)
    with torch.no_grad():
        params = masks_of(learner).sample(batch, learner.draws(batch))
        masked = masks_of(learner).apply(batch, params)
        plain = mix_many(batch, params.partner, weights=params.weights)
        hard, easy = (
            target_of(mixed).loss(mixed_head(twin_of(learner)(mixed.x))).item()
            for mixed in (masked, plain)
        )
    return hard - easy


@pytest.mark.slow
def test_mixtures_become_hard_and_accuracy_is_that_of_mixup_or_more(shared_data: Path) -> None:
    # In so few steps the masks hardly vary over an image: mixtures are hard because they show all
    # images alike, whatever their labels weigh.
    task = read_task(shared_data / "cifar10-folder")
    assert task.test_rows is not None
    rows = torch.arange(len(task))
    training = rows[~torch.isin(rows, task.test_rows)]
    split = Split(train=training[training % 8 < 5], test=task.test_rows)
    recipe = Recipe(
        model="small-resnet:width=8",
        model_fingerprint="",
        epochs=5,
        batch_size=50,
        optimiser="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        crop=4,
        flip=True,
        folds=None,
        holdout=0.2,
        device="cpu",
        precision="32-true",
        threads=1,
    )
    accuracies: dict[str, list[float]] = {"adautomix": [], "mixup": []}
    for seed in range(3):
        arena = Arena(task, split, recipe, seed=seed)
        methods: dict[str, Method] = {
            "adautomix": AdAutoMix(),
            "mixup": Supervised(prepared=Mixup()),
        }
        for name, method in methods.items():
            learner, _ = train(
                method, arena.setting, arena.examples, rows=split.train, batch_size=50, epochs=5
            )
            accuracies[name].append(arena.judge(method, learner).metrics[arena.primary])
            if isinstance(method, AdAutoMix):
                some = split.train[torch.arange(0, len(split.train), 3)]
                assert hardness(method, learner, arena.examples.batch(some, epoch=9)) > 0
    mine, other = (torch.tensor(accuracies[name]) for name in ("adautomix", "mixup"))
    # Three standard errors of a difference of two shares of 1500 images near 0.3.
    assert mine.mean() > other.mean() - 0.05
