"""Transforms before mixing, for samples and their partners."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vicinal import Batch, Draws, Target
from vicinal.core.augmentation import Mixer
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.mixers.with_partners import WithPartners
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip


def images(count: int = 8) -> Batch:
    x = torch.randint(
        0, 256, (count, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    rows = torch.arange(count)
    return Batch(x=x, target=Target.of(rows % 5), index=rows + 100)


def drawn(augmentation: WithPartners, batch: Batch, seed: int = 0) -> Params:
    return augmentation.sample(batch, Draws(seed, batch.index))


def by_hand(batch: Batch, raw: PadCrop, params: Params) -> Tensor:
    """Mixup of two crops, a sample at a time."""
    rows = []
    for at in range(len(batch)):
        own = raw.apply(batch[at : at + 1], params.own[at : at + 1]).x.double()
        place = int(params.mixing.partner[at]) - 100
        partner = raw.apply(batch[place : place + 1], params.others[0][at : at + 1]).x.double()
        kept = float(params.mixing.kept[at])
        rows.append(kept * own + (1 - kept) * partner)
    return torch.cat(rows)


def test_a_sample_and_its_partner_are_transformed_and_then_mixed() -> None:
    batch, raw = images(), PadCrop(2)
    both = WithPartners(Mixup(), raw)
    params = drawn(both, batch)
    mixed = both.apply(batch, params)
    torch.testing.assert_close(mixed.x.double(), by_hand(batch, raw, params), atol=1e-4, rtol=0)
    # The labels are those of sample and partner.
    assert mixed.target is not None
    assert mixed.target.labels.tolist() == [
        [at % 5, (int(partner) - 100) % 5] for at, partner in enumerate(params.mixing.partner)
    ]
    assert torch.equal(mixed.index, batch.index)


def test_two_views_of_one_partner_are_told_apart() -> None:
    # All samples have the first one as their partner, each with a view of its own.
    batch, raw = images(), PadCrop(2)
    both = WithPartners(Mixup(), raw)
    params = both.readdressed(drawn(both, batch), torch.full((8,), 100))
    torch.testing.assert_close(
        both.apply(batch, params).x.double(), by_hand(batch, raw, params), atol=1e-4, rtol=0
    )
    assert len({tuple(corner) for corner in params.others[0].corner.tolist()}) > 1


def test_a_mixture_is_made_again_with_a_partner_that_is_not_in_the_batch() -> None:
    batch = images()
    for both in (WithPartners(CutMix(), PadCrop(2)), WithPartners(Mixup())):
        params = drawn(both, batch)
        whole = both.apply(batch, params)
        for at in range(8):
            alone = batch[at : at + 1].replace(pool=batch)
            again = both.apply(alone, params[at : at + 1])
            assert torch.equal(again.x, whole.x[at : at + 1])
        stored = Params.from_arrow(params.to_arrow())
        assert torch.equal(both.apply(batch, stored).x, whole.x)


def test_a_partner_is_transformed_by_numbers_of_its_own() -> None:
    batch = images(64)
    both = WithPartners(CutMix(), HorizontalFlip())
    params = drawn(both, batch)
    place = params.mixing.partner - 100
    assert not torch.equal(params.others[0].flipped, params.own.flipped)
    assert not torch.equal(params.others[0].flipped, params.own.flipped[place])


def test_samples_in_bytes_are_mixed_as_floats_on_the_same_scale() -> None:
    batch = images()
    mixed = WithPartners(Mixup()).augment(batch, Draws(0, batch.index))[0]
    assert mixed.x.dtype == torch.float32
    assert mixed.x.max() > 200


class Chain(Mixer):
    """The sum of a sample and two partners, each in a digit of its own."""

    def sample(self, batch: Batch, draws: Draws) -> Params:
        raise AssertionError("the test makes the params")

    def apply(self, batch: Batch, params: Params) -> Batch:
        pool, at = batch.partners(params.partner.reshape(-1))
        first, second = pool.tensor[at].unflatten(0, (-1, 2)).unbind(1)
        return batch.replace(x=batch.tensor + 10 * first + 100 * second)


def test_several_partners_keep_their_places() -> None:
    from vicinal.mixers.with_partners import WithPartnersParams
    from vicinal.transforms.image.flip import FlipParams

    @dataclass(frozen=True)
    class Partners(Params):
        partner: Tensor

    x = torch.arange(3.0)[:, None, None, None] * torch.tensor([1.0, 0.0])  # nonzero on the left
    batch = Batch.of(x)
    partner = torch.tensor([[1, 2], [2, 0], [0, 1]])
    mirrored = FlipParams(torch.tensor([True, True, True]))
    straight = FlipParams(torch.tensor([False, False, False]))
    params = WithPartnersParams(
        own=straight,
        mixing=Partners(partner),
        others=(straight, mirrored),
    )
    mixed = WithPartners(Chain(), HorizontalFlip()).apply(batch, params)
    # Left: the sample and its first partner; right: its second, mirrored.
    assert mixed.x[:, 0, 0].tolist() == [[10, 200], [21, 0], [2, 100]]


def test_what_cannot_be_combined_is_refused() -> None:
    class Asking(Mixup):
        probes: tuple[Probe, ...] = ("anything",)  # type: ignore[assignment]

    with pytest.raises(TypeError, match="mixer must be a mixer"):
        WithPartners(PadCrop())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="raw must be an augmentation that mixes nothing"):
        WithPartners(Mixup(), CutMix())
    with pytest.raises(ValueError, match="Asking asks a model about the samples"):
        WithPartners(Asking(), PadCrop())
