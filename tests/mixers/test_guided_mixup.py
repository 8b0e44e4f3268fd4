from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.methods.ground import ConvNet, run
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, Draws
from vicinal.core.probe import Saliency, ask
from vicinal.core.target import Target
from vicinal.methods.supervised import Supervised
from vicinal.mixers.farthest import farthest_cycle
from vicinal.mixers.guided_mixup import (
    GuidedMixup,
    GuidedMixupParams,
    distributed,
    enlarged,
    own_shares,
)
from vicinal.mixers.image_saliency import blurred, spectral_residual
from vicinal.mixers.label_kernel import LabelKernel
from vicinal.mixers.pairing import Permutation

GOLDEN = Path(__file__).parent / "golden" / "guidedmixup_authors.safetensors"


def salient(maps: Tensor, *, values: Tensor | None = None) -> Batch:
    """Image i holds the number i by default, and every sample has a class and a saliency map."""
    count, height, width = maps.shape
    values = torch.arange(float(count)) if values is None else values
    x = values[:, None, None, None].expand(-1, 3, height, width).contiguous()
    return Batch.of(x, torch.arange(count)).replace(evidence={Saliency(): maps})


def drawn(mix: GuidedMixup, batch: Batch, seed: int = 0) -> GuidedMixupParams:
    return mix.sample(batch, Draws(seed, batch.index))


def own_weights(target: Target | None) -> Tensor:
    assert isinstance(target, ClassTarget)
    assert target.weights is not None
    return target.weights[:, 0]


def random_maps(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) ** 4


@pytest.mark.parametrize("saliency", ["spectral", "gradient"])
def test_mixed_images_and_weights_are_those_of_the_authors_code(saliency: Any) -> None:
    # 3neutronstar/GuidedMixup, the branch `guided` of mixup.py with spectral_residual.py, and its
    # pairing `greedy` by the loop of pairing.pyx.
    stored = load_file(GOLDEN)
    x = (stored["x"].float() / 255 - 0.5) / 0.25
    found = stored[f"{saliency}.saliency"]
    batch = Batch.of(x, torch.arange(6)).replace(evidence={Saliency(): found})
    partner, mix = stored[f"{saliency}.partner"], GuidedMixup(saliency)
    maps = distributed(blurred(found if saliency == "gradient" else spectral_residual(x)))
    distances = torch.cdist(maps.flatten(1), maps.flatten(1))
    assert torch.equal(farthest_cycle(distances), partner)
    params = GuidedMixupParams(partner, own_shares(maps, maps[partner]))
    mixed = mix.apply(batch, params)
    torch.testing.assert_close(mixed.x, stored[f"{saliency}.mixed"], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        own_weights(mixed.target), stored[f"{saliency}.kept"], atol=1e-6, rtol=0
    )
    # Drawn by itself the cycle begins at one of the two ends, in one of two runs as theirs does.
    runs = [drawn(mix, batch, seed) for seed in range(8)]
    same = [params for params in runs if torch.equal(params.partner, partner)]
    assert 0 < len(same) < 8
    torch.testing.assert_close(same[0].own, own_shares(maps, maps[partner]), atol=1e-6, rtol=0)


def test_every_sample_is_in_one_cycle() -> None:
    batch = salient(random_maps(9, 32, 32))
    partner = drawn(GuidedMixup("gradient"), batch).partner
    met, here = [], 0
    for _ in range(9):
        met.append(here)
        here = int(partner[here])
    assert here == 0
    assert sorted(met) == list(range(9))


