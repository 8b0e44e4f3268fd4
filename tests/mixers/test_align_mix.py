from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.draws import Draws
from vicinal.latent.at_layer import AtLayer
from vicinal.mixers.align_mix import AlignMix, AlignMixParams
from vicinal.testing import checks_for

GOLDEN = load_file(Path(__file__).parent / "golden" / "align_mix.safetensors")


def maps(rows: int = 6, *, channels: int = 8, height: int = 3, width: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(rows, channels, height, width, generator=generator)
    return Batch.of(x, torch.arange(rows) % 3)


def told(partner: Tensor, kept: Tensor, towards_own: bool) -> AlignMixParams:
    return AlignMixParams(partner, kept, torch.full((len(partner),), towards_own))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("towards_own", [True, False])
def test_openmixup_has_the_same_plans_and_mixtures(dtype: torch.dtype, towards_own: bool) -> None:
    # Westlake-AI/openmixup at 37e1372, alignmix.py, pair by pair.
    own, partner = GOLDEN["own"].to(dtype), GOLDEN["partner"].to(dtype)
    plan = AlignMix().plan(own.flatten(2), partner.flatten(2)) / 12
    torch.testing.assert_close(plan.double(), GOLDEN["plan"], atol=1e-6, rtol=0)
    batch = Batch.of(torch.cat([own, partner]), torch.arange(10))
    params = told(torch.arange(5, 10), GOLDEN["kept"].float(), towards_own)
    mixed = AlignMix().apply(batch[torch.arange(5)], params)
    wanted = GOLDEN["towards_own" if towards_own else "towards_partner"]
    torch.testing.assert_close(mixed.x.double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("towards_own", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.8])
def test_a_partner_with_the_same_places_in_another_order_changes_nothing(
    towards_own: bool, kept: float
) -> None:
    own = maps(3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    partner = own.x.flatten(2)[:, :, order].view_as(own.x)
    batch = Batch.of(torch.cat([own.x, partner]), torch.arange(6))[:3]
    params = told(torch.arange(3, 6), torch.full((3,), kept), towards_own)
    mixed = AlignMix(epsilon=0.02, tolerance=1e-3).apply(batch, params)
    kept_as_it_is = own.x if towards_own else partner
    torch.testing.assert_close(mixed.x, kept_as_it_is, atol=1e-2, rtol=0)


def test_the_one_that_is_not_moved_stays_in_place_and_the_label_follows_the_weight() -> None:
    batch = maps(2)
    partner = torch.tensor([1, 0])
    for towards_own, whole in ((True, 1.0), (False, 0.0)):
        mixed = AlignMix().apply(batch, told(partner, torch.full((2,), whole), towards_own))
        wanted = batch.x if towards_own else batch.x[partner]
        torch.testing.assert_close(mixed.x, wanted)
    mixed = AlignMix().apply(batch, told(partner, torch.tensor([0.3, 0.9]), True))
    assert mixed.target is not None
    dense = torch.tensor([[0.3, 0.7, 0.0], [0.1, 0.9, 0.0]])
    torch.testing.assert_close(mixed.target.dense(3), dense)


def test_with_one_place_it_is_mixup() -> None:
    batch = maps(4, height=1, width=1)
    params = told(torch.tensor([2, 0, 3, 1]), torch.tensor([0.1, 0.5, 0.7, 0.9]), False)
    kept = params.kept[:, None, None, None]
    wanted = kept * batch.x + (1 - kept) * batch.x[params.partner]
    torch.testing.assert_close(AlignMix().apply(batch, params).x, wanted)


def test_gradients_flow_through_both_maps_and_not_through_the_plan() -> None:
    batch = maps(2)
    x = batch.x.clone().requires_grad_()
    params = told(torch.tensor([1, 0]), torch.tensor([0.4, 0.4]), True)
    mix = AlignMix()
    mixed = mix.apply(batch.replace(x=x), params).tensor
    (slope,) = torch.autograd.grad(mixed[0].sum(), x)
    weights = mix.plan(batch.x[:1].flatten(2), batch.x[1:].flatten(2))[0]  # (own, partner)
    torch.testing.assert_close(slope[0], torch.full_like(slope[0], 0.4))
    given = 0.6 * weights.sum(dim=0).view(1, 3, 4).expand(8, -1, -1)
    torch.testing.assert_close(slope[1], given)


def test_weight_and_direction_are_drawn_per_sample_or_per_batch() -> None:
    batch = maps(400, height=1, width=2)
    draws = Draws(0, batch.index)
    each, one = (AlignMix(scope=scope).sample(batch, draws) for scope in ("sample", "batch"))
    assert len(each.kept.unique()) == 400
    assert 140 < int(each.towards_own.sum()) < 260
    assert len(one.kept.unique()) == len(one.towards_own.unique()) == 1


def test_it_mixes_what_a_layer_puts_out() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
        )
    batch = Batch.of(torch.randn(6, 3, 7, 7, generator=torch.Generator().manual_seed(4)))
    draws = Draws(3, batch.index)
    mix = AlignMix()
    output, _, params = AtLayer(mix, "1").forward(model, batch, draws)
    hidden = batch.replace(x=model[1](model[0](batch.x)))
    torch.testing.assert_close(output, model[2:](mix.apply(hidden, params).x))


def test_it_compiles() -> None:
    batch, mix = maps(4), AlignMix(iterations=8)
    params = mix.sample(batch, Draws(0, batch.index))
    compiled = torch.compile(mix.apply, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(batch, params).x, mix.apply(batch, params).x)


#: It has no card: at the input it is of no use.
ON_CARDS = {
    "card_is_complete",
    "card_agrees_with_the_constructor",
    "settings_rebuild_it",
    "values_out_of_range_are_refused",
}


def test_it_keeps_the_contract_of_augmentations() -> None:
    mixer = AlignMix()
    mixer.card = Card(  # type: ignore[misc]
        name="align_mix_at_a_layer",
        kind="mixer",
        modality=("image",),
        summary="",
        family="transport",
        labels="mixed",
        dtypes=("float32", "float64", "bfloat16"),
        differentiable=True,
        stage="prepared",
    )
    checks = [
        check for check in checks_for(mixer, batches=maps, slow=False) if check.name not in ON_CARDS
    ]
    assert len(checks) > 15
    for check in checks:
        check()


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0}, {"epsilon": -0.1}, {"iterations": 0}, {"tolerance": -1.0}, {"scope": "row"}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        AlignMix(**settings)


def test_what_is_no_map_is_refused() -> None:
    mix = AlignMix()
    for x in (torch.zeros(3, 8), torch.zeros(3, 1, 4, 4, dtype=torch.uint8)):
        batch = Batch.of(x)
        with pytest.raises(ValueError, match="maps of features"):
            mix.apply(batch, mix.sample(batch, Draws(0, batch.index)))
