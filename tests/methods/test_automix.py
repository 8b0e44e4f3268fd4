"""AutoMix: the authors' numbers, the loss of its masks, and masks that follow the weight."""

from __future__ import annotations

import pytest
import torch
from tests.methods.authors import expect_the_same, replay
from tests.methods.ground import images, prepare, run
from tests.methods.test_mask_training import small, started
from torch import Tensor
from torch.nn import functional

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.automix import AutoMix, share_loss
from vicinal.methods.mask_training import masks_of
from vicinal.mixers.attention_mask import masks_of_scores


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("automix", AutoMix(embed_weights=False, scope="batch")),
        ("automix_told", AutoMix(margin=0.35, scope="batch")),
    ],
)
def test_two_iterations_are_those_of_the_authors_code(name: str, method: AutoMix) -> None:
    expect_the_same(*replay(method, name))


def test_a_mask_costs_what_its_mean_is_further_than_a_tenth_from_the_weight() -> None:
    masks = torch.tensor([0.5, 0.65, 0.1])[:, None, None].expand(-1, 4, 4)
    weights = torch.tensor([0.5, 0.5, 0.5])
    wanted = (0.0 + 0.05 + 0.3) / 3
    assert share_loss(masks, weights, "sample").item() == pytest.approx(wanted, abs=1e-6)
    # Of a batch the mean of all masks counts, 0.4167: none is further off than a tenth.
    assert share_loss(masks, weights, "batch").item() == 0
    assert share_loss(masks, weights + 0.2, "batch").item() == pytest.approx(0.1833, abs=1e-4)


def test_the_models_loss_is_that_of_clean_images_and_of_the_mixtures() -> None:
    method = AutoMix()
    learner, batch = started(method)
    heard, _ = method.heard(learner, batch)
    params = masks_of(learner).sample(heard, learner.draws(batch)).detach()
    loss, _ = method.model_loss(learner, heard, params)
    learner, _ = started(method)
    wanted = functional.cross_entropy(learner.model(batch.x)[:, :3], batch.target.labels[:, 0])  # type: ignore[union-attr]
    masked = masks_of(learner).apply(batch, params)
    log = learner.model(masked.x)[:, 3:].log_softmax(1)
    labels = masked.target.labels  # type: ignore[union-attr]
    wanted = wanted - (params.weights * log.gather(1, labels)).sum(1).mean()
    torch.testing.assert_close(loss, wanted)


def own_masks(learner: Learner, batch: Batch, own: Tensor) -> Tensor:
    """The means of the own masks, (B,), had the own images these weights. own: (B,)."""
    heard, _ = AutoMix().heard(learner, batch)
    masks = masks_of(learner)
    at = torch.stack([torch.arange(len(batch)), torch.arange(len(batch)).roll(1)], dim=1)
    weights = torch.stack([own, 1 - own], dim=1)
    with torch.no_grad():
        scores = masks.generator(heard.evidence[masks.probe], at, weights)
    return masks_of_scores(scores, 8, 8, upsampling="nearest")[:, 0].mean(dim=(1, 2))


def test_masks_that_are_told_the_weight_come_to_follow_it() -> None:
    learner, _ = run(AutoMix(mask_weight=1.0, momentum=0.9), network=small, epochs=30)
    batch = images().batch(torch.arange(60), epoch=0)
    batch = batch.replace(x=prepare(batch.tensor))
    shares = torch.linspace(0.1, 0.9, 9)
    found = torch.stack([own_masks(learner, batch, share.expand(60)) for share in shares])
    assert (found.mean(dim=1).diff() > 0.02).all()
    # As often as the weights are drawn: by the density of Beta(2, 2).
    density = shares * (1 - shares)
    distance = (found - shares[:, None]).abs().mean(dim=1)
    assert (density * distance).sum() / density.sum() < 0.1


def test_masks_that_are_not_told_the_weight_cannot_follow_it() -> None:
    learner, _ = run(AutoMix(embed_weights=False, momentum=0.9), network=small, epochs=2)
    batch = images().batch(torch.arange(60), epoch=0)
    batch = batch.replace(x=prepare(batch.tensor))
    few, many = (own_masks(learner, batch, torch.full((60,), share)) for share in (0.1, 0.9))
    assert torch.equal(few, many)


def test_settings_out_of_range_are_refused() -> None:
    for setting in ({"alpha": 0.0}, {"mask_weight": -1.0}, {"margin": 0.6}, {"momentum": -0.1}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            AutoMix(**setting)  # type: ignore[arg-type]
