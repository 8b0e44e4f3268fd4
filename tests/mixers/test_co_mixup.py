from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.methods.ground import CLASSES, ConvNet
from torch import Tensor

from vicinal import Batch, ClassTarget, CoMixup, Draws
from vicinal.core.probe import Saliency, ask
from vicinal.mixers.co_mixup import CoMixupParams, _log_gamma, _parts

GOLDEN = load_file(Path(__file__).parent / "golden" / "co_mixup_authors.safetensors")


def pictures(count: int = 40, side: int = 32, seed: int = 0) -> Batch:
    """Image i holds 1 in channel i, and has a class of its own and a salient spot."""
    draw = torch.Generator().manual_seed(seed)
    spots = F.interpolate(torch.rand(count, 1, 5, 5, generator=draw), size=side, mode="bilinear")
    rows = torch.arange(count)
    return Batch(
        x=torch.eye(count)[:, :, None, None].expand(-1, -1, side, side).contiguous(),
        target=ClassTarget(rows[:, None]),
        index=rows,
        evidence={Saliency(): spots[:, 0].square()},
    )


def drawn(mix: CoMixup, batch: Batch, seed: int = 0) -> CoMixupParams:
    return mix.sample(batch, Draws(seed, batch.index))


def test_images_and_targets_are_the_authors() -> None:
    # snu-mllab/Co-Mixup at 2a76816: mix_input, of the shares that get_onehot_matrix found.
    z = GOLDEN["z"][0].float() / 2  # (20, 16, 20)
    weights, partner = z.mean(dim=1).topk(7)
    shown = z.gather(2, partner[:, None].expand(-1, 16, -1)) > 0
    last = shown.flip(2).to(torch.uint8).argmax(dim=2)
    first = shown.to(torch.uint8).argmax(dim=2)
    params = CoMixupParams(partner, weights, first.to(torch.int16), (6 - last).to(torch.int16))
    mixed = CoMixup().apply(Batch.of(GOLDEN["x"], torch.arange(20)), params)
    torch.testing.assert_close(mixed.x, GOLDEN["mixed"], atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed.target.dense(20), GOLDEN["target"])


@pytest.mark.parametrize("count", [1, 2, 7, 20, 21, 40, 43])
def test_weights_are_the_areas_that_are_seen(count: int) -> None:
    batch = pictures(count)
    mixed = CoMixup()(batch, draws=Draws(0, batch.index))
    assert mixed.target is not None
    torch.testing.assert_close(mixed.x.mean(dim=(2, 3)), mixed.target.dense(count))
    torch.testing.assert_close(mixed.x.sum(dim=1), torch.ones(count, 32, 32))


def test_a_mixture_shows_few_images_and_each_is_shown_about_as_often() -> None:
    batch = pictures(40)
    share = CoMixup()(batch, draws=Draws(0, batch.index)).x.mean(dim=(2, 3))
    shown = (share > 0).sum(dim=1)
    assert ((shown >= 1) & (shown <= 4)).float().mean() > 0.9
    use = share.sum(dim=0)
    assert use.min() > 0.5
    assert use.max() < 1.8


def test_more_saliency_is_seen_than_in_whole_images() -> None:
    batch = pictures(40)
    saliency = F.adaptive_avg_pool2d(batch.evidence[Saliency()][:, None], 4)[:, 0]
    saliency = saliency / saliency.sum(dim=(1, 2), keepdim=True)
    mixed = CoMixup()(batch, draws=Draws(0, batch.index)).x
    seen = (F.avg_pool2d(mixed, 8) * saliency).sum(dim=(1, 2, 3))  # a whole image: 1
    assert seen.mean() > 1.1


def test_images_mix_within_their_part_alone() -> None:
    batch = pictures(12)
    share = CoMixup(part=4)(batch, draws=Draws(0, batch.index)).x.mean(dim=(2, 3))
    member, slot = _parts(Draws(0, batch.index), 4)
    part = slot // member.shape[1]
    assert not share[part[:, None] != part].any()


@pytest.mark.parametrize(("count", "most"), [(1, 20), (5, 2), (20, 20), (21, 20), (47, 20)])
def test_parts_are_of_nearly_one_size_and_hold_every_row(count: int, most: int) -> None:
    member, slot = _parts(Draws(3, torch.arange(count)), most)
    torch.testing.assert_close(member.flatten()[slot], torch.arange(count))
    sizes = torch.bincount(slot // member.shape[1])
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() <= most
    assert member.shape[1] <= max(2, most)


def test_the_prior_makes_some_images_win() -> None:
    batch = pictures(20).replace(evidence={Saliency(): torch.ones(20, 32, 32)})
    found = [drawn(CoMixup(eta=1.0, gamma=0.0), batch, seed).partner[:, 0] for seed in range(3)]
    assert all(len(one.unique()) == 1 for one in found)
    assert len({int(one[0]) for one in found}) > 1


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 2.7])
def test_prior_numbers_are_gamma_distributed(shape: float) -> None:
    numbers = _log_gamma(Draws(0, torch.arange(50_000)), shape).exp()
    assert float(numbers.mean()) == pytest.approx(shape, rel=0.03)
    assert float(numbers.var()) == pytest.approx(shape, rel=0.05)


def test_no_mixture_shows_more_images_than_allowed() -> None:
    batch = pictures(40)
    params = drawn(CoMixup(images=2, beta=0.0), batch)
    assert params.partner.shape == (40, 2)
    share = CoMixup().apply(batch, params).x.mean(dim=(2, 3))
    assert (share > 0).sum(dim=1).max() == 2


def test_peaks_that_lie_apart_count_more() -> None:
    saliency = torch.zeros(3, 32, 32)
    for image, (row, column) in enumerate([(4, 4), (4, 8), (28, 28)]):
        saliency[image, row, column] = 1
    found = CoMixup(omega=0.5)._compatibility(saliency, torch.tensor([[0, 1, 2]]))[0]
    torch.testing.assert_close(found, found.T)
    torch.testing.assert_close(found.diag(), torch.full((3,), 0.5))
    assert found[0, 2] > found[0, 1] > 0
    assert float(found.sum()) == pytest.approx(3)


def test_one_extra_pass_forward_and_back_is_all_it_costs() -> None:
    calls = {"forward": 0, "backward": 0}
    model = ConvNet(3)
    model.register_forward_hook(lambda *_: calls.update(forward=calls["forward"] + 1))
    model.register_full_backward_hook(lambda *_: calls.update(backward=calls["backward"] + 1))
    mix = CoMixup()
    labels = torch.arange(6) % CLASSES
    mix(ask(mix.probes, {"model": model}, Batch.of(torch.rand(6, 1, 8, 8), labels)))
    assert calls == {"forward": 1, "backward": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {"part": 1},
        {"cells": 1},
        {"beta": -1.0},
        {"gamma": -1.0},
        {"threshold": -0.1},
        {"eta": -1.0},
        {"alpha": 0.0},
        {"omega": 1.5},
        {"images": 1},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        CoMixup(**settings)  # type: ignore[arg-type]


def test_inputs_it_cannot_mix_are_refused() -> None:
    batch = pictures(4)
    with pytest.raises(ValueError, match="needs saliency"):
        drawn(CoMixup(), batch.replace(evidence={}))
    with pytest.raises(ValueError, match="3 x 3 cells do not divide"):
        drawn(CoMixup(cells=3), batch)
    params = drawn(CoMixup(), batch)
    whole: Tensor = batch.tensor.to(torch.uint8)
    with pytest.raises(TypeError, match="floating point"):
        CoMixup().apply(batch.replace(x=whole), params)