def test_equal_maps_give_the_plain_mean_and_equal_weights() -> None:
    maps = random_maps(1, 32, 32).expand(6, -1, -1)
    batch, mix = salient(maps, values=torch.arange(6.0) * 2), GuidedMixup("gradient")
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    mean = (batch.x + batch.x[params.partner]) / 2
    torch.testing.assert_close(mixed.x, mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(own_weights(mixed.target), torch.full((6,), 0.5))


@given(seed=st.integers(0, 2**31 - 1), height=st.integers(2, 40), width=st.integers(2, 40))
def test_the_masks_of_a_pair_sum_to_one(seed: int, height: int, width: int) -> None:
    batch, mix = salient(random_maps(2, height, width, seed)), GuidedMixup("gradient")
    masks = mix.own_share(batch, drawn(mix, batch, seed))  # two samples meet each other
    assert masks.shape == (2, height, width)
    torch.testing.assert_close(masks[0] + masks[1], torch.ones(height, width))


def test_each_place_shows_the_more_salient_image_and_labels_follow_the_area() -> None:
    maps = torch.zeros(2, 32, 32)
    maps[0, :, :24], maps[1, :, 24:] = 1.0, 1.0
    batch, mix = salient(maps, values=torch.tensor([1.0, 0.0])), GuidedMixup("gradient")
    mixed = mix.apply(batch, drawn(mix, batch))
    assert (mixed.x[0, :, :, :20] > 0.99).all()
    assert (mixed.x[0, :, :, 28:] < 0.01).all()
    weight = own_weights(mixed.target)
    torch.testing.assert_close(weight[0], mixed.x[0].mean())
    assert 0.65 < weight[0] < 0.75  # the same mass on fewer pixels reaches farther when blurred
    torch.testing.assert_close(weight.sum(), torch.tensor(1.0))


@pytest.mark.parametrize(("height", "width"), [(8, 16), (32, 32), (96, 64), (224, 224), (16, 50)])
def test_a_mask_on_cells_is_close_to_that_of_all_pixels(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(5, 3, 6, 6, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    batch = Batch.of(x, torch.arange(5))
    mix = GuidedMixup()
    params = drawn(mix, batch)
    maps = distributed(blurred(spectral_residual(x)))
    exact = own_shares(maps, maps[params.partner])
    off = (mix.own_share(batch, params) - exact).abs()
    fits = height == width == 32 or (height, width) == (8, 16)
    assert off.max() < (1e-5 if fits else 0.5)
    assert off.mean() < 0.05
    kept = own_weights(mix.apply(batch, params).target)
    torch.testing.assert_close(kept, exact.mean(dim=(1, 2)), atol=0.02, rtol=0)


def test_cells_are_averaged_for_small_images_and_interpolated_for_large_ones() -> None:
    cells = torch.arange(16.0).view(1, 4, 4) / 15
    assert torch.equal(enlarged(cells, (4, 4)), cells)
    torch.testing.assert_close(
        enlarged(cells, (2, 1))[0], cells.view(2, 2, 4).mean(dim=(1, 2))[:, None]
    )
    large = enlarged(cells, (40, 12))
    assert large.shape == (1, 40, 12)
    torch.testing.assert_close(large.mean(), cells.mean())
    assert (large.diff(dim=1) >= -1e-6).all()
    assert (large.diff(dim=2) >= -1e-6).all()


def test_without_any_saliency_images_are_averaged() -> None:
    batch, mix = salient(torch.zeros(4, 12, 9)), GuidedMixup("gradient")
    assert (drawn(mix, batch).own == 0.5).all()


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 55, 145), (1.0, 200, 200)])
def test_a_share_of_the_samples_is_mixed_and_the_rest_left_as_it_is(
    prob: float, low: int, high: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = salient(random_maps(200, 8, 8), values=torch.randn(200, generator=generator))
    mix = GuidedMixup("gradient", prob=prob)
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    left = params.partner == batch.index
    assert low <= int((~left).sum()) <= high
    assert torch.equal(mixed.x[left], batch.x[left])
    assert (mixed.x[~left] != batch.x[~left]).flatten(1).any(dim=1).all()


def test_params_replay_without_model_or_saliency() -> None:
    batch, mix = salient(random_maps(5, 20, 30)), GuidedMixup("gradient")
    params = drawn(mix, batch)
    assert params.own.shape == (5, 32, 32)
    again = mix.apply(batch.replace(evidence={}), GuidedMixupParams.from_arrow(params.to_arrow()))
    assert torch.equal(again.x, mix.apply(batch, params).x)


def test_another_pairing_may_be_chosen_within_the_batch() -> None:
    batch = salient(random_maps(30, 8, 8))
    mix = GuidedMixup("gradient", pairing=Permutation())
    assert torch.equal(drawn(mix, batch).partner, Draws(0, batch.index).permutation("partner"))
    with pytest.raises(ValueError, match="LabelKernel may take partners from elsewhere"):
        GuidedMixup(pairing=LabelKernel())


def test_gradients_are_asked_of_the_model_once_and_spectra_never() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    batch = Batch.of(
        torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 4
    )
    assert GuidedMixup().probes == ()
    mix = GuidedMixup("gradient")
    asked = ask(mix.probes, {"model": model}, batch)
    assert set(asked.evidence) == {Saliency()}
    mixed = mix(asked)
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(mixed.target.total(), torch.ones(5))
    with pytest.raises(ValueError, match="needs saliency: batch = ask"):
        mix(batch)


def test_a_model_that_cannot_give_gradients_is_refused_before_training() -> None:
    def frozen(outputs: int) -> nn.Module:
        return ConvNet(outputs).requires_grad_(False)

    with pytest.raises(ValueError, match="parameters"):
        run(Supervised(prepared=GuidedMixup("gradient")), epochs=1, network=frozen)


@pytest.mark.parametrize("saliency", ["spectral", "gradient"])
def test_it_trains(saliency: Any) -> None:
    learner, _ = run(Supervised(prepared=GuidedMixup(saliency)), epochs=2)
    assert learner.updates["model"] == 10


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"saliency": "attention"}, ValueError),
        ({"cells": 0}, ValueError),
        ({"prob": -0.1}, ValueError),
        ({"pairing": "farthest"}, TypeError),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], error: type) -> None:
    with pytest.raises(error, match=next(iter(settings))):
        GuidedMixup(**settings)


def test_a_batch_of_one_and_one_of_a_single_class_are_mixed() -> None:
    x = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    for few in (Batch.of(x[:1], torch.arange(1)), Batch.of(x, torch.zeros(3).long())):
        mixed = GuidedMixup()(few)
        assert isinstance(mixed.target, ClassTarget)
        torch.testing.assert_close(mixed.target.total(), torch.ones(len(few)))


def test_what_are_no_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\), got shape \(3, 4\)"):
        GuidedMixup()(torch.zeros(3, 4))
