"""Where a result goes: into new memory, into memory that was kept, or over the input."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vicinal import Augmentation, Batch, CutMix, Cutout, Draws, Mixup, Sequence
from vicinal.mixers import compiled
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.masks import blended

MIXERS = {
    "mixup": Mixup(),
    "mixup, batch": Mixup(scope="batch"),
    "cutmix": CutMix(),
    "cutmix, batch": CutMix(scope="batch"),
}
DTYPES = (torch.float32, torch.bfloat16, torch.uint8)


@pytest.fixture(params=["torch", "compiled"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's operations, and by compiled loops."""
    monkeypatch.setattr(compiled, "WORTHWHILE", 0 if request.param == "compiled" else 1 << 40)
    if request.param == "compiled":
        pytest.importorskip("numba")


def images(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(9, 3, 8, 10, generator=generator) * 255).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MIXERS)
def test_the_result_is_the_same_wherever_it_goes(name: str, dtype: torch.dtype) -> None:
    mix, x, y = MIXERS[name], images(dtype), torch.arange(9)
    draws = Draws(3, torch.arange(9))
    expected, target = mix(x.clone(), y, draws=draws)
    kept = torch.zeros_like(x)
    before = x.clone()
    mixed, again = mix(x, y, draws=draws, out=kept)
    assert mixed is kept
    assert torch.equal(mixed, expected)
    assert again.equal(target)
    assert torch.equal(x, before)
    mixed, again = mix(x, y, draws=draws, out=x)
    assert mixed is x
    assert torch.equal(x, expected)
    assert again.equal(target)


@pytest.mark.parametrize("own", ["places", "shares"])
def test_masks_write_over_the_input_too(own: str) -> None:
    x = images(torch.float32)
    share = torch.rand(9, 8, 10, generator=torch.Generator().manual_seed(2))
    mask = share > 0.5 if own == "places" else share
    at = torch.arange(9).roll(1)
    expected = blended(x.clone(), x.clone(), at, mask)
    assert blended(x, x, at, mask, out=x) is x
    assert torch.equal(x, expected)


def test_partners_from_elsewhere_are_not_written_to() -> None:
    x = images(torch.float32)
    pool = Batch(images(torch.float32) + 1, None, torch.arange(20, 29))
    before = pool.tensor.clone()
    batch = Batch(x, None, torch.arange(9), pool=pool, out=x)
    for mix in (Mixup(), CutMix()):
        params = mix.sample(Batch(x, None, torch.arange(20, 29)), Draws(0, torch.arange(9)))
        expected = mix.apply(batch.replace(x=x.clone()), params).tensor
        batch = batch.replace(x=x, out=x)
        assert torch.equal(mix.apply(batch, params).tensor, expected)
    assert torch.equal(pool.tensor, before)


def test_what_takes_no_memory_is_copied_there() -> None:
    x = images(torch.float32)
    kept = torch.zeros_like(x)
    cut = Cutout()
    draws = Draws(0, torch.arange(9))
    assert cut(x, draws=draws, out=kept) is kept
    assert torch.equal(kept, cut(x, draws=draws))


@pytest.mark.parametrize(
    "both", [Sequence([Mixup(), CutMix()]), RandomChoice([Mixup(), CutMix()])], ids=repr
)
def test_several_do_not_write_over_each_other(both: Augmentation) -> None:
    x = images(torch.float32)
    kept = torch.zeros_like(x)
    draws = Draws(0, torch.arange(9))
    expected = both(x, draws=draws)
    assert torch.equal(both(x, draws=draws, out=kept), expected)
    assert torch.equal(both(x, draws=draws, out=x), expected)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: x[:8],
        lambda x: x.double(),
        lambda x: x.contiguous(memory_format=torch.channels_last),
    ],
)
def test_memory_of_another_kind_is_refused(other: Callable[[Tensor], Tensor]) -> None:
    x = images(torch.float32)
    with pytest.raises(ValueError, match="out must have x's shape, type, device and layout"):
        Mixup()(x, out=other(x.clone()))


def test_gradients_find_their_way_through_memory_that_was_given() -> None:
    x = images(torch.float32).requires_grad_()
    kept = torch.zeros(x.shape)
    mixed = Mixup()(x, draws=Draws(0, torch.arange(9)), out=kept)
    mixed.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.sum(), torch.tensor(float(x.numel())))
