"""Scores of which image is shown where."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vicinal.models.mask_generator import (
    JointMaskGenerator,
    MaskGenerator,
    PairMaskGenerator,
    Projection,
    flattened_weight,
)


def random(count: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(count))


def awake(generator: nn.Module) -> nn.Module:
    """With weights large enough for masks that differ."""
    for place, parameter in enumerate(generator.parameters()):
        parameter.data = random(place, *parameter.shape)
    return generator


FEATURES = random(99, 7, 6, 3, 4)
AT = torch.tensor([[0, 1, 2], [3, 6, 3], [5, 4, 0], [6, 6, 6]])
WEIGHTS = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.4, 0.4, 0.2], [0.3, 0.3, 0.4]])


@pytest.mark.parametrize("told", [False, True])
def test_scores_are_attention_to_all_other_images(told: bool) -> None:
    generator = awake(MaskGenerator(6, embed_weights=told))
    scores = generator(FEATURES, AT, WEIGHTS)
    assert scores.shape == (4, 3, 3, 4)

    def projected(projection: Projection, row: int, place: int) -> Tensor:
        image = FEATURES[AT[row, place]].flatten(1).T
        result = image @ projection.features.weight.T + projection.features.bias
        if projection.weight is not None:
            result = result + WEIGHTS[row, place] * projection.weight.weight[:, 0]
        return result.relu() if projection.features.out_features > 1 else result

    for row, place in itertools.product(range(4), range(3)):
        query = projected(generator.query, row, place)
        similar = sum(
            query @ projected(generator.key, row, other).T for other in range(3) if other != place
        )
        wanted = (similar / 3**0.5).softmax(dim=1) @ projected(generator.value, row, place)
        torch.testing.assert_close(scores[row, place].flatten(), wanted[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_permuted_images_have_permuted_scores(order: tuple[int, ...]) -> None:
    generator = awake(MaskGenerator(6, embed_weights=True))
    scores = generator(FEATURES, AT, WEIGHTS)
    permuted = generator(FEATURES, AT[:, order], WEIGHTS[:, order])
    torch.testing.assert_close(permuted, scores[:, order], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(scores[0, 0], scores[0, 1])


@pytest.mark.parametrize("images", [2, 3, 5])
def test_equal_features_have_exactly_equal_scores(images: int) -> None:
    features = random(1, 1, 6, 3, 4).expand(7, -1, -1, -1)
    at = torch.randint(0, 7, (5, images), generator=torch.Generator().manual_seed(0))
    scores = awake(MaskGenerator(6))(features, at, torch.full((5, images), 1 / images))
    assert torch.equal(scores, scores[:, :1].expand_as(scores))


@pytest.mark.parametrize("told", [False, True])
def test_a_pair_scores_the_partner_by_attention_to_it(told: bool) -> None:
    generator = awake(PairMaskGenerator(6, embed_weights=told))
    scores = generator(FEATURES, AT[:, :2], WEIGHTS[:, :2])
    assert (scores[:, 0] == 0).all()
    for row in range(4):
        own, partner = (
            torch.cat([FEATURES[AT[row, place]].flatten(1).T, WEIGHTS[row, place].expand(12, 1)], 1)
            for place in range(2)
        )
        query, value = (
            torch.cat(
                [part.features.weight, part.weight.weight if told else torch.zeros(size, 1)], dim=1
            )
            for part, size in ((generator.query, 3), (generator.value, 1))
        )
        similar = (own @ query.T + generator.query.features.bias) @ (
            partner @ query.T + generator.query.features.bias
        ).T
        wanted = (similar / 3**0.5).softmax(1) @ (partner @ value.T + generator.value.features.bias)
        torch.testing.assert_close(scores[row, 1].flatten(), wanted[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("curvature", [0.0, 0.25, 3.0, float("inf")])
def test_a_weight_is_flattened_around_one_half_and_stays_at_its_ends(curvature: float) -> None:
    fixed = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(flattened_weight(fixed, curvature), fixed)
    weight = torch.linspace(0, 1, 101)
    bent = flattened_weight(weight, curvature)
    assert (bent.diff() > -1e-6).all()
    torch.testing.assert_close(bent.flip(0), 1 - bent, atol=1e-6, rtol=0)
    middle, end = (bent[51] - bent[50]) / 0.01, (bent[1] - bent[0]) / 0.01
    slope = curvature / (curvature + 1 / 3) if curvature < 99 else 1.0
    assert middle.item() == pytest.approx(slope, abs=0.01)
    assert end.item() >= 1 - 1e-4


def test_a_joint_generator_reads_both_images_scaled_by_their_weights() -> None:
    generator = awake(JointMaskGenerator(6))
    assert isinstance(generator, JointMaskGenerator)
    at, weights = AT[:, :2], torch.tensor([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0], [0.7, 0.3]])
    scores = generator(FEATURES, at, weights)
    assert (scores[:, 0] == 0).all()
    bent = flattened_weight(weights, 0.25)
    scaled = FEATURES[at].flatten(3).transpose(2, 3) * (1 + bent)[:, :, None, None]
    hidden = scaled[:, 1] @ generator.value[0].weight.T
    mean, variance = hidden.mean(dim=(0, 1)), hidden.var(dim=(0, 1), correction=0)
    norm = generator.value[1]
    hidden = (hidden - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    value = functional.elu(hidden) @ generator.value[3].weight.T
    both = torch.cat([scaled[:, 0], scaled[:, 1]], dim=2)
    similar = generator.query(both) @ generator.key(both).mT / 3**0.5
    wanted = (similar.softmax(dim=2) @ value)[..., 0]
    torch.testing.assert_close(scores[:, 1].flatten(1), wanted, atol=1e-4, rtol=1e-4)


def test_asking_a_joint_generator_changes_nothing_on_it() -> None:
    generator = JointMaskGenerator(6)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    generator(FEATURES, AT[:, :2], WEIGHTS[:, :2])
    assert all(torch.equal(generator.state_dict()[name], one) for name, one in before.items())


def test_an_untrained_generator_shows_all_images_alike() -> None:
    for generator in (
        MaskGenerator(64),
        PairMaskGenerator(64, embed_weights=True),
        JointMaskGenerator(64),
    ):
        features = random(2, 10, 64, 4, 4)
        scores = generator(features, torch.randint(0, 10, (8, 2)), torch.full((8, 2), 0.5))
        assert (scores.softmax(dim=1) - 0.5).abs().max() < 0.1


def test_scores_are_float32_under_autocast() -> None:
    generator = awake(MaskGenerator(6))
    exact = generator(FEATURES, AT, WEIGHTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = generator(FEATURES, AT, WEIGHTS)
    assert torch.equal(scores, exact)
