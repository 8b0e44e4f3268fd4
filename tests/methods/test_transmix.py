"""TransMix: the authors' labels, the step that trains, and what becomes of attention."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.datasets import load_digits
from tests.methods.ground import CLASSES, ConvNet, images, make_setting, run, weights
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from vicinal import Batch, ClassTarget, Draws, Params
from vicinal.compare.training import Examples, Progress, train
from vicinal.core.attention import ClassAttention
from vicinal.core.method import Learner
from vicinal.core.probe import listening
from vicinal.methods.transmix import TransMix
from vicinal.mixers.choice import ChoiceParams
from vicinal.mixers.interpolate import MixupParams
from vicinal.mixers.paste import PasteParams
from vicinal.models import build_model
from vicinal.objectives.attention_labels import AttentionLabels

GOLDEN = json.loads((Path(__file__).parent / "golden" / "transmix_authors.json").read_text())


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    """Numbers that are the same wherever they are made."""
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def transformer(outputs: int = CLASSES, **settings: Any) -> nn.Module:
    given = {"img_size": 8, "patch_size": 2, "in_chans": 1, "embed_dim": 12, "num_heads": 2}
    model: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", num_classes=outputs, **given | {"depth": 2} | settings
    )
    return model


def objective_of(method: TransMix) -> AttentionLabels:
    assert isinstance(method.objective, AttentionLabels)
    return method.objective


# Parity: made by the authors' transmix.py and by the Attention of their vision_transformer.py, in
# training mode with dropout, on weights and inputs from `filled`.


@pytest.mark.parametrize("fused", [True, False])
def test_the_attention_is_that_of_the_authors_code(fused: bool) -> None:
    model = transformer(5, img_size=12, patch_size=3, embed_dim=16, depth=1, attn_drop_rate=0.3)
    layer = model.blocks[0].attn
    layer.fused_attn = fused
    with torch.no_grad():
        layer.qkv.weight.copy_(filled(48, 16) * 0.15)
        layer.qkv.bias.copy_(filled(48, phase=1.0))
    probe = ClassAttention()
    with listening([probe], {"model": model}) as heard:
        layer(filled(4, 17, 16, phase=2.0))
    expected = torch.tensor(GOLDEN["attention"]).view(4, 4, 4)
    torch.testing.assert_close(heard[probe], expected, atol=1e-6, rtol=0)


def mixed_pair(mixing: PasteParams | MixupParams, place: int) -> tuple[Batch, ChoiceParams]:
    """The golden batch, mixed in the way that the method would, and the params of that."""
    labels = torch.tensor(GOLDEN["labels"])
    batch = Batch.of(torch.zeros(4, 3, 12, 12), labels)
    mixers = TransMix().prepared.mixers
    parts = [mixer.sample(batch, Draws(0, batch.index)) for mixer in mixers]
    parts[place] = mixing
    params = ChoiceParams(torch.full((4,), place), tuple(parts))
    return TransMix().prepared.apply(batch, params), params


def expect_golden(golden: dict[str, Any], mixed: Batch, params: ChoiceParams) -> None:
    objective = objective_of(TransMix())
    attention = torch.tensor(GOLDEN["attention"]).view(4, 4, 4)
    target = objective.target(mixed, params, attention).smooth(0.1)
    torch.testing.assert_close(target.dense(5), torch.tensor(golden["target"]), atol=1e-6, rtol=0)
    logits = filled(4, 5, phase=3.0) * 2
    loss = objective(logits, mixed, params, {objective.probe: attention})
    assert loss.item() == pytest.approx(golden["loss"], abs=1e-5)


@pytest.mark.parametrize("golden", GOLDEN["pasted"], ids=lambda golden: str(golden["box"]))
def test_labels_and_loss_of_pasted_boxes_are_those_of_the_authors_code(
    golden: dict[str, Any],
) -> None:
    top, bottom, left, right = golden["box"]
    params = PasteParams(
        partner=torch.arange(4).flip(0),
        start=torch.tensor([[top, left]] * 4),
        stop=torch.tensor([[bottom, right]] * 4),
    )
    expect_golden(golden, *mixed_pair(params, 0))


def test_labels_and_loss_of_interpolation_are_those_of_the_authors_code() -> None:
    golden = GOLDEN["interpolated"]
    kept = torch.full((4,), golden["kept"])
    expect_golden(golden, *mixed_pair(MixupParams(torch.arange(4).flip(0), kept), 1))


# What is drawn.


def drawn(method: TransMix, seed: int, rows: int = 6) -> ChoiceParams:
    batch = Batch.of(torch.zeros(rows, 1, 32, 32), torch.arange(rows))
    params = method.prepared.sample(batch, Draws(seed, batch.index))
    assert isinstance(params, ChoiceParams)
    return params


def test_four_batches_of_five_are_pasted_with_one_box_and_the_others_interpolated() -> None:
    params = [drawn(TransMix(), seed) for seed in range(2000)]
    assert all(len(one.chosen.unique()) == 1 for one in params)
    assert all(len(one.parts[0].start.unique(dim=0)) == 1 for one in params)
    assert all(len(one.parts[1].kept.unique()) == 1 for one in params)
    pasted = [bool(one.chosen[0] == 0) for one in params]
    assert sum(pasted) / 2000 == pytest.approx(0.8, abs=0.03)
    # Beta(0.8, 0.8) and, before boxes are clipped, Beta(1, 1).
    kept = torch.stack([one.parts[1].kept[0] for one in params])
    assert kept.var().item() == pytest.approx(0.25 / 2.6, abs=0.01)
    area = torch.stack(
        [one.parts[0].partner_share([torch.arange(32)] * 2)[0].mean() for one in params]
    )
    assert area.mean().item() == pytest.approx(77 / 240, abs=0.02)


def test_by_sample_every_row_has_its_own_mixer_box_and_weight() -> None:
    params = drawn(TransMix(scope="sample"), 0, rows=1000)
    assert (params.chosen == 0).float().mean().item() == pytest.approx(0.8, abs=0.04)
    assert len(params.parts[0].start.unique(dim=0)) > 100
    assert len(params.parts[1].kept.unique()) > 900


# The step.


def augmented(method: TransMix) -> tuple[nn.Module, Batch, ChoiceParams]:
    learner = method.start(make_setting(5, network=transformer))
    batch, params = method.augmented(learner, images().batch(torch.arange(12), epoch=0))
    assert isinstance(params, ChoiceParams)
    return learner.model, batch, params


def test_a_step_descends_on_the_reweighted_and_smoothed_loss() -> None:
    method = TransMix()
    learner, _ = run(method, epochs=1, network=transformer, momentum=0, rows=torch.arange(12))
    model, batch, params = augmented(method)
    before = weights(model)
    assert (params.chosen == 0).all()
    with listening([ClassAttention()], {"model": model}) as heard:
        output = model(batch.x)
    looked = heard[ClassAttention()]
    boxes = params.parts[0]
    dense = torch.zeros(12, CLASSES)
    for row in range(12):
        (top, left), (bottom, right) = boxes.start[row].tolist(), boxes.stop[row].tolist()
        inside = torch.zeros(8, 8)
        inside[top:bottom, left:right] = 1
        on_partner = (looked[row] * inside[::2, ::2]).sum() / looked[row].sum()
        share = (on_partner + inside.mean()) / 2
        own, partner = batch.target.labels[row].tolist()
        dense[row, own] += 0.9 * (1 - share)
        dense[row, partner] += 0.9 * share
    loss = F.cross_entropy(output, dense + 0.1 / CLASSES)
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    moved = before - 0.05 * torch.cat([part.flatten() for part in gradient])
    torch.testing.assert_close(weights(learner.model), moved, atol=1e-6, rtol=1e-5)


def test_with_the_area_alone_it_trains_as_the_mixers_with_smoothing_do() -> None:
    class ByArea(TransMix):
        def __init__(self) -> None:
            super().__init__()
            self.objective = objective_of(self).loss

    by_area, _ = run(TransMix(1.0), network=transformer)
    plain, _ = run(ByArea(), network=transformer)
    by_attention, _ = run(TransMix(), network=transformer)
    assert torch.equal(weights(by_area.model), weights(plain.model))
    assert not torch.equal(weights(by_area.model), weights(by_attention.model))


def test_the_model_runs_once_in_a_step() -> None:
    passes = []

    def counting(outputs: int) -> nn.Module:
        model = transformer(outputs)
        model.register_forward_hook(lambda *_: passes.append(1))
        return model

    learner, _ = run(TransMix(), epochs=2, network=counting)
    assert len(passes) == learner.step == 10


def test_models_that_cannot_be_heard_are_refused_at_set_up() -> None:
    with pytest.raises(ValueError, match="a class token, which ConvNet has not"):
        run(TransMix(), network=ConvNet)


def test_the_model_that_the_refusal_names_can_be_trained() -> None:
    def named(outputs: int) -> nn.Module:
        settings = "patch_size=4:depth=1:embed_dim=12:num_heads=2"
        name = f"vit_tiny_patch16_224:{settings}"
        return build_model(name, input_shape=(1, 8, 8), outputs=outputs, seed=0)

    _, progress = run(TransMix(), network=named)
    assert all(math.isfinite(loss) for loss in progress.curves["train loss"])


@pytest.mark.parametrize(
    "settings",
    [
        {"area_share": 1.5},
        {"cutmix_share": -0.1},
        {"cutmix_alpha": 0},
        {"mixup_alpha": -1.0},
        {"smoothing": 1},
        {"scope": "group"},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        TransMix(**settings)


# What becomes of it: a small transformer trained from scratch, by 8 x 8 patches.


class Watching(AttentionLabels):
    """Keeps how far the attention's share of each pasted box is from the patches' share."""

    def __init__(self, area_share: float, **options: Any) -> None:
        super().__init__(area_share, **options)
        self.seen: list[float] = []

    def target(
        self, batch: Batch, params: Params | None, attention: Tensor, **options: Any
    ) -> ClassTarget:
        assert isinstance(params, ChoiceParams)
        # Against the box as the grid of patches sees it: that alone is 0.03 from its pixels' area.
        by_attention, by_area = (
            AttentionLabels(0.0).target(batch, params, looked).weights[params.chosen == 0, 1]
            for looked in (attention, torch.ones_like(attention))
        )
        if len(by_attention):
            self.seen.append((by_attention - by_area).abs().mean().item())
        return super().target(batch, params, attention, **options)


class Watched(TransMix):
    def __init__(self, area_share: float) -> None:
        super().__init__(area_share)
        self.objective = Watching(area_share, loss=objective_of(self).loss)


def scattered_digits() -> Examples:
    """(N, 1, 32, 32) uint8: a digit of 16 x 16 pixels in one of the four corners, else black."""
    digits = load_digits()
    small = torch.from_numpy(digits.images / 16 * 255).to(torch.uint8)
    small = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    generator = torch.Generator().manual_seed(1)
    corner = torch.randint(0, 2, (2, len(small)), generator=generator) * 16
    x = torch.zeros(len(small), 1, 32, 32, dtype=torch.uint8)
    place = torch.arange(16)
    rows, columns = (corner[axis, :, None] + place for axis in range(2))
    x[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = small
    return Examples(x, torch.from_numpy(digits.target).long())


EPOCHS, SEEDS = 30, 3


@dataclass(frozen=True)
class Trained:
    """shift: mean distance of the attention's share in each epoch."""

    shift: list[float]
    accuracy: float


