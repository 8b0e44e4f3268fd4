"""AugMix: its statistics, its ends, and the whole recomputed with Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.stats import beta, binomtest, chisquare, kstest
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.policies.augmix import AugMix, AugMixParams, mixed
from vicinal.transforms.image.operations import NUMBER, OPERATIONS

NINE = {
    "auto_contrast",
    "equalize",
    "posterize",
    "rotate",
    "solarize",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
}


def smooth(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (255 * images).to(torch.uint8)


def sampled(policy: AugMix, batch: Batch, seed: int = 0) -> AugMixParams:
    return policy.sample(batch, Draws(seed, batch.index))


def many(policy: AugMix, count: int = 20_000, side: int = 32) -> AugMixParams:
    images = torch.zeros(1, dtype=torch.uint8).expand(count, 1, side, side)
    return sampled(policy, Batch.of(images))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_without_a_share_the_image_stays_bit_for_bit(dtype: torch.dtype) -> None:
    x = smooth(8, 13, 9)
    batch = Batch.of(x if dtype == torch.uint8 else (x / 255).to(dtype))
    params = sampled(AugMix(10), batch)
    nothing = AugMixParams(
        params.operation, params.argument, params.weight, torch.zeros_like(params.share)
    )
    assert torch.equal(AugMix().apply(batch, nothing).tensor, batch.tensor)


def test_identity_chains_leave_the_image_at_any_share() -> None:
    batch = Batch.of(smooth(8, 13, 9))
    params = sampled(AugMix(), batch)
    still = AugMixParams(
        torch.zeros_like(params.operation), params.argument, params.weight, params.share
    )
    assert torch.equal(AugMix().apply(batch, still).tensor, batch.tensor)


def test_weights_are_uniform_on_the_simplex_and_the_share_on_the_line() -> None:
    params = many(AugMix())
    torch.testing.assert_close(params.weight.sum(dim=1), torch.ones(20_000))
    assert (params.weight >= 0).all()
    for chain in params.weight.unbind(1):  # every margin of Dirichlet(1, 1, 1) is Beta(1, 2)
        assert kstest(chain.numpy(), beta(1, 2).cdf).pvalue > 1e-3
    assert kstest(params.share.numpy(), "uniform").pvalue > 1e-3
    together = torch.corrcoef(torch.stack([params.share, params.weight[:, 0]]))[0, 1]
    assert abs(together) < 0.03


@pytest.mark.parametrize("alpha", [0.1, 4.0])
def test_alpha_shapes_the_weights_and_the_share(alpha: float) -> None:
    params = many(AugMix(alpha=alpha))
    for threshold in (0.01, 0.1, 0.5, 0.9, 0.99):
        heavier = (params.weight > threshold).float().mean(dim=0).tolist()
        assert heavier == pytest.approx([beta(alpha, 2 * alpha).sf(threshold)] * 3, abs=0.015)
        larger = (params.share > threshold).float().mean()
        assert larger == pytest.approx(beta(alpha, alpha).sf(threshold), abs=0.015)


def test_chains_have_one_to_three_operations_then_nothing() -> None:
    params = many(AugMix())
    applied = params.operation != NUMBER["identity"]
    length = applied.sum(dim=2)
    assert chisquare(length.flatten().bincount(minlength=4)[1:]).pvalue > 1e-3
    assert torch.equal(applied, torch.arange(3) < length[..., None])
    assert (params.argument[~applied] == 0).all()
    # Chains of one image are independent.
    assert chisquare((length[:, 0] * 3 + length[:, 1] - 4).bincount(minlength=9)).pvalue > 1e-3


@pytest.mark.parametrize("depth", [1, 4])
def test_a_fixed_depth_is_kept(depth: int) -> None:
    params = many(AugMix(depth=depth), count=100)
    assert params.operation.shape == (100, 3, depth)
    assert (params.operation != NUMBER["identity"]).all()


def test_the_nine_operations_are_equally_frequent_with_balanced_signs() -> None:
    params = many(AugMix(depth=1))
    number = params.operation.flatten()
    assert {OPERATIONS[n].name for n in number.unique()} == NINE
    assert chisquare(number.bincount()[number.unique()]).pvalue > 1e-3
    moving = params.argument.flatten()[
        torch.isin(number, torch.tensor([NUMBER["shear_x"], NUMBER["rotate"]]))
    ]
    moving = moving[moving != 0]
    assert binomtest(int((moving < 0).sum()), len(moving)).pvalue > 1e-3


def test_arguments_follow_levels_uniform_from_a_tenth_to_the_severity() -> None:
    params = many(AugMix(3.0, depth=1))

    def of(name: str) -> Tensor:
        return params.argument[params.operation == NUMBER[name]]

    assert kstest(of("shear_x").abs().numpy(), "uniform", (0.003, 0.087)).pvalue > 1e-3
    # A level of 2.5 and more takes a bit away: half a unit of the 2.9 between 0.1 and 3.
    assert (of("posterize") == 3).float().mean() == pytest.approx(0.5 / 2.9, abs=0.02)
    assert of("posterize").unique().tolist() == [3, 4]
    assert of("rotate").unique().tolist() == list(range(-8, 9))
    assert of("translate_x").abs().max() == 3  # int(3 * 32 / 3 / 10)
    assert (of("solarize").min() * 255).round() == 180  # 256 - int(76.8) is 180


def test_severity_widens_every_range() -> None:
    mild, strong = many(AugMix(1.0, depth=1)), many(AugMix(10.0, depth=1))
    for name in ("rotate", "shear_x", "translate_y"):
        low, high = (
            p.argument[p.operation == NUMBER[name]].abs().max().item() for p in (mild, strong)
        )
        assert high > 5 * low
    assert strong.argument[strong.operation == NUMBER["posterize"]].min() == 1


def by_pillow(image: Tensor, operation: Tensor, argument: Tensor) -> np.ndarray:
    """One chain as the authors apply it, from params."""
    current = Image.fromarray(image.permute(1, 2, 0).numpy())
    size, bilinear = current.size, Image.Resampling.BILINEAR
    for number, amount in zip(operation.tolist(), argument.tolist(), strict=True):
        name = OPERATIONS[number].name
        rows = {
            "shear_x": (1, amount, 0, 0, 1, 0),
            "shear_y": (1, 0, 0, amount, 1, 0),
            "translate_x": (1, 0, -amount, 0, 1, 0),
            "translate_y": (1, 0, 0, 0, 1, -amount),
        }
        if name in rows:
            current = current.transform(size, Image.Transform.AFFINE, rows[name], bilinear)
        elif name == "rotate":
            current = current.rotate(amount, bilinear)
        elif name == "posterize":
            current = ImageOps.posterize(current, int(amount))
        elif name == "solarize":
            current = ImageOps.solarize(current, int(np.ceil(amount * 255)))
        elif name == "auto_contrast":
            current = ImageOps.autocontrast(current)
        elif name == "equalize":
            current = ImageOps.equalize(current)
    return np.asarray(current).transpose(2, 0, 1).astype(float)


@pytest.mark.parametrize("size", [(32, 32), (33, 47)], ids=str)
def test_the_whole_is_the_authors_mixture_of_pillows_chains(size: tuple[int, int]) -> None:
    batch = Batch.of(smooth(40, *size))
    policy = AugMix()
    params = sampled(policy, batch)
    found = policy.apply(batch, params).tensor.numpy().astype(float)
    for row, image in enumerate(batch.tensor):
        mixture = np.zeros((3, *size))
        for chain in range(3):
            weight = params.weight[row, chain].item()
            mixture += weight * by_pillow(
                image, params.operation[row, chain], params.argument[row, chain]
            )
        share = params.share[row].item()
        expected = (1 - share) * image.numpy() + share * mixture
        off = np.abs(found[row] - expected)
        # Rounding costs half a level; a level that a warp has off by one may cross a threshold.
        assert off.mean() < 0.4
        assert (off > 1.5).mean() < 0.02


def test_levels_and_floats_agree() -> None:
    x = smooth(30, 20, 22)
    policy = AugMix()
    params = sampled(policy, Batch.of(x))
    levels = policy.apply(Batch.of(x), params).tensor.float()
    floats = 255 * policy.apply(Batch.of(x / 255), params).tensor
    # Posterising and equalising floats take other steps than whole levels do.
    assert (levels - floats).abs().mean() < 2.5


def test_mixtures_are_convex_and_rounded_to_the_nearest_level() -> None:
    images = torch.tensor([10, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    chains = torch.tensor([[13, 200], [255, 255]], dtype=torch.uint8).view(2, 2, 1, 1, 1)
    weight = torch.tensor([[0.5, 0.0], [0.3, 0.7]])
    assert mixed(images, chains, weight).flatten().tolist() == [12, 255]  # 11.5 goes up
    floats = mixed(images.float(), chains.float(), weight).flatten()
    torch.testing.assert_close(floats, torch.tensor([11.5, 255.0]))


def test_a_slice_of_the_params_gives_the_slice_of_the_whole() -> None:
    batch = Batch.of(smooth(20, 13, 9))
    policy = AugMix(width=2)
    params = sampled(policy, batch)
    whole = policy.apply(batch, params).tensor
    assert torch.equal(policy.apply(batch[3:11], params[3:11]).tensor, whole[3:11])


def test_two_views_of_a_sample_differ() -> None:
    batch = Batch.of(smooth(10, 16, 16))
    draws = Draws(0, batch.index)
    first, second = (AugMix().augment(batch, draws.within(v))[0].tensor for v in ("1", "2"))
    assert ((first != second).float().mean(dim=(1, 2, 3)) > 0).all()


def test_global_random_state_is_neither_read_nor_touched() -> None:
    batch = Batch.of(smooth(6, 8, 9))
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            results.append(AugMix().augment(batch, Draws(0, batch.index))[0].tensor)
            assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"severity must be in \[0.1, 10\], got 11"):
        AugMix(11)
    with pytest.raises(ValueError, match="depth must be -1 or at least 1, got 0"):
        AugMix(depth=0)
    with pytest.raises(ValueError, match=r"width must be in \[1, inf\), got 0"):
        AugMix(width=0)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, inf\), got 0"):
        AugMix(alpha=0)


def test_grey_images_get_what_colour_images_of_equal_channels_get() -> None:
    grey = smooth(8, 13, 9)[:, :1]
    params = sampled(AugMix(10), Batch.of(grey))
    alone = AugMix().apply(Batch.of(grey), params).tensor
    threefold = AugMix().apply(Batch.of(grey.expand(-1, 3, -1, -1)), params).tensor
    assert torch.equal(alone.expand_as(threefold), threefold)


def test_sixteen_bits_are_mixed_as_shares_of_white_and_not_cut_to_eight() -> None:
    x = torch.randint(0, 65_536, (8, 1, 13, 9)).to(torch.uint16)
    batch = Batch.of(x)
    params = sampled(AugMix(), batch)
    wide = AugMix().apply(batch.replace(x=x.float() / 65_535), params).tensor
    found = AugMix().apply(batch, params).tensor
    assert found.dtype == torch.uint16
    assert (found.double() - wide.double() * 65_535).abs().max() <= 1.01  # rounded twice
    assert len(found.unique()) > 256
