"""Augmentations that are wrong in some type of numbers are found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vicinal import Batch
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip


class Brighter(HorizontalFlip):
    """Adds a fifth of the largest level to images that are mirrored, right in every type."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        x, more = batch.tensor, params.flipped.view(-1, 1, 1, 1)
        if x.dtype != torch.uint8:
            return batch.replace(x=x + (0.2 * more).to(x.dtype))
        return batch.replace(x=(x + 51 * more.to(torch.int16)).clamp(max=255).to(torch.uint8))


class WrapsAround(Brighter):
    """In 8 bits, what is above 255 begins again at 0."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        if batch.tensor.dtype != torch.uint8:
            return super().apply(batch, params)
        return batch.replace(x=batch.tensor + 51 * params.flipped.view(-1, 1, 1, 1).to(torch.uint8))


class Clamped(Brighter):
    """Declares nothing of 8 bits, and gets them right."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        result = super().apply(batch, params)
        bound = 255 if batch.tensor.dtype == torch.uint8 else 1.0
        return result.replace(x=result.tensor.clamp(max=bound))


class Widens(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        return super().apply(batch.replace(x=batch.tensor.float()), params)


class RefusesInRiddles(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        if not batch.tensor.is_floating_point():
            raise RuntimeError("kernel not implemented")
        return super().apply(batch, params)


class CoarseInHalf(Mixup):
    """Sums up in half precision what float32 would hold."""

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        if batch.tensor.dtype != torch.float16:
            return mixed
        return mixed.replace(x=(mixed.tensor + 300) - 300)


FLOATS = ("float32", "float64", "float16", "bfloat16")
for unaware in (WrapsAround, Clamped):
    unaware.card = replace(HorizontalFlip.card, dtypes=FLOATS)
for floating in (Widens, RefusesInRiddles):
    floating.card = replace(Mixup.card, dtypes=FLOATS)


def test_a_type_that_is_not_kept_is_found(broken: Any) -> None:
    wrong = {"float16_as_declared", "bfloat16_as_declared", "float64_as_declared"}
    # What is not declared must not change in silence either.
    assert broken(Widens()) >= wrong | {"uint8_is_refused_or_right"}


def test_a_type_is_converted_where_the_card_says_so(broken: Any) -> None:
    class Declared(Widens):
        pass

    Declared.card = replace(Mixup.card, dtypes=("float32", "float16"), output_dtype="float32")
    assert not {"float16_as_declared", "float32_as_declared"} & broken(Declared())


def test_being_wrong_in_an_undeclared_type_is_found(broken: Any) -> None:
    assert broken(WrapsAround()) == {"uint8_is_refused_or_right"}


def test_being_right_in_an_undeclared_type_is_fine(broken: Any) -> None:
    assert broken(Clamped()) == set()


def test_a_refusal_must_name_the_type(broken: Any) -> None:
    assert broken(RefusesInRiddles()) == {"uint8_is_refused_or_right"}


def test_losing_digits_in_half_precision_is_found(broken: Any) -> None:
    assert "float16_as_declared" in broken(CoarseInHalf())
