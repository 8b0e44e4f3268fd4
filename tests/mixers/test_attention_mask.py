"""Mixing by masks that a network makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vicinal import Batch, Card, Draws, Target
from vicinal.core.probe import Features
from vicinal.mixers.attention_mask import (
    AttentionMask,
    AttentionMaskParams,
    constant_near_ends,
    masks_of_scores,
    matched_to_weights,
)
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.testing import checks_for

PROBE = Features(layer="features")


class Brightness(nn.Module):
    """Scores are the brightness of the features, times a number that can be learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        scores: Tensor = self.scale * features.mean(dim=1)[at]
        return scores


def some(rows: int = 7, *, height: int = 8, width: int = 12) -> Batch:
    x = torch.randn(rows, 3, height, width, generator=torch.Generator().manual_seed(0))
    features = functional.avg_pool2d(x, 4)
    return Batch(
        x=x,
        target=Target.of(torch.arange(rows) % 5),
        index=torch.arange(rows) * 10,
        evidence={PROBE: features},
    )


def drawn(mixer: AttentionMask, batch: Batch, seed: int = 0) -> AttentionMaskParams:
    return mixer.sample(batch, Draws(seed, batch.index))


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(8, 12), (9, 7), (32, 32), (3, 4)])
def test_masks_are_the_softmax_of_the_resized_scores(
    upsampling: str, size: tuple[int, int]
) -> None:
    scores = 3 * torch.randn(5, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    masks = masks_of_scores(scores, *size, upsampling=upsampling)
    wanted = functional.interpolate(scores, size=size, mode=upsampling).softmax(dim=1)
    torch.testing.assert_close(masks, wanted)
    torch.testing.assert_close(masks.sum(1), torch.ones(5, *size), atol=1e-6, rtol=0)


@pytest.mark.parametrize("images", [2, 3, 5])
def test_equal_scores_show_every_image_by_exactly_its_share(images: int) -> None:
    scores = torch.randn(5, 1, 3, 4).expand(-1, images, -1, -1)
    masks = masks_of_scores(scores, 16, 16, upsampling="bilinear")
    assert torch.equal(masks, torch.full_like(masks, 1 / images))


def test_every_pixel_is_the_images_by_their_masks_and_the_labels_by_the_weights() -> None:
    batch, mixer = some(), AttentionMask(Brightness(), PROBE)
    with torch.no_grad():
        params = drawn(mixer, batch)
    mixed = mixer.apply(batch, params)
    masks = masks_of_scores(params.scores, 8, 12, upsampling="bilinear")
    for row in range(7):
        sources = [row, *(params.partner[row] // 10).tolist()]
        # The scores of an image follow it wherever it is mixed in.
        brightness = 2 * batch.evidence[PROBE][sources].mean(1)
        torch.testing.assert_close(params.scores[row], brightness)
        exact = (masks[row][:, None] * batch.tensor[sources]).sum(0)
        torch.testing.assert_close(mixed.tensor[row], exact)
        dense = torch.zeros(5)
        for weight, at in zip(params.weights[row], sources, strict=True):
            dense[at % 5] += weight
        assert mixed.target is not None
        torch.testing.assert_close(mixed.target.dense(5)[row], dense)
    assert not torch.allclose(masks.mean(dim=(2, 3)), params.weights, atol=0.05)


def test_two_images_and_constant_masks_are_mixup() -> None:
    batch, mixer = some(), AttentionMask(Brightness(), PROBE, images=2)
    params = constant_near_ends(drawn(mixer, batch), 0.5)
    mixed = mixer.apply(batch, params)
    two = Mixup().apply(batch, MixupParams(params.partner[:, 0], params.weights[:, 0]))
    torch.testing.assert_close(mixed.x, two.x)
    assert mixed.target is not None
    assert two.target is not None
    torch.testing.assert_close(mixed.target.dense(5), two.target.dense(5))


def test_masks_are_constant_only_where_the_own_weight_is_near_an_end() -> None:
    own = torch.tensor([0.0, 0.03, 0.04, 0.5, 0.96, 0.97, 1.0])
    weights = torch.stack([own, 0.75 * (1 - own), 0.25 * (1 - own)], dim=1)
    scores = torch.randn(7, 3, 2, 3, generator=torch.Generator().manual_seed(2))
    params = AttentionMaskParams(torch.zeros(7, 2, dtype=torch.int64), weights, scores)
    found = constant_near_ends(params, 0.03)
    masks = masks_of_scores(found.scores, 8, 12, upsampling="bilinear")
    constant = weights[:, :, None, None].expand(-1, -1, 8, 12)
    near = torch.tensor([True, True, False, False, False, True, True])
    torch.testing.assert_close(masks[near], constant[near], atol=1e-6, rtol=1e-5)
    assert torch.equal(found.scores[~near], scores[~near])
    assert params.scores is scores


@pytest.mark.parametrize("images", [2, 3, 5])
def test_matched_masks_have_the_weights_as_their_means_and_still_sum_to_one(images: int) -> None:
    generator = torch.Generator().manual_seed(4)
    masks = (3 * torch.randn(9, images, 6, 5, generator=generator)).softmax(dim=1)
    weights = torch.rand(9, images, generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    weights[0] = functional.one_hot(torch.tensor(1), images)  # one is shown alone
    found = matched_to_weights(masks, weights)
    torch.testing.assert_close(found.mean(dim=(2, 3)), weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(9, 6, 5), atol=1e-6, rtol=0)
    assert found.min() >= -1e-6
    again = matched_to_weights(found, weights)
    torch.testing.assert_close(again, found, atol=1e-5, rtol=0)


def test_of_two_masks_the_one_that_shows_too_much_is_scaled_down() -> None:
    own = torch.tensor([[0.9, 0.5], [0.6, 0.8]])  # 0.7 in the mean
    masks = torch.stack([own, 1 - own])[None]
    less = matched_to_weights(masks, torch.tensor([[0.35, 0.65]]))
    torch.testing.assert_close(less[0, 0], own / 2)
    more = matched_to_weights(masks, torch.tensor([[0.85, 0.15]]))
    torch.testing.assert_close(more[0, 1], (1 - own) / 2)


def test_only_the_rows_that_say_so_are_matched() -> None:
    batch, mixer = some(), AttentionMask(Brightness(), PROBE, images=2)
    params = drawn(mixer, batch).detach()
    rows = torch.arange(7) % 2 == 0
    mixed = mixer.apply(batch, replace(params, matched=rows)).tensor
    plain = mixer.apply(batch, params).tensor
    differ = (mixed - plain).abs().amax(dim=(1, 2, 3)) > 1e-3
    alone = params.partner[:, 0] == batch.index
    assert torch.equal(differ | alone, rows | alone)


def test_gradients_pass_from_the_mixture_to_the_network() -> None:
    batch, network = some(), Brightness()
    mixer = AttentionMask(network, PROBE)
    params = drawn(mixer, batch)
    assert params.scores.requires_grad
    mixer.apply(batch, params).tensor.square().sum().backward()
    assert network.scale.grad is not None
    assert network.scale.grad != 0
    assert not params.detach().scores.requires_grad


def test_stored_params_replay_without_network_and_features(tmp_path: Path) -> None:
    batch, mixer = some(), AttentionMask(Brightness(), PROBE)
    params = drawn(mixer, batch)
    mixed = mixer.apply(batch, params.detach())
    params.save(tmp_path / "params.safetensors")
    replayed = AttentionMaskParams.load(tmp_path / "params.safetensors")
    again = AttentionMask(nn.Identity(), PROBE).apply(batch.replace(evidence={}), replayed)
    assert torch.equal(again.tensor, mixed.tensor)
    assert set(mixer.partners(params).tolist()) <= set(batch.index.tolist())
    assert mixer.partners(params).shape == (14,)


@dataclass
class Frozen:
    """Scores without a network of its own, as the contract's copies and comparisons need it."""

    sharpness: float = 3.0

    def __call__(self, features: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        return self.sharpness * features.mean(dim=1)[at]


#: It has no card: an untrained network is nothing to choose by name.
ON_CARDS = {
    "card_is_complete",
    "card_agrees_with_the_constructor",
    "settings_rebuild_it",
    "values_out_of_range_are_refused",
}


@pytest.mark.parametrize("images", [2, 3])
def test_it_keeps_the_contract(images: int) -> None:
    mixer = AttentionMask(Frozen(), PROBE, images=images)
    mixer.card = Card(  # type: ignore[misc]
        name="attention_mask",
        kind="mixer",
        modality=("image",),
        summary="",
        family="learned",
        labels="mixed",
        dtypes=("float32", "float64", "bfloat16"),
        differentiable=True,
        stage="prepared",
    )
    checks = checks_for(mixer, batches=some, slow=False)
    kept = [check for check in checks if check.name not in ON_CARDS]
    assert len(kept) > 15
    for check in kept:
        check()
