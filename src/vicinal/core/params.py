"""The parameters of an augmentation, as rows that can be stored, moved and replayed."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vicinal.core.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Self


@dataclass(frozen=True)
class Params(Rows):
    """Every random decision of an augmentation, one row per output sample.

    A subclass is a frozen dataclass of tensors (B, ...); a field may be another Params. What is
    the size of a sample is stored as a key that `apply` expands. Stored rows carry no gradients.
    """

    def to_arrow(self) -> pa.Table:
        """A table with a column for each tensor; nested fields are named `outer.inner`."""
        import pyarrow as pa

        columns, fields = [], []
        for name, tensor in self.flat().items():
            tensor = tensor.detach().cpu().contiguous()
            flat = tensor.reshape(-1)
            # Arrow has no bfloat16; the bits travel as int16 and the type beside them.
            raw = flat.view(torch.int16) if tensor.dtype == torch.bfloat16 else flat
            column: Any = pa.array(raw.numpy())
            for size in reversed(tensor.shape[1:]):
                column = pa.FixedSizeListArray.from_arrays(column, size)
            columns.append(column)
            facts = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": tensor.shape[1:]}
            fields.append(pa.field(name, column.type, metadata={"tensor": json.dumps(facts)}))
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """The rows of a table that `to_arrow` made.

        Raises:
            ValueError: a column is not one of this class.
        """
        tensors = {}
        for field in table.schema:
            facts = json.loads(field.metadata[b"tensor"])
            column = table.column(field.name).combine_chunks()
            for _ in facts["shape"]:
                column = column.flatten()
            dtype = getattr(torch, facts["dtype"])
            values = torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
            values = values.view(dtype) if dtype == torch.bfloat16 else values.to(dtype)
            tensors[field.name] = values.view(len(table), *facts["shape"])
        return cls.from_flat(tensors)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, all or nothing."""
        from safetensors.torch import save

        path = Path(path)
        data = save({name: t.detach().cpu().contiguous() for name, t in self.flat().items()})
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote."""
        from safetensors.torch import load_file

        return cls.from_flat(load_file(path))

    def flat(self) -> dict[str, Tensor]:
        """Every tensor by name, nested ones as `outer.inner`; what is None is left out."""
        tensors: dict[str, Tensor] = {}
        for name, value in self.fields():
            if isinstance(value, Params):
                tensors |= {f"{name}.{inner}": tensor for inner, tensor in value.flat().items()}
            elif value is not None:
                tensors[name] = value
        return tensors

    @classmethod
    def from_flat(cls, tensors: dict[str, Tensor]) -> Self:
        """The record with these tensors, named as by `flat`.

        Raises:
            ValueError: a name is not a field of this class.
        """
        hints = typing.get_type_hints(cls)
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            inner = _params_type(hints[field.name])
            nested = {
                name.removeprefix(f"{field.name}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{field.name}.")
            }
            if field.name in tensors:
                fields[field.name] = tensors[field.name]
            elif inner is not None and nested:
                fields[field.name] = inner.from_flat(nested)
            elif type(None) in typing.get_args(hints[field.name]):
                fields[field.name] = None
        known = {name.split(".")[0] for name in tensors}
        unknown = known - fields.keys()
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        return cls(**fields)


def _params_type(hint: Any) -> type[Params] | None:
    for candidate in (hint, *typing.get_args(hint)):
        if isinstance(candidate, type) and issubclass(candidate, Params):
            return candidate
    return None
