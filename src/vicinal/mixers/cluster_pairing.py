"""Pairing within groups of the data that are known before, or are found by clustering."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.mixers.pairing import Pairing, from_same_group

Pool = Literal["dataset", "batch"]
#: (N) samples -> (N, D) floats to cluster them by.
Features = Callable[[Batch], Tensor]

#: From so many rows on, clusters are found from random parts of them.
MANY_ROWS = 100_000
#: Rows of one such part.
PART = 4096


class SameGroup(Pairing):
    """Any sample of the same group, each as likely, the sample itself among them.

    A sample that is alone in its group meets itself.

    Args:
        group: (N,) int64, of every training row.
        rows: (N,) int64, which rows of the dataset these are, each once; 0 to N - 1 by default.
        pool: the partners' home: the training rows, all of them, or the batch alone.

    Raises:
        TypeError: groups or rows are not (N,) integers.
        ValueError: there are not as many groups as rows, a row is there twice, or the pool is
            unknown; when it pairs on the CPU: a row of the batch has no group.
    """

    def __init__(
        self, group: Tensor, rows: Tensor | None = None, *, pool: Pool = "dataset"
    ) -> None:
        rows = torch.arange(len(group), device=group.device) if rows is None else rows
        for name, numbers in (("group", group), ("rows", rows)):
            if numbers.dim() != 1 or numbers.dtype != torch.int64:
                raise TypeError(
                    f"{name} must be (N,) int64, got {numbers.dtype} {tuple(numbers.shape)}"
                )
        if len(group) != len(rows) or not len(rows):
            raise ValueError(f"{len(group)} groups, for {len(rows)} rows")
        if pool not in get_args(Pool):
            raise ValueError(f"pool must be dataset or batch, got {pool!r}")
        self.rows, order = rows.sort()
        if bool((self.rows[1:] == self.rows[:-1]).any()):
            raise ValueError("rows must not have a row twice")
        # Both in order of the rows, which are found by bisection, and in order of the groups.
        self.group = group[order]
        by_group = self.group.argsort(stable=True)
        self.member, self.group_of_member = self.rows[by_group], self.group[by_group]
        self.pool = pool

    def __repr__(self) -> str:
        count = len(set(self.group.tolist()))
        return f"SameGroup({count} groups of {len(self.rows)} rows, pool={self.pool!r})"

    @property
    def pooled(self) -> bool:
        return self.pool == "dataset"

    def groups_of(self, rows: Tensor) -> Tensor:
        """The groups of some rows. rows: (B,) int64, of the dataset. Returns (B,) int64."""
        place = torch.searchsorted(self.rows, rows.contiguous()).clamp_(max=len(self.rows) - 1)
        if rows.device.type == "cpu":
            lost = rows[self.rows[place] != rows]
            if len(lost):
                raise ValueError(
                    f"rows {lost[:5].tolist()} have no group: fit the pairing to the rows that it "
                    "is to pair"
                )
        return self.group[place]

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        group = self.groups_of(batch.index)
        if self.pool == "batch":
            return from_same_group(group, batch.index, draws)
        start = torch.searchsorted(self.group_of_member, group)
        size = torch.searchsorted(self.group_of_member, group, right=True) - start
        return self.member[start + draws.below("partner", size)]


@dataclass(frozen=True)
class SameCluster(Pairing):
    """Any sample of the same cluster, each as likely, the sample itself among them.

    Clusters are found once, by k-means on all training rows before they are augmented.

    Source: Mai and Lin, Intra-Cluster Mixup, 2025, section 4, and the authors' cluster data sets,
    which take 50 clusters of unit features by a SimSiam encoder.

    Args:
        clusters: k, >= 1; 1 pairs any with any. Rows that are equal are always of one cluster, so
            that there may be fewer.
        seed: of the first centres.
        features: (N) samples to (N, D) floats; by default the values of a sample, those of each
            channel or column divided by their standard deviation. An encoder does more for
            photographs: `functools.partial(Penultimate().answer, encoder)`.
        pool: the partners' home: the training rows, all of them, or the batch alone.

    Raises:
        ValueError: clusters or pool are out of range; when it is fitted: there are features that
            are not finite, or not a row for each sample; when it pairs: it is not fitted.
    """

    clusters: int = 50
    seed: int = 0
    features: Features | None = None
    pool: Pool = "dataset"

    def __post_init__(self) -> None:
        if self.clusters < 1:
            raise ValueError(f"clusters must be at least 1, got {self.clusters}")
        if self.pool not in get_args(Pool):
            raise ValueError(f"pool must be dataset or batch, got {self.pool!r}")

    @property
    def pooled(self) -> bool:
        return self.pool == "dataset"

    @property
    def unfitted(self) -> bool:
        return True

    def fit(self, data: Batch) -> SameGroup:
        features = scaled_values(data) if self.features is None else self.features(data)
        if features.shape[0] != len(data) or not len(data):
            raise ValueError(f"features of {len(features)} rows, for {len(data)} samples")
        group = k_means(features, self.clusters, seed=self.seed)
        return SameGroup(group, data.index, pool=self.pool)

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        raise ValueError(
            "pairing by cluster has to know the training rows: call fit(data) first, with a Batch "
            "of all training rows"
        )


def scaled_values(data: Batch) -> Tensor:
    """The values of samples, in standard deviations of their channel or column.

    Args:
        data: x (N, C, ...) numbers.

    Returns:
        (N, D) float32.
    """
    x = data.tensor.float()
    others = [axis for axis in range(x.dim()) if axis != 1]
    spread = x.std(dim=others, keepdim=True, correction=0)
    return (x / torch.where(spread > 0, spread, 1)).flatten(1)


def k_means(features: Tensor, clusters: int, *, seed: int = 0) -> Tensor:
    """The cluster of every row, the same for the same features.

    Args:
        features: (N, D) floats.
        clusters: k; no more are found than there are different rows.
        seed: of the first centres.

    Returns:
        (N,) int64, in [0, k).

    Raises:
        ValueError: a feature is not finite, or the features are not (N, D).
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if features.dim() != 2 or not bool(features.isfinite().all()):
        raise ValueError(f"features must be (N, D) finite numbers, got {tuple(features.shape)}")
    numbers = features.detach().float().cpu().numpy()
    count = min(clusters, len(numbers))
    if len(numbers) > MANY_ROWS:
        found = MiniBatchKMeans(count, batch_size=PART, n_init=3, random_state=seed)
    else:
        found = KMeans(count, n_init=1, random_state=seed)
    # One thread, because several add up in the order in which they happen to end.
    with threadpool_limits(1), warnings.catch_warnings():
        # Said of fewer different rows than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        group = found.fit_predict(numbers)
    return torch.from_numpy(group).long().to(features.device)
