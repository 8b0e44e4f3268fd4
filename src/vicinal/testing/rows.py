"""Params are rows: they are picked, joined and stored, and replay as they did."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from vicinal.core.params import Params
from vicinal.testing import samples
from vicinal.testing.failure import expect, expect_same, given
from vicinal.testing.subject import Named, Subject, described, origin

#: Ways to pick some of seven rows: a span, positions in another order, a mask.
PICKS = (
    slice(2, 5),
    torch.tensor([4, 0, 6]),
    torch.tensor([True, False, True, True, False, False, False]),
)


def params_are_a_frozen_record(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        params = subject.params(batch)
        expect(isinstance(params, Params), "Params", f"a {type(params).__name__}")
        frozen = getattr(type(params), "__dataclass_params__", None)
        expect(bool(frozen and frozen.frozen), "a frozen dataclass", f"{type(params).__name__}")
        extra = vars(params).keys() - {field.name for field in dataclasses.fields(params)}
        expect(not extra, "nothing but fields of the dataclass", f"also {', '.join(extra)}")
        rows = len(subject.apply(batch, params))
        expect(len(params) == rows, f"{rows} rows, one for each sample", f"{len(params)}")


def params_are_compact(subject: Subject) -> None:
    """A row does not grow with the samples: what is of their size is stored as a key."""
    shape = subject.card.shapes.get(subject.modality, samples.SHAPES[subject.modality])
    small = subject.batch()
    large = subject.batch(shape=(shape[0], *(3 * size for size in shape[1:])))
    with given(f"{described(small)}, and {described(large)}"):
        sizes, larger = (
            {name: tuple(tensor.shape) for name, tensor in subject.params(batch).flat().items()}
            for batch in (small, large)
        )
        expect(sizes == larger, f"params of shapes {sizes} for both", f"{larger} for the larger")


def params_can_be_picked(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        params = subject.params(batch)
        result = subject.apply(batch, params)
        if len(params) != len(batch):  # its rows are made of several, or one of several
            backwards = torch.arange(len(params)).flip(0)[:-1]
            replayed = subject.apply(batch, params[backwards])
            told = f"rows {_written(backwards)} of the whole result"
            expect_same(replayed, result[backwards], told)
            return
        for rows in PICKS:
            replayed = subject.apply(batch[rows], params[rows])
            expect_same(replayed, result[rows], f"rows {_written(rows)} of the whole result")


def params_can_be_concatenated(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        params = subject.params(batch)
        again = type(params).concatenate([params[:3], params[3:]])
        expect_same(again, params, "the params that were taken apart")
    subject, first, second = subject.fitted(batch), batch[:4], batch[4:]
    if not subject.augmentation.pooled:
        first, second = first.replace(pool=None), second.replace(pool=None)
    with given(f"{described(first)}, and {described(second)}, joined"):
        both = samples.joined(first, second)
        rows = type(params).concatenate([subject.params(first), subject.params(second)])
        wanted = samples.joined(subject.result(first), subject.result(second))
        expect_same(subject.apply(both, rows), wanted, "both results")


def params_survive_arrow(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        params = subject.params(batch)
        stored = type(params).from_arrow(params.to_arrow())
        expect_same(stored, params.detach(), "the params that went into the table")
        replayed = subject.apply(batch, Params.from_arrow(params.to_arrow()))
        expect_same(replayed, subject.result(batch), "the same result from stored params")


def params_survive_safetensors(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)), tempfile.TemporaryDirectory() as folder:
        params = subject.params(batch)
        path = Path(folder) / "params.safetensors"
        params.save(path)
        stored = Params.load(path)
        expect_same(stored, params.detach(), "the params that went into the file")
        replayed = subject.apply(batch, stored)
        expect_same(replayed, subject.result(batch), "the same result from stored params")


def order_does_not_matter(subject: Subject) -> None:
    """Draws belong to samples: the same ones in another order become the same ones."""
    batch = subject.batch()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    shuffled = batch[order].replace(pool=None)
    with given(f"{described(batch)}, in two orders"):
        subject = subject.fitted(batch)
        wanted = subject.result(batch)
        if len(wanted) < len(batch):
            return  # several samples make one: those that stand together
        # Where one sample makes several they stay together, in their own order.
        wanted = wanted[order.argsort()[origin(wanted, batch)].argsort(stable=True)]
        expect_same(subject.result(shuffled), wanted, "the same samples, in the other order")


def company_does_not_matter(subject: Subject) -> None:
    """A transformed sample is the same whatever else is in its batch."""
    batch = subject.batch()
    with given(f"{described(batch)}, and some of its samples as a batch of their own"):
        subject = subject.fitted(batch)
        result = subject.result(batch)
        for rows in PICKS:
            alone = batch[rows].replace(pool=None)
            wanted = result[rows]
            expect_same(subject.result(alone), wanted, f"rows {_written(rows)} as in the whole")


def _written(rows: slice | Tensor) -> str:
    return f"{rows.start} to {rows.stop - 1}" if isinstance(rows, slice) else str(rows.tolist())


def checks(subject: Subject) -> Iterator[Named]:
    """All of them, but what a mixer or a draw for the whole batch rules out."""
    for check in (
        params_are_a_frozen_record,
        params_can_be_picked,
        params_can_be_concatenated,
        params_survive_arrow,
        params_survive_safetensors,
        order_does_not_matter,
    ):
        yield check.__name__, check
    if subject.batches is None:
        yield params_are_compact.__name__, params_are_compact
    if subject.one_at_a_time:
        yield company_does_not_matter.__name__, company_does_not_matter