def trained(area_share: float, seed: int) -> Trained:
    """A transformer of four layers after 30 epochs of 384 digits; judged on the 1,413 others."""
    examples = scattered_digits()
    order = torch.randperm(len(examples.y), generator=torch.Generator().manual_seed(0))
    rows, rest = order[:384], order[384:]
    steps = EPOCHS * len(rows) // 32

    def model(outputs: int) -> nn.Module:
        found = transformer(10, img_size=32, patch_size=4, embed_dim=32, depth=4, mlp_ratio=2)
        nn.init.normal_(found.pos_embed, std=0.5)  # at timm's 0.02 places are learnt late
        return found

    def optimiser(parameters: Any) -> Any:
        return fabric.setup_optimizers(torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.03))

    def schedule(inner: Any, over: int) -> LambdaLR:
        warm = over // 10
        return LambdaLR(
            getattr(inner, "optimizer", inner),
            lambda step: min(1, (step + 1) / warm) * (1 + math.cos(math.pi * step / over)) / 2,
        )

    plain = make_setting(steps, seed=seed, network=model)
    fabric = plain.launcher
    setting = replace(
        plain,
        outputs=10,
        make_optimiser=optimiser,
        make_schedule=schedule,
        prepare=lambda x: (x.float() - 20) / 55,
    )
    method = Watched(area_share)
    watching = method.objective
    assert isinstance(watching, Watching)
    shift: list[float] = []

    def close(_learner: Learner, _progress: Progress) -> None:
        shift.append(sum(watching.seen) / len(watching.seen))
        watching.seen.clear()

    learner, _ = train(
        method, setting, examples, rows=rows, batch_size=32, epochs=EPOCHS, observe=close
    )
    with torch.no_grad(), learner.evaluating():
        output = method.predict(learner, examples.batch(rest, epoch=0, labelled=False))
    accuracy = (output.argmax(dim=1) == examples.y[rest]).float().mean().item()
    return Trained(shift, accuracy)


@cache
def by_attention() -> list[Trained]:
    return [trained(0.5, seed) for seed in range(SEEDS)]


@pytest.mark.slow
def test_attention_departs_from_the_area_while_the_model_learns_to_look() -> None:
    for one in by_attention():
        assert one.shift[0] < 0.03
        assert sum(one.shift[-5:]) / 5 > 0.05


@pytest.mark.slow
def test_accuracy_is_not_below_that_of_cutmix_and_mixup_beyond_noise() -> None:
    by_area = [trained(1.0, seed).accuracy for seed in range(SEEDS)]
    gains = [one.accuracy - other for one, other in zip(by_attention(), by_area, strict=True)]
    # Far above chance, or there would be nothing to lose.
    assert min(by_area) > 0.3
    assert stats.ttest_1samp(gains, 0, alternative="less").pvalue > 0.05
