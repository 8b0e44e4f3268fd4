from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.errors import InputError
from vicinal.core.task import Task
from vicinal.data.splits import splits


def task(y, rows=None, test=None):
    """A table whose row i holds `rows[i]`; all different by default."""
    values = torch.arange(len(y)) if rows is None else torch.tensor(rows)
    classes = tuple(f"class {label}" for label in range(max(y) + 1))
    return Task(
        name="data",
        modality="tabular",
        kind="classification",
        x=values.float()[:, None],
        y=torch.tensor(y),
        classes=classes,
        test_rows=None if test is None else torch.tensor(test),
    )


def regression(values, rows=None):
    base = task([0] * len(values), rows)
    return Task("data", "tabular", "regression", x=base.x, y=torch.tensor(values))


@st.composite
def tasks(draw):
    """Tasks with repeated rows of one label, and at least five distinct rows in each class."""
    sizes = draw(st.lists(st.integers(5, 25), min_size=2, max_size=5))
    y = [label for label, size in enumerate(sizes) for _ in range(size)]
    rows = list(range(len(y)))
    for copied in draw(st.lists(st.integers(0, len(y) - 1), max_size=8)):
        y.append(y[copied])
        rows.append(copied)
    return task(y, rows)


@given(data=tasks(), seed=st.integers(0, 2**31), folds=st.sampled_from([None, 2, 3, 5]))
def test_both_sides_are_all_rows_once_and_copies_stay_together(data, seed, folds):
    parts = splits(data, folds=folds, seed=seed)
    assert len(parts) == (folds or 1)
    for part in parts:
        rows = torch.cat([part.train, part.test])
        assert rows.sort().values.tolist() == list(range(len(data)))
        assert part.train.tolist() == sorted(part.train.tolist())
        assert part.train.dtype == part.test.dtype == torch.int64
        assert not set(data.x[part.train, 0].tolist()) & set(data.x[part.test, 0].tolist())
        assert set(data.y[part.train].tolist()) == set(data.y[part.test].tolist())
    if folds:
        assert sorted(row for part in parts for row in part.test.tolist()) == list(range(len(data)))


@given(
    sizes=st.lists(st.integers(5, 60), min_size=2, max_size=6),
    share=st.sampled_from([0.1, 0.2, 0.5, 0.99]),
    seed=st.integers(0, 1000),
)
def test_without_copies_every_class_has_its_share(sizes, share, seed):
    data = task([label for label, size in enumerate(sizes) for _ in range(size)])
    (part,) = splits(data, holdout=share, seed=seed)
    held = data.y[part.test].bincount(minlength=len(sizes)).tolist()
    assert held == [min(max(1, round(share * size)), size - 1) for size in sizes]
    folded = [data.y[part.test].bincount(minlength=len(sizes)) for part in splits(data, folds=5)]
    counts = torch.stack(folded)  # (folds, classes)
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1
    assert int(counts.sum(1).max() - counts.sum(1).min()) <= 1


def test_every_row_is_held_out_as_often_as_any_other():
    data = task([0, 1] * 20)
    seen = Counter(row for seed in range(400) for row in splits(data, seed=seed)[0].test.tolist())
    # 80 times each on average; six standard deviations of a binomial are 48.
    assert set(seen) == set(range(40))
    assert max(abs(count - 80) for count in seen.values()) < 48


def test_the_seed_decides_and_global_random_state_does_not():
    data = task([0, 1] * 20)
    first = splits(data, seed=3)[0].test
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(splits(data, seed=3)[0].test, first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(splits(data, seed=4)[0].test, first)
    assert first.tolist() == FIRST


#: A split is part of every published result: it must not change from one version to the next.
FIRST = [10, 15, 19, 28, 31, 34, 36, 37]


def test_the_test_part_that_came_with_the_data_is_taken_as_it_is():
    data = task([0, 1] * 6, rows=[7] * 12, test=[9, 4])
    (part,) = splits(data, seed=5)
    assert part.test.tolist() == [4, 9]
    assert part.train.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]


def test_folds_leave_the_test_part_out():
    data = task([0, 1] * 6, test=[4, 9])
    for part in splits(data, folds=3):
        assert not {4, 9} & {*part.train.tolist(), *part.test.tolist()}


def test_regression_is_split_without_classes():
    data = regression([float(value) for value in range(50)])
    (part,) = splits(data, holdout=0.3)
    assert len(part.test) == 15
    assert [len(part.test) for part in splits(data, folds=4)] == [13, 13, 12, 12]


def test_large_groups_are_dealt_evenly():
    rows = [number for number in range(12) for _ in range(1 + 9 * (number < 3))]
    parts = splits(task([0] * len(rows) + [1] * 3, [*rows, 97, 98, 99]), folds=3)
    assert [len(part.test) for part in parts] == [14, 14, 14]


@pytest.mark.parametrize(
    ("y", "rows", "folds", "message"),
    [
        (
            [0, 0, 0, 1],
            None,
            None,
            r"class 1 has 1 training row \(1 distinct\), too few for 2 parts; "
            r"add data, or leave the class out$",
        ),
        ([0, 0, 0, 1, 1], [0, 1, 2, 3, 3], None, r"class 1 has 2 training rows \(1 distinct\)"),
        (
            [0] * 9 + [1] * 4,
            None,
            5,
            r"class 1 has 4 training rows \(4 distinct\), .* 5 parts; .*fewer folds$",
        ),
        (
            [0, 0, 0, 1, 1],
            [0, 1, 2, 1, 2],
            None,
            "class 1 has 2 training rows, but all its rows are copies of rows of other classes; ",
        ),
    ],
)
def test_a_class_too_small_is_named_with_its_count(y, rows, folds, message):
    with pytest.raises(InputError, match=message):
        splits(task(y, rows), folds=folds)


def test_too_few_rows_for_regression_are_refused():
    with pytest.raises(InputError, match="data: 3 distinct rows, too few for 5 parts"):
        splits(regression([1.0, 2.0, 3.0]), folds=5)
    with pytest.raises(InputError, match="data: 1 distinct row, too few for 2 parts"):
        splits(regression([1.0, 2.0], rows=[4, 4]))


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"holdout": 0.0}, {"holdout": 1.0}])
def test_impossible_splits_are_programming_errors(wrong):
    with pytest.raises(ValueError, match="must be"):
        splits(task([0, 1] * 5), **wrong)
