"""Rows of a store as Parquet: params, and what the teacher said.

A shard holds all records of some rows of the dataset, those of one row side by side. Columns of
params are named as `Params.flat` names them: what belongs to a partner lies below its name.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.errors import InputError
from vicinal.core.files import write_whole
from vicinal.core.params import Params
from vicinal.core.rows import Rows
from vicinal.data.reinforced.top_k import TopK

if TYPE_CHECKING:
    import pyarrow as pa

_PARAMS = "params."


@dataclass(frozen=True)
class StoredRows(Rows):
    """Records of a store.

    index: (M,) int64, the row of the dataset. record: (M,) int64, its number among that row's.
    picture: (M,) int64, a checksum of the raw sample.
    params: M rows. taught: M rows.
    """

    index: Tensor
    record: Tensor
    picture: Tensor
    params: Params
    taught: TopK


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:05d}.parquet"


def write_shard(path: Path, rows: StoredRows, *, store: str, proof: Sequence[float]) -> None:
    """Write a shard, all or nothing.

    Args:
        path: of the file.
        rows: in the order to be kept.
        store: identity of the store it belongs to.
        proof: as `proof.prove` gives it for the rows' params.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = rows.params.to_arrow()
    label = pa.array(rows.taught.label.int().flatten().numpy())
    probability = pa.array(rows.taught.probability.flatten().numpy())
    kept = rows.taught.label.shape[1]
    columns = {
        "index": pa.array(rows.index.numpy()),
        "record": pa.array(rows.record.int().numpy()),
        "picture": pa.array(rows.picture.numpy()),
        "topk_id": pa.FixedSizeListArray.from_arrays(label.cast(pa.uint16()), kept),
        "topk_p": pa.FixedSizeListArray.from_arrays(probability, kept),
        "rest": pa.array(rows.taught.rest.numpy()),
    }
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    fields += [field.with_name(_PARAMS + field.name) for field in params.schema]
    facts = {"store": store, "proof": list(proof)}
    schema = pa.schema(fields, metadata={"vicinal": json.dumps(facts), **params.schema.metadata})
    table = pa.Table.from_arrays([*columns.values(), *params.columns], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=len(table))
    write_whole(path, sink.getvalue().to_pybytes())


def read_shard(path: Path, *, store: str) -> tuple[StoredRows, list[float]]:
    """The rows of a shard, and the proof that was written with them.

    Raises:
        InputError: the file is not there, damaged, or of another store.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError(f"{path} is missing: make the store again, what is there is kept")
    try:
        table = pq.read_table(path, memory_map=True)
        facts = json.loads(table.schema.metadata[b"vicinal"])
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: remove it, and make the store again") from error
    if facts["store"] != store:
        raise InputError(f"{path} belongs to another store: remove it, and make the store again")
    named = [name for name in table.column_names if name.startswith(_PARAMS)]
    params = table.select(named)
    params = params.rename_columns([name.removeprefix(_PARAMS) for name in named])
    params = params.replace_schema_metadata(table.schema.metadata)
    kept = table.schema.field("topk_id").type.list_size
    rows = StoredRows(
        index=_numbers(table, "index"),
        record=_numbers(table, "record").long(),
        picture=_numbers(table, "picture"),
        params=Params.from_arrow(params),
        taught=TopK(
            label=_numbers(table, "topk_id", dtype=pa.int64()).view(-1, kept),
            probability=_numbers(table, "topk_p").view(-1, kept),
            rest=_numbers(table, "rest"),
        ),
    )
    return rows, facts["proof"]


def _numbers(table: pa.Table, name: str, *, dtype: pa.DataType | None = None) -> Tensor:
    """All values of a column, lists laid flat."""
    column = table.column(name).combine_chunks()
    if name.startswith("topk"):
        column = column.flatten()
    if dtype is not None:
        column = column.cast(dtype)
    return torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())


def checksums(x: Tensor) -> Tensor:
    """A checksum of each raw sample, to know it again. x: (B, ...). Returns (B,) int64."""
    rows = x.detach().cpu().contiguous().flatten(1)
    return torch.tensor([zlib.crc32(row) for row in rows.view(torch.uint8).numpy()])
