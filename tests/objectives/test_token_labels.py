"""Labels that are carried through a transformer with its tokens."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from tests.methods.ground import ConvNet, run
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, CutMix, Draws, Mixup, TokenCutMix
from vicinal.core.attention_rollout import AttentionRollout, rollout
from vicinal.core.probe import ask, listening
from vicinal.methods.tl_align import TLAlign
from vicinal.mixers.paste import PasteParams
from vicinal.objectives.token_labels import TokenLabelPropagation

FILE = Path(__file__).parent / "golden" / "token_labels_authors.json"
GOLDEN = json.loads(FILE.read_text())


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    """Numbers that are the same wherever they are made."""
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def transformer(outputs: int = 5, *, depth: int = 3, **settings: Any) -> nn.Module:
    given = {"img_size": 8, "patch_size": 2, "in_chans": 1, "embed_dim": 12, "num_heads": 2}
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", num_classes=outputs, depth=depth, **given | settings
    )
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.copy_(filled(*parameter.shape, phase=place) * 0.5)
    return model


def pasted(box: list[int], rows: int = 4) -> PasteParams:
    """A box of tokens of 2 x 2 pixels, from the rows in reversed order."""
    top, bottom, left, right = (2 * corner for corner in box)
    return PasteParams(
        torch.arange(rows).flip(0),
        torch.tensor([[top, left]] * rows),
        torch.tensor([[bottom, right]] * rows),
    )


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: str(golden["box"]))
@pytest.mark.parametrize("fused", [True, False])
def test_labels_are_those_that_the_authors_transformer_carries(
    golden: dict[str, Any], fused: bool
) -> None:
    # tla.py and the blocks of vision_transformer.py in Euphoria16/TL-Align at 4da0621.
    model = transformer().eval()
    for block in model.blocks:
        block.attn.fused_attn = fused
    x = filled(4, 1, 8, 8, phase=2.0)
    params = pasted(golden["box"])
    objective = TokenLabelPropagation()
    with listening(objective.probes, {"model": model}) as heard:
        output = model(x)
    # The transformer sees the image as it is given: the mixture gives the labels alone.
    mixed = CutMix().apply(Batch.of(x, torch.arange(4)), params)
    target = objective.target(mixed, params, heard[objective.probe], output=output)
    dense = target.smooth(0.1).dense(5)
    torch.testing.assert_close(dense, torch.tensor(golden["target"]), atol=1e-6, rtol=0)
    loss = objective(output, mixed, params, heard)
    assert loss.item() == pytest.approx(target.loss(output).item())


def weights(attention: Tensor, params: PasteParams) -> Tensor:
    mixed = CutMix().apply(Batch.of(torch.zeros(4, 1, 8, 8), torch.arange(4)), params)
    target = TokenLabelPropagation().target(mixed, params, attention)
    assert target.weights is not None
    torch.testing.assert_close(target.weights.sum(1), torch.ones(4))
    return target.weights[:, 1]


def test_without_any_attention_to_others_labels_stay_the_areas() -> None:
    found = weights(torch.zeros(4, 4, 4), pasted([0, 2, 1, 4]))
    torch.testing.assert_close(found, torch.full((4,), 6 / 16))


def test_even_attention_gives_the_area() -> None:
    found = weights(torch.full((4, 4, 4), 0.7 / 16), pasted([0, 2, 1, 4]))
    torch.testing.assert_close(found, torch.full((4,), 6 / 16))


def test_all_from_one_patch_gives_its_label_beside_the_class_tokens_own() -> None:
    looked = torch.zeros(4, 4, 4)
    looked[:, 1, 2] = 0.6
    found = weights(looked, pasted([0, 2, 1, 4]))
    torch.testing.assert_close(found, torch.full((4,), 0.6 + 0.4 * 6 / 16))


def test_a_row_carried_back_is_the_first_row_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = [torch.randn(2, 3, 6, 4, generator=generator) for _ in range(3)]
    keys = [torch.randn(2, 3, 6, 4, generator=generator) for _ in range(3)]
    product = torch.eye(6).expand(2, 6, 6)
    for query, key in zip(queries, keys, strict=True):
        attention = (query @ key.transpose(2, 3) / 2).softmax(-1).mean(1)
        product = (attention + torch.eye(6)) / 2 @ product
    torch.testing.assert_close(rollout(queries, keys), product[:, 0])


def test_what_is_heard_sums_to_what_is_not_the_class_tokens_own() -> None:
    model = transformer(depth=2).eval()
    batch = Batch.of(filled(3, 1, 8, 8))
    probe = AttentionRollout(when="before")
    shares = ask([probe], {"model": model}, batch).evidence[probe]
    assert shares.shape == (3, 4, 4)
    total = shares.sum((1, 2))
    # Of two blocks the class token keeps at least a quarter of itself.
    assert ((total > 0) & (total < 0.75)).all()


def test_interpolated_labels_stay_as_they_are() -> None:
    batch = Batch.of(torch.rand(4, 1, 8, 8), torch.arange(4))
    mixed, params = Mixup().augment(batch, Draws(0, batch.index))
    looked = torch.rand(4, 4, 4) / 16
    target = TokenLabelPropagation().target(mixed, params, looked)
    assert isinstance(mixed.target, ClassTarget)
    torch.testing.assert_close(target.weights, mixed.target.weights)


def test_no_gradient_flows_through_the_labels() -> None:
    model = transformer()
    objective = TokenLabelPropagation()
    batch = Batch.of(filled(4, 1, 8, 8), torch.arange(4))
    mixed, params = TokenCutMix(tokens=4).augment(batch, Draws(0, batch.index))
    with listening(objective.probes, {"model": model}) as heard:
        output = model(mixed.x)
    assert not heard[objective.probe].requires_grad
    target = objective.target(mixed, params, heard[objective.probe], output=output)
    assert not target.weights.requires_grad


@pytest.mark.parametrize("size", [16, 13])
def test_boxes_hold_whole_tokens(size: int) -> None:
    batch = Batch.of(torch.arange(40.0)[:, None, None, None].expand(-1, 1, size, size))
    mixed, params = TokenCutMix(tokens=4).augment(batch, Draws(1, batch.index))
    token = torch.arange(size) * 4 // size
    shown = mixed.x[:, 0]
    for row in range(4):
        for column in range(4):
            cell = shown[:, token == row][:, :, token == column].flatten(1)
            assert torch.equal(cell.amin(1), cell.amax(1))
    assert len(params.start.unique(dim=0)) > 5
    shared = TokenCutMix(scope="batch").sample(batch, Draws(1, batch.index))
    assert len(torch.cat([shared.start, shared.stop], 1).unique(dim=0)) == 1


def test_boxes_are_cutmixs_own_on_the_grid() -> None:
    draws = Draws(5, torch.arange(300))
    small = Batch.of(torch.zeros(300, 1, 8, 8))
    wanted = CutMix().sample(small, draws)
    found = TokenCutMix(tokens=8).sample(Batch.of(torch.zeros(300, 1, 32, 32)), draws)
    assert torch.equal(found.start, 4 * wanted.start)
    assert torch.equal(found.stop, 4 * wanted.stop)


def test_it_trains_and_a_model_that_cannot_say_is_refused_before() -> None:
    learner, _ = run(TLAlign(4), epochs=1, network=transformer)
    assert all(parameter.isfinite().all() for parameter in learner.model.parameters())
    with pytest.raises(ValueError, match="needs a model with a class token") as refusal:
        run(TLAlign(), network=ConvNet)
    assert "\n" not in str(refusal.value)

    def cait(outputs: int) -> nn.Module:
        model: nn.Module = timm.create_model(
            "cait_xxs24_224",
            img_size=8,
            patch_size=2,
            in_chans=1,
            embed_dim=12,
            num_heads=2,
            depth=1,
            num_classes=outputs,
        )
        return model

    with pytest.raises(ValueError, match="cannot be followed through the blocks of Cait"):
        run(TLAlign(), network=cait)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenCutMix(alpha=0.0), "alpha must be in"),
        (lambda: TokenCutMix(tokens=0), "tokens must be in"),
        (lambda: TLAlign(cutmix_share=1.1), "cutmix_share must be in"),
        (lambda: TokenLabelPropagation(probe=AttentionRollout("before")), "listen to the mixed"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
