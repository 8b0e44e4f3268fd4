"""Types of numbers: kept or converted as the card declares, and never wrong in silence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.testing.failure import Broken, expect, given
from vicinal.testing.subject import Named, Subject, described, leaves, type_name

DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8")
#: The share of the numbers that may be off by more than rounding.
AT_THRESHOLD = 0.01


def declared_dtype(subject: Subject, *, name: str) -> None:
    """A declared type comes out as declared, with the numbers that float32 gives."""
    batch = subject.batch(dtype=getattr(torch, name))
    with given(described(batch), expected=f"a result: the card declares {name}"):
        result = subject.result(batch)
        _expect_dtype(subject, result, batch)
        # A declared 8-bit result may have rules of its own (tables of levels) to which the float
        # one is no judge: a component that declares uint8 shows in tests of its own that it is
        # right.
        if name != "uint8":
            _expect_numbers_of_float32(subject, result, batch)


def undeclared_dtype(subject: Subject, *, name: str) -> None:
    """What is not declared need not work; it is refused by name, or it is right all the same."""
    batch = subject.batch(dtype=getattr(torch, name))
    asked = f"a TypeError or ValueError that names {name}, which the card does not declare"
    with given(described(batch), expected=asked):
        try:
            result = subject.result(batch)
        except (TypeError, ValueError) as refusal:
            expect(name in str(refusal), asked, f"{type(refusal).__name__}: {refusal}")
            return
        _expect_dtype(subject, result, batch)
        _expect_numbers_of_float32(subject, result, batch)


def _expect_dtype(subject: Subject, result: Batch, batch: Batch) -> None:
    for found, own in zip(leaves(result), leaves(batch), strict=True):
        wanted = subject.card.output_dtype or type_name(own.dtype)
        expect(type_name(found.dtype) == wanted, f"x of {wanted}", f"x of {type_name(found.dtype)}")


def _expect_numbers_of_float32(subject: Subject, result: Batch, batch: Batch) -> None:
    """The same params on the same numbers in float32 give the same but for rounding."""
    if "float32" not in subject.card.dtypes:
        return
    params, x = subject.params(batch), batch.tensor
    # Augmentations of floating images take shares of the largest level, others take any numbers.
    scales = (1.0, 255.0) if x.dtype == torch.uint8 else (1.0,)
    told = []
    for scale in scales:
        wide = batch.replace(x=x.float() / scale)
        wanted = subject.apply(wide, params).tensor.float() * scale
        off = (result.tensor.float() - wanted).abs()
        far = ~(off <= _rounding(x))
        # A value at a threshold may fall to either side.
        if float(far.float().mean()) <= AT_THRESHOLD:
            return
        told.append(f"{int(far.sum())} of {far.numel()} numbers are off, by up to {off.max():.3g}")
    raise Broken("the numbers that float32 gives, but for rounding", told[0])


def _rounding(x: Tensor) -> float:
    """What a few steps of arithmetic may lose: a level, or some units in the last place."""
    if not x.is_floating_point():
        return 1.0
    coarse = torch.finfo(x.dtype).eps * 4
    fine = torch.finfo(torch.float32).eps * 32
    return max(coarse, fine) * max(1.0, float(x.abs().max()))


def checks(subject: Subject) -> Iterator[Named]:
    """A check for each type that can be tried."""
    if not subject.on_tensors:
        return
    for name in DTYPES:
        if subject.batches is not None and not _casts(subject.batches(7).tensor.dtype, name):
            continue
        if name in subject.card.dtypes:
            yield f"{name}_as_declared", partial(declared_dtype, name=name)
        else:
            yield f"{name}_is_refused_or_right", partial(undeclared_dtype, name=name)


def _casts(own: torch.dtype, name: str) -> bool:
    """Whether a user's samples can be tried in a type: not from floats to levels, or back."""
    wanted: torch.dtype = getattr(torch, name)
    return own == wanted or (own.is_floating_point and wanted.is_floating_point)
