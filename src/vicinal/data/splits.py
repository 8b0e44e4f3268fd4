"""Which rows are trained on and which are judged by; copies of a row always stay together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.core.task import Task
from vicinal.data.duplicates import row_groups
from vicinal.data.layout import counted


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a task, int64 and ascending, none on both sides."""

    train: Tensor
    test: Tensor


def splits(
    task: Task, *, folds: int | None = None, holdout: float = 0.2, seed: int = 0
) -> list[Split]:
    """The splits to compare on.

    Without `folds`, the test part that came with the data, as it came; without that, one holdout.
    With `folds`, each part of the training part in turn, and the test part is not used at all.
    Classes are split alike, and identical rows stay on one side, so that parts differ in size by
    such groups. The result depends on the data and the seed alone.

    Args:
        task: the data.
        folds: >= 2.
        holdout: share of the rows to be held out, in (0, 1).
        seed: of the shuffling.

    Raises:
        InputError: a class, or all data, has too few distinct rows.
        ValueError: folds or holdout is out of range.
    """
    if folds is not None and folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    if not 0 < holdout < 1:
        raise ValueError(f"holdout must be between 0 and 1, got {holdout}")
    everything = torch.arange(len(task))
    if task.test_rows is None:
        train = everything
    else:
        train = everything[~torch.isin(everything, task.test_rows)]
        if folds is None:
            return [Split(train, task.test_rows.sort().values)]
    groups = Groups.of(task, train)
    groups.check(task, train, folds=folds)
    if folds is not None:
        part = groups.dealt(folds, seed)
        return [Split(train[part != fold], train[part == fold]) for fold in range(folds)]
    held = groups.held_out(holdout, seed)
    return [Split(train[~held], train[held])]


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows that are to be split, joined into groups of identical ones.

    member: (N,) int64, the group of each row, 0 to G - 1.
    sizes: (G,) int64.
    labels: (G,) int64, the class of the first row of each group; zero for regression.
    names: (G,) int64, the row of the task that each group begins with.
    """

    member: Tensor
    sizes: Tensor
    labels: Tensor
    names: Tensor

    @classmethod
    def of(cls, task: Task, rows: Tensor) -> Groups:
        """The groups among some rows of a task."""
        groups = row_groups(task.x) if isinstance(task.x, Tensor) else torch.arange(len(task))
        _, member = torch.unique(groups[rows], return_inverse=True)
        sizes = member.bincount()
        # The last write to a place is kept, so that flipping gives the first row of a group.
        first = torch.empty_like(sizes)
        first[member.flip(0)] = torch.arange(len(rows)).flip(0)
        names = rows[first]
        labels = task.y[names] if task.kind == "classification" else torch.zeros_like(names)
        return cls(member, sizes, labels, names)

    def check(self, task: Task, rows: Tensor, *, folds: int | None) -> None:
        """Refuse classes with fewer groups than parts.

        Args:
            task: the data.
            rows: those that the groups are of.
            folds: as many parts; two without.

        Raises:
            InputError: there is such a class.
        """
        parts = folds or 2
        if task.kind != "classification":
            if len(self.sizes) < parts:
                raise InputError(
                    f"{task.name}: {counted(len(self.sizes), 'distinct row')}, "
                    f"too few for {parts} parts; give more data"
                )
            return
        present = self.labels.bincount(minlength=len(task.classes))
        short = int(present.argmin())
        if present[short] < parts:
            count = int((task.y[rows] == short).sum())
            has = f"class {task.classes[short]} has {counted(count, 'training row')}"
            if count and not present[short]:
                raise InputError(
                    f"{task.name}: {has}, but all its rows are copies of rows of other classes; "
                    "correct the labels, or leave the class out"
                )
            remedy = "add data, leave the class out, or use fewer folds"
            if parts == 2:
                remedy = "add data, or leave the class out"
            raise InputError(
                f"{task.name}: {has} ({int(present[short])} distinct), "
                f"too few for {parts} parts; {remedy}"
            )

    def shuffled(self, seed: int) -> list[list[int]]:
        """The groups of each class in random order."""
        order = Draws(seed, self.names).within("splits").keys("order").argsort(stable=True)
        return [order[self.labels[order] == label].tolist() for label in torch.unique(self.labels)]

    def dealt(self, parts: int, seed: int) -> Tensor:
        """Deals each class's groups to whichever part has the fewest rows so far, large ones first.

        Returns:
            (N,) int64, the part of each row.
        """
        sizes = self.sizes.tolist()
        part = torch.empty_like(self.sizes)
        total = [0] * parts
        for groups in self.shuffled(seed):
            own = [0] * parts
            for group in sorted(groups, key=lambda group: -sizes[group]):
                place = min(range(parts), key=lambda place: (own[place], total[place]))
                part[group] = place
                own[place] += sizes[group]
                total[place] += sizes[group]
        return part[self.member]

    def held_out(self, share: float, seed: int) -> Tensor:
        """Takes groups of each class until its share is full; at least one, and never all.

        Returns:
            (N,) bool.
        """
        sizes = self.sizes.tolist()
        held = torch.zeros(len(sizes), dtype=torch.bool)
        for groups in self.shuffled(seed):
            room = round(share * sum(sizes[group] for group in groups))
            taken: list[int] = []
            for group in groups:
                if sizes[group] <= room and len(taken) < len(groups) - 1:
                    taken.append(group)
                    room -= sizes[group]
            held[taken or [min(groups, key=lambda group: sizes[group])]] = True
        return held[self.member]
