"""Params are rows: picked, joined, stored and read back."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Params

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


@dataclass(frozen=True)
class Inner(Params):
    kept: Tensor
    flag: Tensor | None = None


@dataclass(frozen=True)
class Outer(Params):
    partner: Tensor
    inner: Inner
    parts: tuple[Params, ...] = ()
    optional: Inner | None = None
    mode: str = "plain"


@dataclass(frozen=True)
class OtherOuter(Params):
    partner: Tensor


def some(rows: int = 4, *, dtype: torch.dtype = torch.bfloat16) -> Outer:
    """Nested and in a tuple, of many types."""
    numbers = torch.arange(rows * 6).view(rows, 2, 3)
    return Outer(
        partner=torch.arange(rows) * 7,
        inner=Inner(numbers.to(dtype), torch.arange(rows) % 2 == 0),
        parts=(Inner(torch.rand(rows)), Outer(torch.arange(rows), Inner(torch.ones(rows, 0)))),
        mode="nested",
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_arrow_gives_back_what_went_in(rows: int, dtype: torch.dtype) -> None:
    params = some(rows, dtype=dtype)
    table = params.to_arrow()
    assert table.num_rows == rows
    assert Outer.from_arrow(table).equal(params)
    assert Params.from_arrow(table).equal(params)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 4])
def test_safetensors_gives_back_what_went_in(tmp_path: Path, rows: int, dtype: torch.dtype) -> None:
    params = some(rows, dtype=dtype)
    params.save(tmp_path / "rows")
    assert Outer.load(tmp_path / "rows").equal(params)
    assert Params.load(str(tmp_path / "rows")).equal(params)


def test_tables_are_cut_and_joined_as_rows() -> None:
    import pyarrow as pa

    params = some(6)
    table = params.to_arrow()
    assert Params.from_arrow(table.slice(2, 3)).equal(params[2:5])
    joined = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert Params.from_arrow(joined).equal(params)


def test_tables_survive_parquet(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    params = some(5)
    pq.write_table(params.to_arrow(), tmp_path / "rows.parquet")
    assert Params.from_arrow(pq.read_table(tmp_path / "rows.parquet")).equal(params)


def test_a_table_has_a_column_for_each_tensor_and_nested_names() -> None:
    names = ["partner", "inner.kept", "inner.flag", "parts.0.kept", "parts.1.partner"]
    assert some().to_arrow().column_names == [*names, "parts.1.inner.kept"]
    assert list(some().flat()) == [*names, "parts.1.inner.kept"]


def test_two_fields_may_be_one_tensor(tmp_path: Path) -> None:
    tensor = torch.arange(6).view(3, 2)
    params = Outer(tensor, Inner(tensor, tensor[:, 0] > 1))
    params.save(tmp_path / "rows")
    assert Params.load(tmp_path / "rows").equal(params)


def test_views_are_stored_as_what_they_show(tmp_path: Path) -> None:
    wide = torch.arange(24).view(4, 6)
    params = Outer(wide[:, 2], Inner(wide.T[1:3].T, wide[:1, :1].expand(4, 3)))
    params.save(tmp_path / "rows")
    assert Params.load(tmp_path / "rows").equal(params)
    assert Params.from_arrow(params.to_arrow()).equal(params)


def test_stored_rows_carry_no_gradients() -> None:
    params = Inner(torch.ones(3, requires_grad=True) * 2)
    assert params.kept.requires_grad
    assert not Params.from_arrow(params.to_arrow()).flat()["kept"].requires_grad
    assert not params.detach().kept.requires_grad


def test_rows_of_another_class_are_refused(tmp_path: Path) -> None:
    params = some()
    params.save(tmp_path / "rows")
    with pytest.raises(ValueError, match=r"the rows are \S*Outer, not \S*OtherOuter"):
        OtherOuter.load(tmp_path / "rows")
    with pytest.raises(ValueError, match=r"the rows are \S*Outer, not \S*Inner"):
        Inner.from_arrow(params.to_arrow())


def test_rows_of_an_unknown_class_ask_for_its_module() -> None:
    outline = some().outline() | {"class": "NowhereParams"}
    with pytest.raises(ValueError, match="no Params class 'NowhereParams': import the module"):
        Params.restore(outline, some().flat())


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows"
    some(3).save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        some(4).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows"]


@given(
    rows=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 9), max_size=3),
)
def test_rows_taken_apart_are_joined_again(rows: int, cuts: list[int]) -> None:
    params = some(rows)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [params[start:stop] for start, stop in pairwise(edges)]
    assert [len(part) for part in parts] == [b - a for a, b in pairwise(edges)]
    assert Outer.concatenate(parts).equal(params)


@given(data=st.data(), rows=st.integers(1, 9))
def test_rows_are_picked_by_position_and_by_mask(data: st.DataObject, rows: int) -> None:
    params = some(rows)
    order = torch.tensor(data.draw(st.permutations(range(rows))))
    picked = params[order]
    assert picked.partner.tolist() == (order * 7).tolist()
    assert torch.equal(picked.parts[0].flat()["kept"], params.parts[0].flat()["kept"][order])
    assert picked[order.argsort()].equal(params)
    mask = order % 2 == 0
    assert params[mask].equal(params[mask.nonzero()[:, 0]])


def test_one_row_is_no_record() -> None:
    with pytest.raises(TypeError, match="rows must be a slice or a tensor, got int"):
        some()[0]  # type: ignore[index]


def test_params_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        some().mode = "other"  # type: ignore[misc]


def test_fields_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="all fields of Inner need equal lengths"):
        Inner(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"parts\.0"):
        Outer(torch.zeros(3), Inner(torch.zeros(3)), (Inner(torch.zeros(4)),))


def test_joining_nothing_or_what_is_only_partly_there_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to concatenate: no Inner given"):
        Inner.concatenate([])
    with pytest.raises(ValueError, match="optional field is there in some parts only"):
        Inner.concatenate([Inner(torch.zeros(1)), Inner(torch.zeros(1), torch.zeros(1))])


@pytest.mark.parametrize(
    "other",
    [
        some(3),
        some(4, dtype=torch.float32),
        dataclasses.replace(some(), parts=()),
        dataclasses.replace(some(), optional=Inner(torch.zeros(4))),
        dataclasses.replace(some(), partner=torch.arange(4)),
        Inner(torch.zeros(4)),
        "rows",
    ],
)
def test_what_differs_is_not_equal(other: object) -> None:
    assert not some().equal(other)


def test_rows_move_between_devices() -> None:
    moved = some().to("meta")
    assert {tensor.device.type for tensor in moved.flat().values()} == {"meta"}
