"""Augmenting some samples and leaving the others alone."""

from __future__ import annotations

import pytest
import torch

from vicinal import Batch, ClassTarget, Draws, Target
from vicinal.core.augmentation import Transform
from vicinal.core.params import Params
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.policies.sometimes import Sometimes, SometimesMixer, Unchanged, sometimes
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.orbit import Orbit


def some(rows: int = 400, dtype: torch.dtype = torch.float32) -> Batch:
    x = torch.arange(rows * 48).view(rows, 3, 4, 4).to(dtype)
    return Batch(x=x, target=Target.of(torch.arange(rows) % 5), index=torch.arange(rows) * 7)


class Negative(Transform):
    """Turns the sign, whatever the draws are."""

    def sample(self, batch: Batch, draws: Draws) -> Params:
        return Unchanged().sample(batch, draws)

    def apply(self, batch: Batch, params: Params) -> Batch:
        return batch.replace(x=-batch.tensor - 1)


def test_rows_are_augmented_or_the_very_same() -> None:
    batch = some()
    result, params = Sometimes(Negative(), 0.3).augment(batch, Draws(0, batch.index))
    applied = params.applied  # type: ignore[attr-defined]
    assert applied.double().mean().item() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(result.x[applied], -batch.tensor[applied] - 1)
    assert torch.equal(result.x[~applied], batch.tensor[~applied])


def test_a_mixed_row_has_the_mixed_label_and_another_its_own() -> None:
    batch, mixer = some(), CutMix()
    wrapped = sometimes(mixer, 0.5)
    assert isinstance(wrapped, SometimesMixer)
    params = wrapped.sample(batch, Draws(0, batch.index))
    mixed, plain = wrapped.apply(batch, params), mixer.apply(batch, params.inner)
    assert isinstance(mixed.target, ClassTarget)
    assert isinstance(plain.target, ClassTarget)
    on, off = params.applied, ~params.applied
    assert torch.equal(mixed.target.dense(5)[on], plain.target.dense(5)[on])
    assert torch.equal(mixed.target.dense(5)[off], torch.eye(5)[torch.arange(400)[off] % 5])
    assert torch.equal(mixed.x[off], batch.tensor[off])
    share = params.partner_share([torch.arange(4), torch.arange(4)])
    assert (share[off] == 0).all()
    wanted = params.inner.partner_share([torch.arange(4), torch.arange(4)])[on]
    assert torch.equal(share[on], wanted)
    assert (wanted > 0).any()


def test_partners_are_found_where_they_are_looked_up() -> None:
    batch = some(8)
    wrapped = SometimesMixer(Mixup(), 0.5)
    params = wrapped.sample(batch, Draws(0, batch.index))
    moved = wrapped.readdressed(params, wrapped.partners(params) + 1000)
    pool = batch.replace(index=batch.index + 1000)
    again = wrapped.apply(batch.replace(pool=pool), moved)
    assert torch.equal(again.x, wrapped.apply(batch, params).x)


def test_a_batch_may_share_the_decision() -> None:
    wrapped = Sometimes(Negative(), 0.5, scope="batch")
    counts = [
        int(wrapped.sample(some(20), Draws(seed, some(20).index)).applied.sum())
        for seed in range(40)
    ]
    assert set(counts) == {0, 20}
    assert 8 < counts.count(20) < 32


def test_params_are_rows_that_are_picked_and_stored() -> None:
    batch = some(6)
    wrapped = Sometimes(HorizontalFlip(), 0.5)
    params = wrapped.sample(batch, Draws(0, batch.index))
    rows = torch.tensor([4, 1])
    picked = wrapped.apply(batch[rows].replace(pool=None), params[rows])
    assert torch.equal(picked.x, wrapped.apply(batch, params).x[rows])
    again = type(params).from_arrow(params.to_arrow())
    assert again.equal(params)


def test_always_and_never_are_the_augmentation_and_nothing() -> None:
    mixer, batch = Mixup(), some(5)
    assert sometimes(mixer, 1.0) is mixer
    never, params = sometimes(mixer, 0.0).augment(batch, Draws(0, batch.index))
    assert never.x is batch.x
    assert never.target is batch.target
    assert len(params) == 5


def test_what_cannot_be_left_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 1.5"):
        Sometimes(Negative(), 1.5)
    with pytest.raises(ValueError, match="scope must be sample or batch"):
        Sometimes(Negative(), 0.5, scope="group")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="makes 16 rows of 4"):
        Sometimes(Orbit("rotation"), 0.5)(some(4))

    class Halved(Negative):
        def apply(self, batch: Batch, params: Params) -> Batch:
            return batch.replace(x=batch.tensor.float() / 2)

    with pytest.raises(TypeError, match=r"some samples would be torch\.uint8 and others"):
        Sometimes(Halved(), 0.5)(some(4, torch.uint8))
