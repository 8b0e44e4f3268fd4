"""Labels by attention: hand-computed weights, limits, and no gradient through them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, Draws, SoftTarget
from vicinal.core.attention import ClassAttention
from vicinal.core.boxes import box_mask
from vicinal.core.params import Params
from vicinal.core.probe import Features, Probe, listening
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.paste import CutMix, PasteParams
from vicinal.objectives.attention_labels import AttentionLabels, nearest_places
from vicinal.objectives.smoothing import SmoothedLoss

SIDE, CELLS = 16, 4


def images(rows: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(3)
    return Batch.of(torch.randn(rows, 3, SIDE, SIDE, generator=generator), torch.arange(rows))


def pasted(*boxes: tuple[int, int, int, int]) -> PasteParams:
    """Boxes as (top, bottom, left, right) of the rows in reversed order."""
    box = torch.tensor(boxes)
    return PasteParams(torch.arange(len(boxes)).flip(0), box[:, ::2], box[:, 1::2])


def attention(rows: int = 4, *, seed: int = 0) -> Tensor:
    """(B, 4, 4): a row sums to less than one, the rest is the class token's own."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, CELLS**2 + 1, generator=generator).mul(2).softmax(dim=1)
    return weights[:, 1:].view(rows, CELLS, CELLS)


def given_weights(mixed: Batch, params: Params, looked: Tensor, area_share: float = 0.5) -> Tensor:
    """The partner's label weights. Returns (B,)."""
    target = AttentionLabels(area_share).target(mixed, params, looked)
    assert target.weights is not None
    torch.testing.assert_close(target.weights.sum(dim=1), torch.ones(len(mixed)))
    assert target.weights.min() >= 0
    return target.weights[:, 1]


ALIGNED = pasted((0, 8, 4, 16), (4, 8, 0, 4), (0, 16, 0, 16), (8, 8, 4, 12))
AREAS = torch.tensor([6 / 16, 1 / 16, 1.0, 0.0])


def test_even_attention_gives_the_area_where_boxes_end_with_tokens() -> None:
    mixed = CutMix().apply(images(), ALIGNED)
    even = torch.full((4, CELLS, CELLS), 1 / 20)
    for area_share in (0.0, 0.3, 0.5, 1.0):
        found = given_weights(mixed, ALIGNED, even, area_share)
        torch.testing.assert_close(found, AREAS, atol=1e-7, rtol=0)


@pytest.mark.parametrize("area_share", [0.0, 0.3, 0.5, 1.0])
def test_attention_on_one_place_gives_all_of_its_part_or_nothing(area_share: float) -> None:
    params = pasted((0, 8, 4, 16), (0, 8, 4, 16))
    mixed = CutMix().apply(images(2), params)
    looked = torch.zeros(2, CELLS, CELLS)
    looked[0, 1, 2] = 0.9  # inside
    looked[1, 1, 0] = 0.9  # left of the box
    found = given_weights(mixed, params, looked, area_share)
    area = 6 / 16
    expected = torch.tensor([area_share * area + (1 - area_share), area_share * area])
    torch.testing.assert_close(found, expected)


def test_with_the_area_alone_the_target_is_that_of_the_mixer_bit_for_bit() -> None:
    for mixer in (CutMix(), Mixup()):
        batch = images()
        mixed, params = mixer.augment(batch, Draws(1, batch.index))
        assert isinstance(mixed.target, ClassTarget)
        assert AttentionLabels(1.0).target(mixed, params, attention()).equal(mixed.target)


def test_one_box_gives_every_sample_a_weight_of_its_own() -> None:
    batch = images()
    mixed, params = CutMix(scope="batch").augment(batch, Draws(0, batch.index))
    assert len(params.start.unique(dim=0)) == 1
    assert len(given_weights(mixed, params, attention()).unique()) == 4


