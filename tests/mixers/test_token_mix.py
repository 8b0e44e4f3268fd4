"""TokenMix: its blocks, and labels by what is seen of each image."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from tests.methods.ground import TokenNet, run
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, Draws, TokenMix
from vicinal.core.probe import ask
from vicinal.core.token_scores import TokenScores
from vicinal.methods.supervised import Supervised
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.token_mix import TokenMixParams, random_blocks
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet

GOLDEN = json.loads((Path(__file__).parent / "golden" / "token_mix_authors.json").read_text())
PROBE = TokenScores()


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    """Numbers that are the same wherever they are made."""
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def telling(scores: Tensor, *, size: int = 28) -> Batch:
    """Row i holds i everywhere, has the label i, and scores of its own."""
    rows = torch.arange(len(scores))
    x = rows.float()[:, None, None, None].expand(-1, 1, size, size)
    batch = Batch.of(x, rows)
    return batch.replace(evidence={PROBE: scores})


def weights_of(batch: Batch) -> Tensor:
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    return batch.target.weights


@pytest.mark.parametrize("golden", GOLDEN["tokenmix"], ids=lambda golden: str(golden["masking"]))
def test_the_authors_blocks_give_the_authors_images_and_weights(golden: dict[str, Any]) -> None:
    # Mixup of tokenmix.py in Sense-X/TokenMix at 0e17d5d without smoothing, scores put in.
    replaced = torch.tensor(golden["replaced"]).bool()
    scores = filled(4, 14, 14, phase=2.0).exp()
    labels = torch.tensor([0, 1, 2, 0])
    batch = Batch.of(filled(4, 1, 224, 224), labels).replace(evidence={PROBE: scores})
    shares = scores / scores.sum((1, 2), keepdim=True)
    partner = torch.arange(4).flip(0)

    class Reversed(Pairing):
        def partner(self, batch: Batch, draws: Draws) -> Tensor:
            return batch.index.flip(0)

    mix = TokenMix(pairing=Reversed())
    drawn = mix.sample(batch, Draws(0, batch.index))
    torch.testing.assert_close(drawn.kept, (shares * drawn.cells).sum((1, 2)))
    torch.testing.assert_close(drawn.given, (shares.flip(0) * ~drawn.cells).sum((1, 2)))
    params = TokenMixParams(
        partner=partner,
        cells=~replaced.expand(4, -1, -1),
        extent=torch.full((4, 2), 224),
        kept=(shares * ~replaced).sum((1, 2)),
        given=(shares.flip(0) * replaced).sum((1, 2)),
    )
    mixed = mix.apply(batch, params)
    assert isinstance(mixed.target, ClassTarget)
    dense = mixed.target.dense(5)
    torch.testing.assert_close(dense, torch.tensor(golden["target"]), atol=1e-6, rtol=0)
    sums = (mixed.x * filled(1, 224, 224, phase=1.0)).sum((1, 2, 3))
    torch.testing.assert_close(sums, torch.tensor(golden["sums"]), atol=1e-2, rtol=1e-5)


def test_blocks_are_distributed_as_the_authors_are() -> None:
    # Their generate_mask(0.5, minimum 14), 20,000 times: covered, full, pieces, and where.
    rows = 4000
    blocks = random_blocks(Draws(0, torch.arange(rows)), torch.full((rows,), 112), 14)
    expected = GOLDEN["blocks"]
    covered = blocks.flatten(1).sum(1)
    assert covered.max() <= 112
    assert (covered == 112).float().mean().item() == pytest.approx(expected["full"], abs=0.01)
    assert covered.float().mean().item() == pytest.approx(expected["covered"], abs=0.05)
    pieces = [ndimage.label(one.numpy())[1] for one in blocks[:2000]]
    assert sum(pieces) / 2000 == pytest.approx(expected["pieces"], abs=0.15)
    often = blocks.float().mean(0)
    corners = (often[0, 0] + often[0, -1] + often[-1, 0] + often[-1, -1]) / 4
    assert corners.item() == pytest.approx(expected["corner"], abs=0.02)
    assert often[0, 5:9].mean().item() == pytest.approx(expected["edge"], abs=0.03)
    assert often[6:8, 6:8].mean().item() == pytest.approx(expected["centre"], abs=0.02)
    torch.testing.assert_close(often, often.T, atol=0.05, rtol=0)


@given(count=st.integers(0, 36), side=st.integers(1, 6), seed=st.integers(0, 999))
def test_no_more_is_covered_than_asked_for(count: int, side: int, seed: int) -> None:
    count = min(count, side * side)
    blocks = random_blocks(Draws(seed, torch.arange(5)), torch.full((5,), count), side)
    covered = blocks.flatten(1).sum(1)
    assert (covered <= count).all()
    if side > 1 and count:
        assert (covered > 0).any()


@pytest.mark.parametrize("masking", ["block", "random"])
def test_even_scores_weigh_by_the_area(masking: Any) -> None:
    batch = telling(torch.ones(8, 14, 14))
    mixed, params = TokenMix(masking=masking).augment(batch, Draws(1, batch.index))
    other = params.partner != batch.index
    own = (mixed.x[:, 0] == batch.x[:, 0]).float().mean((1, 2))
    torch.testing.assert_close(weights_of(mixed)[:, 0][other], own[other])
    torch.testing.assert_close(weights_of(mixed).sum(1), torch.ones(8))
    if masking == "random":
        assert params.cells.flatten(1).sum(1).tolist() == [196 - 112] * 8


def test_a_replaced_object_gives_nothing_and_less_than_one_may_be_left() -> None:
    scores = torch.zeros(30, 14, 14)
    scores[:, 7, 7] = 1.0
    batch = telling(scores)
    mixed, params = TokenMix().augment(batch, Draws(0, batch.index))
    shown = params.cells[:, 7, 7]
    assert 0 < shown.sum() < 30
    expected = torch.stack([shown, ~shown], 1).float()
    assert torch.equal(weights_of(mixed), expected)
    corners = torch.zeros(30, 14, 14)
    corners[:15, 0, 0] = 1.0
    corners[15:, 7, 7] = 1.0
    mixed = TokenMix()(telling(corners))
    total = weights_of(mixed).sum(1)
    assert total.min() == 0
    assert total.max() == 2


def test_the_share_is_a_half_or_drawn() -> None:
    batch = telling(torch.ones(2000, 4, 4), size=8)
    half = TokenMix(tokens=4, masking="random").sample(batch, Draws(0, batch.index))
    assert (~half.cells).flatten(1).sum(1).unique().tolist() == [8 + 1]
    drawn = TokenMix(alpha=1.0, tokens=4, masking="random").sample(batch, Draws(0, batch.index))
    count = (~drawn.cells).flatten(1).sum(1)
    # One at least, and each number up to all but the last as likely.
    times = torch.bincount(count, minlength=17)[1:]
    torch.testing.assert_close(times.float(), torch.full((16,), 125.0), atol=50, rtol=0)
    shared = TokenMix(scope="batch").sample(batch, Draws(0, batch.index))
    assert len(shared.cells.flatten(1).unique(dim=0)) == 1


def small_vit(outputs: int) -> nn.Module:
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=8,
        patch_size=2,
        in_chans=1,
        embed_dim=12,
        num_heads=2,
        depth=1,
        num_classes=outputs,
    )
    return model


def swin(outputs: int) -> nn.Module:
    model: nn.Module = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=64,
        window_size=2,
        in_chans=1,
        embed_dim=12,
        num_heads=(1, 1, 1, 1),
        num_classes=outputs,
    )
    return model


@pytest.mark.parametrize("make", [small_vit, lambda k: SmallResNet((1, 8, 8), k, width=8)])
def test_it_trains_transformers_and_convolutional_networks(make: Any) -> None:
    learner, _ = run(Supervised(prepared=TokenMix(tokens=4)), epochs=1, network=make)
    assert all(parameter.isfinite().all() for parameter in learner.model.parameters())


def test_scores_sum_to_one_and_swin_has_them() -> None:
    batch = Batch.of(torch.randn(3, 1, 64, 64), torch.arange(3))
    scores = ask([PROBE], {"model": swin(3)}, batch).evidence[PROBE]
    assert scores.shape == (3, 2, 2)
    torch.testing.assert_close(scores.sum((1, 2)), torch.ones(3))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda k: MLP((1, 8, 8), k), "a feature map needs a convolutional network"),
        (
            lambda k: timm.create_model(
                "vit_tiny_patch16_224", img_size=8, patch_size=2, in_chans=1, num_classes=k,
                embed_dim=12, num_heads=2, depth=1, global_pool="avg",
            ),
            "global_pool='avg'",
        ),
    ],
)  # fmt: skip
def test_a_model_that_cannot_say_is_refused_in_a_line(network: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        run(Supervised(prepared=TokenMix()), network=network)
    assert "\n" not in str(refusal.value)


def test_a_model_of_other_layers_is_refused_when_it_is_asked() -> None:
    with pytest.raises(ValueError, match="has to read the mean of a feature map"):
        run(Supervised(prepared=TokenMix()), network=TokenNet)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenMix(alpha=0.0), "alpha must be in"),
        (lambda: TokenMix(tokens=0), "tokens must be in"),
        (lambda: TokenMix(probe=TokenScores(when="during")), "asked before mixing"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_pairing_from_elsewhere_and_a_batch_unasked_are_refused() -> None:
    class Anywhere(type(PERMUTATION)):  # type: ignore[misc]
        pooled = True

    with pytest.raises(ValueError, match="pair within it"):
        TokenMix(pairing=Anywhere())
    with pytest.raises(ValueError, match="needs what TokenScores finds"):
        TokenMix()(torch.zeros(2, 1, 4, 4), torch.arange(2))
