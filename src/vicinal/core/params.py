"""The parameters of an augmentation, as rows that can be stored, moved and replayed."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vicinal.core.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Self

_CLASSES: dict[str, type[Params]] = {}


@dataclass(frozen=True)
class Params(Rows):
    """Every random decision of an augmentation, one row per output sample.

    A subclass is a frozen dataclass of tensors (B, ...); a field may be another Params or a tuple
    of them. What is the size of a sample is stored as a key that `apply` expands. Stored rows
    carry no gradients, and say of which classes they are, so that they are read back by `Params`
    alone.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _CLASSES[_name(cls)] = cls

    def flat(self) -> dict[str, Tensor]:
        """Every tensor by name, nested ones as `outer.inner`; what is None is left out."""
        tensors: dict[str, Tensor] = {}
        for name, leaf in self.leaves():
            if isinstance(leaf, Params):
                tensors |= {f"{name}.{inner}": tensor for inner, tensor in leaf.flat().items()}
            elif isinstance(leaf, Tensor):
                tensors[name] = leaf
        return tensors

    def outline(self) -> dict[str, Any]:
        """The names of the classes and the constants in them: what `flat` leaves out."""
        outline: dict[str, Any] = {"class": _name(type(self))}
        for name, value in vars(self).items():
            if isinstance(value, Params):
                outline[name] = value.outline()
            elif isinstance(value, tuple):
                outline[name] = [part.outline() for part in value]
            elif not isinstance(value, Tensor):
                outline[name] = value
        return outline

    @classmethod
    def restore(cls, outline: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The record that `outline` and `flat` describe.

        Raises:
            ValueError: the rows are of another class, or of one that is not there.
        """
        found = _CLASSES.get(outline["class"])
        if found is None:
            raise ValueError(f"no Params class {outline['class']!r}: import the module it is from")
        if not issubclass(found, cls):
            raise ValueError(f"the rows are {outline['class']}, not {_name(cls)}")
        fields: dict[str, Any] = {name: t for name, t in tensors.items() if "." not in name}
        for name, value in outline.items():
            if isinstance(value, dict):
                fields[name] = Params.restore(value, _under(name, tensors))
            elif isinstance(value, list):
                fields[name] = tuple(
                    Params.restore(part, _under(f"{name}.{place}", tensors))
                    for place, part in enumerate(value)
                )
            elif name != "class":
                fields[name] = value
        return found(**fields)

    def to_arrow(self) -> pa.Table:
        """A table with a column for each tensor of `flat`."""
        import pyarrow as pa

        columns, fields = [], []
        for name, tensor in self.flat().items():
            tensor = tensor.detach().cpu().contiguous()
            values = tensor.reshape(-1)
            # Arrow has no bfloat16: its bits travel as int16, its name beside them.
            raw = values.view(torch.int16) if tensor.dtype == torch.bfloat16 else values
            column: Any = pa.array(raw.numpy())
            if 0 in tensor.shape[1:]:
                column = pa.nulls(len(tensor))  # Arrow has no lists of size 0
            else:
                for size in reversed(tensor.shape[1:]):
                    column = pa.FixedSizeListArray.from_arrays(column, size)
            columns.append(column)
            facts = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": tensor.shape[1:]}
            fields.append(pa.field(name, column.type, metadata={"tensor": json.dumps(facts)}))
        schema = pa.schema(fields, metadata={"params": json.dumps(self.outline())})
        return pa.Table.from_arrays(columns, schema=schema)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """The rows of a table that `to_arrow` made; ValueError if they are of another class."""
        tensors = {}
        for field in table.schema:
            facts = json.loads(field.metadata[b"tensor"])
            dtype = getattr(torch, facts["dtype"])
            if 0 in facts["shape"]:
                tensors[field.name] = torch.empty(len(table), *facts["shape"], dtype=dtype)
                continue
            column = table.column(field.name).combine_chunks()
            for _ in facts["shape"]:
                column = column.flatten()
            values = torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
            values = values.view(dtype) if dtype == torch.bfloat16 else values.to(dtype)
            tensors[field.name] = values.view(len(table), *facts["shape"])
        return cls.restore(json.loads(table.schema.metadata[b"params"]), tensors)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, all or nothing."""
        from safetensors.torch import save

        path = Path(path)
        # Copied, since safetensors refuses two fields that are one tensor.
        tensors = {name: t.detach().cpu().clone().contiguous() for name, t in self.flat().items()}
        data = save(tensors, metadata={"params": json.dumps(self.outline())})
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
        """Read a file that `save` wrote. Raises ValueError if the rows are of another class."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            outline = json.loads(file.metadata()["params"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return cls.restore(outline, tensors)


def _name(cls: type[Params]) -> str:
    """Two modules may each have a class of one name."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _under(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors below a name, by the rest of theirs."""
    return {key[len(name) + 1 :]: t for key, t in tensors.items() if key.startswith(f"{name}.")}