@given(
    box=st.tuples(*[st.integers(0, SIDE)] * 4),
    area_share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_weights_are_those_of_the_formula_patch_by_patch(
    box: tuple[int, ...], area_share: float, seed: int
) -> None:
    (top, bottom), (left, right) = sorted(box[:2]), sorted(box[2:])
    params = pasted(*[(top, bottom, left, right)] * 2)
    mixed = CutMix().apply(images(2), params)
    looked = attention(2, seed=seed)
    found = given_weights(mixed, params, looked, area_share)
    area = (bottom - top) * (right - left) / SIDE**2
    for row in range(2):
        inside = outside = 0.0
        for down in range(CELLS):
            for across in range(CELLS):
                weight = looked[row, down, across].item()
                if top <= 4 * down < bottom and left <= 4 * across < right:
                    inside += weight
                else:
                    outside += weight
        expected = (1 - area_share) * inside / (inside + outside) + area_share * area
        assert found[row].item() == pytest.approx(expected, abs=1e-6)


def test_a_box_between_the_samples_of_the_grid_keeps_its_share_of_the_area() -> None:
    params = pasted((1, 4, 1, 4), (0, 1, 0, 1))
    mixed = CutMix().apply(images(2), params)
    found = given_weights(mixed, params, attention(2))
    assert found[0].item() == pytest.approx(9 / 256 / 2)
    assert found[1].item() > 1 / 256 / 2  # one pixel that stands for its patch


def test_interpolated_labels_stay_as_they_are() -> None:
    batch = images()
    params = MixupParams(batch.index.flip(0), torch.tensor([0.0, 0.3, 0.7, 1.0]))
    mixed = Mixup().apply(batch, params)
    torch.testing.assert_close(given_weights(mixed, params, attention()), 1 - params.kept)


@pytest.mark.parametrize("size", [7, 16, 28, 32, 33, 100, 224])
@pytest.mark.parametrize("cells", [1, 2, 4, 7])
def test_places_are_those_of_nearest_down_sampling(size: int, cells: int) -> None:
    places = nearest_places(size, cells, device=torch.device("cpu"))
    line = torch.arange(float(size))[None, None]
    assert torch.equal(places, F.interpolate(line, cells)[0, 0].long())


class Tiny(nn.Module):
    """A vision transformer of one block, and how often it ran."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.inner = timm.create_model(
                "vit_tiny_patch16_224",
                img_size=SIDE,
                patch_size=4,
                embed_dim=24,
                num_heads=3,
                depth=1,
                num_classes=4,
            )
            for parameter in self.inner.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.3)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        output: Tensor = self.inner(x)
        return output


@pytest.fixture(scope="module")
def model() -> Tiny:
    return Tiny()


def run(model: nn.Module, mixed: Batch) -> tuple[Tensor, dict[Probe, Tensor]]:
    with listening([ClassAttention()], {"model": model}) as heard:
        output = model(mixed.x)
    return output, heard


def test_pasting_into_each_other_swaps_the_weights(model: Tiny) -> None:
    # The right half of 1 in 0 and the left half of 0 in 1 are one and the same image.
    halves = pasted((0, 16, 6, 16), (0, 16, 0, 6))
    mixed = CutMix().apply(images(2), halves)
    assert torch.equal(mixed.x[0], mixed.x[1])
    target = AttentionLabels().target(mixed, halves, run(model, mixed)[1][ClassAttention()])
    assert target.weights is not None
    torch.testing.assert_close(target.weights[0], target.weights[1].flip(0), atol=1e-6, rtol=0)
    assert (target.weights[0, 0] - target.weights[0, 1]).abs() > 1e-3


def gradients(loss: Tensor, model: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([gradient.flatten() for gradient in found])


def test_the_weights_carry_no_gradient(model: Tiny) -> None:
    batch = images()
    mixed, params = CutMix().augment(batch, Draws(2, batch.index))
    output, heard = run(model, mixed)
    objective = AttentionLabels()
    found = gradients(objective(output, mixed, params, heard), model)
    frozen = objective.target(mixed, params, heard[ClassAttention()].clone())
    assert frozen.weights is not None
    dense = torch.zeros(4, 4)
    dense.scatter_add_(1, frozen.labels, frozen.weights)
    expected = gradients(F.cross_entropy(model(mixed.x), dense), model)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_even_a_probe_that_hands_out_gradients_gives_weights_without() -> None:
    batch = images()
    mixed, params = CutMix().augment(batch, Draws(2, batch.index))
    looked = attention().requires_grad_()
    assert not AttentionLabels().target(mixed, params, looked).weights.requires_grad


def test_the_attention_is_that_of_the_mixed_batch_in_the_only_pass(model: Tiny) -> None:
    batch, params = images(), pasted(*[(2, 14, 4, 16)] * 4)
    mixed = CutMix().apply(batch, params)
    before = model.passes
    output, heard = run(model, mixed)
    loss = AttentionLabels()(output, mixed, params, heard)
    assert model.passes == before + 1
    _, of_clean = run(model, batch)
    other = AttentionLabels()(output, mixed, params, of_clean)
    assert (loss - other).abs() > 1e-3


def test_smoothing_comes_after_and_before_alike(model: Tiny) -> None:
    batch = images()
    assert isinstance(batch.target, ClassTarget)
    early = batch.replace(target=batch.target.smooth(0.1))
    params = CutMix().sample(batch, Draws(0, batch.index))
    mixed = CutMix().apply(batch, params)
    output, heard = run(model, mixed)
    after = AttentionLabels(loss=SmoothedLoss(0.1))(output, mixed, params, heard)
    before = AttentionLabels()(output, CutMix().apply(early, params), params, heard)
    torch.testing.assert_close(after, before)
    assert (after - AttentionLabels()(output, mixed, params, heard)).abs() > 1e-3


def test_another_probe_may_say_where_the_model_looks() -> None:
    layer = Features(when="during", layer="map")
    objective = AttentionLabels(0.0, probe=layer)
    assert objective.probes == (layer,)
    batch, params = images(2), pasted((0, 8, 4, 16), (0, 8, 4, 16))
    mixed = CutMix().apply(batch, params)
    found = objective(torch.randn(2, 4), mixed, params, {layer: attention(2)})
    assert found.isfinite()


def test_attention_on_nothing_but_the_class_token_leaves_a_share_of_the_area() -> None:
    params = pasted((0, 8, 0, 16), (0, 8, 0, 16))
    mixed = CutMix().apply(images(2), params)
    found = given_weights(mixed, params, torch.zeros(2, CELLS, CELLS))
    torch.testing.assert_close(found, torch.full((2,), 0.25))


@dataclass(frozen=True)
class Nowhere(Params):
    partner: Tensor


def refusals() -> Iterable[tuple[str, Batch, Any]]:
    batch = images(2)
    params = pasted((0, 8, 0, 16), (0, 8, 0, 16))
    mixed = CutMix().apply(batch, params)
    soft = SoftTarget(torch.eye(2))
    yield "own and the partner's class label: mix the batch", batch, params
    yield "own and the partner's class label", mixed.replace(target=soft), params
    yield "the mixture has 4", CutMix().apply(mixed, params), params
    yield "a Nowhere does not say where the partner is", mixed, Nowhere(batch.index)
    yield "does not say where the partner is", mixed, None


@pytest.mark.parametrize(("message", "batch", "params"), list(refusals()))
def test_what_cannot_be_weighed_is_refused(message: str, batch: Batch, params: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        AttentionLabels().target(batch, params, attention(2))


@pytest.mark.parametrize("area_share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(area_share: float) -> None:
    with pytest.raises(ValueError, match="area_share must be in"):
        AttentionLabels(area_share)


def test_a_probe_that_asks_before_the_batch_is_mixed_is_refused() -> None:
    with pytest.raises(ValueError, match="must listen to the mixed batch"):
        AttentionLabels(probe=ClassAttention(when="before"))


def test_the_mask_is_the_pixels_mask_sampled_down() -> None:
    batch = images()
    params = CutMix().sample(batch, Draws(5, batch.index))
    mask = box_mask(params.start, params.stop, (SIDE, SIDE)).float()
    cells = F.interpolate(mask[:, None], CELLS)[:, 0]
    looked = attention()
    expected = (cells * looked).sum(dim=(1, 2)) / looked.sum(dim=(1, 2))
    mixed = CutMix().apply(batch, params)
    torch.testing.assert_close(given_weights(mixed, params, looked, 0.0), expected)
