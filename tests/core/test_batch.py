"""Some rows of a dataset, and where their partners are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal import Batch, Params, Target
from vicinal.core.probe import Features


@dataclass(frozen=True)
class Strength(Params):
    value: Tensor


PROBE = Features(layer="pool")


def dataset_rows(index: list[int]) -> Batch:
    """Every sample holds its row of the dataset, in all its parts."""
    rows = torch.tensor(index)
    return Batch(
        x={"image": rows[:, None].float().expand(-1, 3), "length": rows},
        target=Target.of(rows),
        index=rows,
        epoch=4,
        evidence={PROBE: rows * 2},
        extras={"teacher": rows * 3, "params": Strength(rows * 5)},
    )


def assert_rows(batch: Batch, index: list[int]) -> None:
    """All parts are those of the rows."""
    assert batch.index.tolist() == index
    assert batch.x["image"][:, 2].tolist() == index
    assert batch.x["length"].tolist() == index
    assert batch.target is not None
    assert batch.target.labels[:, 0].tolist() == index  # type: ignore[attr-defined]
    assert batch.evidence[PROBE].tolist() == [2 * row for row in index]
    assert batch.extras["teacher"].tolist() == [3 * row for row in index]
    assert batch.extras["params"].value.tolist() == [5 * row for row in index]
    assert batch.epoch == 4


@pytest.mark.parametrize(
    "rows, expected",
    [
        (slice(1, 3), [5, 2]),
        (torch.tensor([3, 3, 0]), [8, 8, 9]),
        (torch.tensor([True, False, False, True]), [9, 8]),
    ],
)
def test_picking_samples_picks_from_every_part(rows: Any, expected: list[int]) -> None:
    whole = dataset_rows([9, 5, 2, 8])
    assert_rows(whole[rows], expected)


def test_partners_of_a_part_are_found_in_the_whole() -> None:
    whole = dataset_rows([9, 5, 2, 8])
    part = whole[1:3]
    assert part.pool is whole
    assert part[:1].pool is whole
    assert_rows(part.take(torch.tensor([8, 9, 2])), [8, 9, 2])


def test_a_pool_may_come_from_elsewhere() -> None:
    memory = dataset_rows([40, 30])
    batch = dataset_rows([1, 2]).replace(pool=memory)
    pool, at = batch.partners(torch.tensor([30, 30]))
    assert pool is memory
    assert at.tolist() == [1, 1]
    with pytest.raises(LookupError, match=r"partners \[1\] are not in the batch or its pool"):
        batch.partners(torch.tensor([40, 1]))


@given(
    index=st.lists(st.integers(0, 2**40), min_size=1, max_size=20, unique=True),
    data=st.data(),
)
def test_partners_are_found_by_their_row_wherever_they_are(
    index: list[int], data: st.DataObject
) -> None:
    batch = Batch(torch.zeros(len(index), 1), None, torch.tensor(index))
    wanted = data.draw(st.lists(st.sampled_from(index), max_size=20))
    _, at = batch.partners(torch.tensor(wanted, dtype=torch.int64))
    assert [index[place] for place in at.tolist()] == wanted


@pytest.mark.parametrize("lost", [-1, 3, 2**40])
def test_a_partner_that_is_not_there_is_named(lost: int) -> None:
    batch = Batch.of(torch.zeros(3, 2))
    with pytest.raises(LookupError, match=rf"\[{lost}\]"):
        batch.take(torch.tensor([0, lost]))


def test_a_repeated_row_is_found_at_its_first_position() -> None:
    batch = Batch(torch.arange(4.0), None, torch.tensor([7, 3, 7, 3]))
    _, at = batch.partners(torch.tensor([3, 7]))
    assert at.tolist() == [1, 0]


def test_a_batch_of_its_own_is_numbered_from_zero() -> None:
    batch = Batch.of(torch.zeros(3, 2), torch.tensor([5, 6, 7]))
    assert batch.index.tolist() == [0, 1, 2]
    assert len(batch) == 3
    assert batch.pool is None
    assert Batch.of([torch.zeros(2), torch.zeros(2, 5)]).target is None


def test_parts_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="x has 2 rows, and index 3"):
        Batch({"a": torch.zeros(3), "b": torch.zeros(2)}, None, torch.arange(3))
    with pytest.raises(ValueError, match="target has 2 rows, and x 3"):
        Batch.of(torch.zeros(3), torch.tensor([0, 1]))


def test_one_tensor_is_asked_for_by_name() -> None:
    assert Batch.of(torch.zeros(2)).tensor.shape == (2,)
    with pytest.raises(TypeError, match="x must be one tensor, got dict"):
        _ = dataset_rows([1]).tensor


def test_a_batch_moves_with_its_pool() -> None:
    part = dataset_rows([1, 2, 3])[:2].to("meta")
    assert part.pool is not None
    for batch in (part, part.pool):
        tensors = [batch.x["image"], batch.index, batch.evidence[PROBE], batch.extras["teacher"]]
        tensors.append(batch.extras["params"].value)
        assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_partners_compile_into_one_graph_and_a_lost_one_still_fails() -> None:
    def take(batch: Batch, rows: Tensor) -> Tensor:
        return batch.take(rows).tensor

    torch.compiler.reset()
    compiled = torch.compile(take, fullgraph=True, backend="eager")
    batch = Batch(torch.tensor([10.0, 20.0, 30.0]), None, torch.tensor([4, 9, 6]))
    assert compiled(batch, torch.tensor([9, 9, 4])).tolist() == [20.0, 20.0, 10.0]
    with pytest.raises(RuntimeError, match="a partner is not in the batch"):
        compiled(batch, torch.tensor([9, 5, 4]))


def test_evidence_of_a_probe_is_found_by_an_equal_one() -> None:
    batch = dataset_rows([3, 1])
    assert batch.evidence[Features(layer="pool")].tolist() == [6, 2]
