"""One of several mixers: rates, replay, and results that are those of the mixer chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Card, ClassTarget, Draws, RegressionTarget, SoftTarget, Target
from vicinal.core.augmentation import Mixer
from vicinal.core.params import Params
from vicinal.core.probe import Saliency
from vicinal.mixers.choice import ChoiceParams, RandomChoice, Unmixed
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.testing import check_augmentation

if TYPE_CHECKING:
    from typing_extensions import Self


class Either(RandomChoice):
    """What a user would make of it, with nothing but defaults."""

    def __init__(self, scope: str = "sample") -> None:
        super().__init__([CutMix(scope=scope), Mixup(scope=scope)], [3, 1], scope=scope)


# Given afterwards, so that the class is not registered for all other tests.
Either.card = Card(
    name="either",
    kind="mixer",
    family="tests",
    modality=("image",),
    summary="A box or an interpolation.",
    labels="mixed",
    parameters={"scope": CutMix.card.parameters["scope"]},
    example="from vicinal.mixers.choice import RandomChoice",
    dtypes=("float32", "float16", "bfloat16", "float64"),
    differentiable=True,
    compiles=True,
    stage="prepared",
)


@pytest.mark.parametrize("scope", ["sample", "batch"])
def test_it_keeps_the_contract_of_augmentations(scope: str) -> None:
    check_augmentation(Either(scope), slow=False)


@pytest.mark.slow
def test_it_compiles_and_works_in_workers() -> None:
    check_augmentation(Either())


def images(rows: int = 12, target: Target | None = None) -> Batch:
    x = torch.randn(rows, 2, 8, 6, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(x, torch.arange(rows) if target is None else target)
    return batch.replace(index=batch.index + 100)


def drawn(mixer: RandomChoice, batch: Batch, seed: int = 0) -> ChoiceParams:
    return mixer.sample(batch, Draws(seed, batch.index))


def test_every_row_is_what_the_mixer_it_chose_makes_of_it() -> None:
    batch, either = images(), Either()
    params = drawn(either, batch)
    assert set(params.chosen.tolist()) == {0, 1}
    mixed = either.apply(batch, params)
    assert isinstance(mixed.target, ClassTarget)
    alone = [
        mixer.apply(batch, part) for mixer, part in zip(either.mixers, params.parts, strict=True)
    ]
    for row, chosen in enumerate(params.chosen.tolist()):
        expected = alone[chosen]
        assert torch.equal(mixed.x[row], expected.x[row])
        assert mixed.target[row : row + 1].equal(expected.target[row : row + 1])
    assert torch.equal(mixed.index, batch.index)


@pytest.mark.parametrize(("scope", "batches", "rows"), [("sample", 4, 5000), ("batch", 2000, 3)])
def test_mixers_are_chosen_as_often_as_their_weights_say(
    scope: Any, batches: int, rows: int
) -> None:
    mixer = RandomChoice([CutMix(), Mixup(), Mixup(0.2)], [6, 3, 1], scope=scope)
    batch = images(rows)
    chosen = torch.stack([drawn(mixer, batch, seed).chosen for seed in range(batches)])
    rates = torch.bincount(chosen[:, 0] if scope == "batch" else chosen.flatten(), minlength=3)
    share = rates / rates.sum()
    torch.testing.assert_close(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.03, rtol=0)
    together = (chosen == chosen[:, :1]).all(dim=1)
    assert together.all() if scope == "batch" else not together.any()


def test_without_weights_mixers_are_chosen_equally_often() -> None:
    chosen = drawn(RandomChoice([CutMix(), Mixup()]), images(5000)).chosen
    assert chosen.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_weight_of_zero_is_never_chosen() -> None:
    chosen = drawn(RandomChoice([CutMix(), Mixup()], [0, 1]), images(5000)).chosen
    assert chosen.min() == 1


def test_two_mixers_of_one_kind_draw_apart() -> None:
    params = drawn(RandomChoice([Mixup(), Mixup()]), images())
    assert not torch.equal(params.parts[0].kept, params.parts[1].kept)


def test_the_partners_share_is_that_of_the_mixer_chosen() -> None:
    batch, either = images(), Either()
    params = drawn(either, batch)
    places = (torch.tensor([0, 3, 7]), torch.tensor([1, 5]))
    share = params.partner_share(places)
    assert share.shape == (12, 3, 2)
    for row, chosen in enumerate(params.chosen.tolist()):
        assert torch.equal(share[row], params.parts[chosen].partner_share(places)[row])


@pytest.mark.parametrize(
    "target",
    [
        SoftTarget(torch.eye(12)),
        RegressionTarget(torch.arange(12.0)),
        ClassTarget(torch.eye(12, 2).long(), torch.full((12, 2), 0.5)),
    ],
    ids=["soft", "regression", "mixture"],
)
def test_targets_of_every_kind_are_chosen_with_their_samples(target: Target) -> None:
    batch, either = images(target=target), Either()
    params = drawn(either, batch)
    mixed = either.apply(batch, params).target
    for place, (mixer, part) in enumerate(zip(either.mixers, params.parts, strict=True)):
        rows = params.chosen == place
        assert mixed[rows].equal(mixer.apply(batch, part).target[rows])


def test_partners_are_delivered_for_whichever_mixer_was_chosen() -> None:
    batch, either = images(), Either()
    params = drawn(either, batch)
    whole = either.apply(batch, params)
    rows = either.partners(params)
    assert rows.tolist() == [
        partner
        for pair in zip(*(part.partner.tolist() for part in params.parts), strict=True)
        for partner in pair
    ]
    # Each view of a partner has an address of its own, in a pool that holds nothing else.
    address = torch.arange(len(rows))
    pool = batch.take(rows).replace(index=address)
    replayed = either.apply(batch.replace(pool=pool), either.readdressed(params, address))
    assert torch.equal(replayed.x, whole.x)


@dataclass(frozen=True)
class HaloParams(Params):
    partner: Tensor


class Halo(Mixer):
    """Asks a model, needs the whole pool, and has to learn the mean first."""

    probes = (Saliency(),)
    pooled = True

    def __init__(self, mean: Tensor | None = None) -> None:
        self.mean = mean
        self.unfitted = mean is None

    def fit(self, data: Batch) -> Self:
        return type(self)(data.tensor.mean(dim=0))

    def sample(self, batch: Batch, draws: Draws) -> HaloParams:
        return HaloParams(batch.index)

    def apply(self, batch: Batch, params: HaloParams) -> Batch:
        assert self.mean is not None
        return batch.replace(x=batch.tensor - self.mean)


def test_what_one_of_the_mixers_needs_the_choice_needs() -> None:
    plain = RandomChoice([CutMix(), Mixup()])
    assert (plain.probes, plain.pooled, plain.unfitted) == ((), False, False)
    needy = RandomChoice([CutMix(), Halo(), Halo()], [0, 1, 1], scope="batch")
    assert (needy.probes, needy.pooled, needy.unfitted) == ((Saliency(),), True, True)
    batch = images()
    fitted = needy.fit(batch)
    assert not fitted.unfitted
    assert (fitted.weights, fitted.scope) == (needy.weights, "batch")
    centred, _ = fitted.augment(batch.replace(target=None), Draws(0, batch.index))
    torch.testing.assert_close(centred.tensor.mean(dim=0), torch.zeros(2, 8, 6))


def test_params_without_places_are_named_when_places_are_asked_for() -> None:
    params = drawn(RandomChoice([CutMix(), Halo()]), images())
    with pytest.raises(TypeError, match="a HaloParams does not say where the partner is"):
        params.partner_share((torch.arange(2), torch.arange(2)))


@pytest.mark.parametrize(
    ("mixers", "options", "message"),
    [
        ([Mixup()], {"weights": [1, 2]}, "1 mixers need as many weights, got 2"),
        ([], {}, "weights must be at least 0 and not all 0"),
        ([Mixup()], {"weights": [0]}, "not all 0"),
        ([Mixup(), CutMix()], {"weights": [2, -1]}, "at least 0"),
        ([Mixup()], {"weights": [float("nan")]}, "at least 0"),
        ([Mixup()], {"scope": "group"}, "scope must be sample or batch, got 'group'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    mixers: list[Mixer], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RandomChoice(mixers, **options)


def test_a_sample_may_be_left_unmixed() -> None:
    x, y = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40)
    batch = Batch.of(x, y)
    choice = RandomChoice([Mixup(), Unmixed()], [0.25, 0.75])
    mixed, params = choice.augment(batch, Draws(0, batch.index))
    left = params.chosen == 1
    assert 20 < int(left.sum()) < 40
    assert torch.equal(mixed.tensor[left], x[left])
    assert not torch.equal(mixed.tensor[~left], x[~left])
    alone = Unmixed()(batch, draws=Draws(0, batch.index))
    assert torch.equal(alone.tensor, x)
    assert alone.tensor.data_ptr() != x.data_ptr()
