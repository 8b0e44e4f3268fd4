"""Whether two values are the same, and what is different if they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.rows import Rows

#: Equal only to themselves, though they have attributes.
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType)


def difference(found: Any, wanted: Any, *, atol: float = 0.0, name: str = "") -> str:
    """The first difference between two values in words, or nothing if they are the same.

    Tensors are the same if their types, shapes and numbers are, records and augmentations if their
    classes and attributes are. Of two batches the samples are compared, and not where their
    partners would be found.

    Args:
        found: any value.
        wanted: what it should be.
        atol: by how much floating point numbers in tensors may differ.
        name: where the value was found.
    """
    if isinstance(found, Tensor) and isinstance(wanted, Tensor):
        return _between_tensors(found, wanted, atol=atol, name=name or "a tensor")
    if type(found) is not type(wanted):
        return f"{name or 'it'} is a {type(found).__name__}, not a {type(wanted).__name__}"
    if isinstance(wanted, Batch):
        pairs = [
            (part, getattr(found, part), getattr(wanted, part)) for part in ("x", "target", "index")
        ]
    elif isinstance(wanted, Mapping):
        if found.keys() != wanted.keys():
            return f"{name or 'it'} has {sorted(map(str, found))}, not {sorted(map(str, wanted))}"
        pairs = [(str(key), found[key], wanted[key]) for key in wanted]
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str | bytes):
        if len(found) != len(wanted):
            return f"{name or 'it'} has {len(found)} parts, not {len(wanted)}"
        pairs = [(str(i), *both) for i, both in enumerate(zip(found, wanted, strict=True))]
    elif isinstance(wanted, Rows | Augmentation) or _holds_attributes(wanted):
        return difference(vars(found), vars(wanted), atol=atol, name=name)
    else:
        same = bool(found == wanted) or (found != found and wanted != wanted)  # NaN equals NaN here
        return "" if same else f"{name or 'it'} is {found!r}, not {wanted!r}"
    told = (
        difference(mine, theirs, atol=atol, name=f"{name}.{part}" if name else part)
        for part, mine, theirs in pairs
    )
    return next(filter(None, told), "")


def _holds_attributes(value: Any) -> bool:
    """Whether the value is an object without an equality of its own."""
    compares = "__eq__" in {name for base in type(value).__mro__[:-1] for name in vars(base)}
    return not (compares or isinstance(value, _NAMED)) and hasattr(value, "__dict__")


def _between_tensors(found: Tensor, wanted: Tensor, *, atol: float, name: str) -> str:
    if found.dtype != wanted.dtype:
        return f"{name} is {found.dtype}, not {wanted.dtype}"
    if found.shape != wanted.shape:
        return f"{name} has shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
    if found.device != wanted.device:
        return f"{name} is on {found.device}, not {wanted.device}"
    found, wanted = found.detach(), wanted.detach()
    if found.is_floating_point():
        same = torch.isclose(found, wanted, rtol=0.0, atol=atol, equal_nan=True)
    else:
        same = found == wanted
    if bool(same.all()):
        return ""
    # By how much, in a type that holds the difference of two unsigned numbers.
    most = (found.double() - wanted.double()).abs().nan_to_num(nan=torch.inf).max().item()
    count = int((~same).sum())
    return f"{name} differs in {count} of {found.numel()} numbers, by up to {most:.3g}"
