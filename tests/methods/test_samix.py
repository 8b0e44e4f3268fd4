"""SAMix: the authors' numbers, masks that take sides, and masks that show what the weight says."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.methods.authors import expect_the_same, replay
from tests.methods.ground import run
from tests.methods.test_mask_training import small, started

from vicinal.methods.mask_training import masks_of
from vicinal.methods.samix import SAMix, spread
from vicinal.mixers.attention_mask import masks_of_scores


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("samix", SAMix(matched=0.0, scope="batch")),
        ("samix_matched", SAMix(matched=1.0, curvature=math.inf, scope="batch")),
    ],
)
def test_two_iterations_are_those_of_the_authors_code(name: str, method: SAMix) -> None:
    expect_the_same(*replay(method, name))


@pytest.mark.parametrize("matched", [0.0, 0.25, 1.0])
def test_masks_show_what_the_weight_says_as_often_as_asked(matched: float) -> None:
    method = SAMix(matched=matched)
    learner, batch = started(method)
    heard, _ = method.heard(learner, batch)
    params = method.shown(learner, heard)
    assert params.matched is not None
    assert abs(float(params.matched.float().mean()) - matched) < 0.3
    ones = batch.replace(x=torch.ones_like(batch.tensor))
    # Every sample shown on black alone: the mixture is its mask.
    mixed = torch.stack(
        [
            masks_of(learner)
            .apply(batch.replace(x=ones.x * (torch.arange(24) == row)[:, None, None, None]), params)
            .tensor[row]
            for row in range(24)
        ]
    ).mean(dim=(1, 2, 3))
    alone = params.partner[:, 0] != batch.index  # a sample mixed with itself is shown whole
    exact = (params.matched & alone).nonzero()[:, 0]
    torch.testing.assert_close(mixed[exact], params.weights[exact, 0], atol=1e-6, rtol=0)


def test_all_masks_of_a_batch_are_matched_together_with_its_one_weight() -> None:
    method = SAMix(matched=0.5, scope="batch")
    learner, batch = started(method)
    heard, _ = method.heard(learner, batch)
    found = set()
    for epoch in range(12):
        params = method.shown(learner, heard.replace(epoch=epoch))
        assert params.matched is not None
        assert len(params.matched.unique()) == len(params.weights[:, 0].unique()) == 1
        found.add(bool(params.matched[0]))
    assert found == {False, True}


def test_the_spread_of_masks_is_their_variance() -> None:
    halves = torch.tensor([0.0, 1.0]).repeat(8).view(1, 4, 4)
    masks = torch.cat([halves, torch.full((1, 4, 4), 0.2)])
    assert spread(masks, "sample").item() == pytest.approx(0.125)
    assert spread(masks, "batch").item() == pytest.approx(masks.double().var(correction=0).item())


def test_the_masks_loss_is_the_distance_less_the_variance() -> None:
    learner, batch = started(SAMix())
    heard, judged = SAMix().heard(learner, batch)
    params = masks_of(learner).sample(heard, learner.draws(batch))
    own = masks_of_scores(params.scores, 8, 8, upsampling="bilinear")[:, 0]
    loss, plain, even = (
        SAMix(mask_weight=weight, variance=variance).generator_loss(learner, heard, params, judged)
        for weight, variance in ((0.5, 2.0), (0.0, 2.0), (0.5, 0.0))
    )
    distance = (own.mean(dim=(1, 2)) - params.weights[:, 0]).abs() - 0.1
    torch.testing.assert_close(even - plain, 0.5 * distance.clamp(min=0).mean())
    variance = own.var(dim=(1, 2), correction=0).mean()
    torch.testing.assert_close(even - loss, 0.5 * 2.0 * variance, atol=1e-6, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_reward_for_variance_makes_masks_take_sides(seed: int) -> None:
    def variance(reward: float) -> float:
        method = SAMix(variance=reward, mask_weight=10.0, momentum=0.9)
        learner, _ = run(method, network=small, epochs=20, seed=seed)
        _, batch = started(method)
        heard, _ = method.heard(learner, batch)
        with torch.no_grad():
            params = masks_of(learner).sample(heard, learner.draws(batch))
        own = masks_of_scores(params.scores, 8, 8, upsampling="bilinear")[:, 0]
        return float(spread(own, "sample"))

    assert variance(2.0) > 0.1 > variance(0.0)  # of at most 1/4


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0}, {"matched": 1.5}, {"curvature": -1.0}, {"variance": -1.0}, {"dropout": 1.0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SAMix(**settings)
