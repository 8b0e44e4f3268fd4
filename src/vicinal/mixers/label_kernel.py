"""Pairing by the distance of labels: the nearer a label, the likelier its sample is the partner."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import RegressionTarget
from vicinal.mixers.pairing import Pairing

Kernel = Literal["gaussian", "tophat"]
Pool = Literal["dataset", "batch"]

#: Bandwidth in standard deviations of the training labels, where none is given.
SHARE_OF_SPREAD = 0.25
#: Rows that a sample with labels of several numbers chooses among.
POOL_ROWS = 4096
#: Distances from the anchor, in bandwidths, at which the labels on either side are cut into strata.
#: Within a stratum the Gaussian falls by exp(-1/2), so that a row proposed from it is accepted with
#: a chance of 0.6 or more however the labels lie; beyond the last cut, at 5, are 6e-7 of its mass.
CUTS = {"gaussian": tuple(math.sqrt(k) for k in range(1, 26)), "tophat": (1.0,)}
#: Proposals of which the first accepted one is taken: with the Gaussian all of them are refused
#: once in three million times.
ROUNDS = {"gaussian": 16, "tophat": 1}


@dataclass(frozen=True)
class LabelKernel(Pairing):
    """Partners are drawn with a chance that falls with the distance of the labels.

    P(j | i) is proportional to K((y_i - y_j) / bandwidth), where K is a Gaussian or a box. The
    sample itself is one of those to choose from.

    Source: Yao et al., C-Mixup, NeurIPS 2022, equation 6, and the authors' src/algorithm.py, which
    computes the whole table of N x N. Here labels of one number are sorted once, and each sample
    proposes rows near its own label and takes the first that is accepted; labels of several
    numbers choose among 4,096 random rows of the data and the sample itself, by the exact weights.

    Args:
        bandwidth: width of the kernel in the unit of the labels, > 0; the standard deviation of
            the Gaussian, or half the box. Towards 0 partners have the same label, for large values
            they are any. None takes a quarter of the standard deviation of the training labels.
        kernel: `gaussian`, or `tophat`: all labels no further away than the bandwidth are as
            likely, and no others.
        pool: the partners' home: the training rows, all of them, or the batch alone.

    Raises:
        ValueError: a value is out of range; when it pairs: it is not fitted, or the batch has no
            targets.
        TypeError: when it is fitted or pairs: the targets are no numbers.
    """

    bandwidth: float | None = None
    kernel: Kernel = "gaussian"
    pool: Pool = "dataset"

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth must be positive, got {self.bandwidth}")
        if self.kernel not in CUTS:
            raise ValueError(f"kernel must be gaussian or tophat, got {self.kernel!r}")
        if self.pool not in ("dataset", "batch"):
            raise ValueError(f"pool must be dataset or batch, got {self.pool!r}")

    @property
    def pooled(self) -> bool:
        return self.pool == "dataset"

    @property
    def unfitted(self) -> bool:
        return self.pooled or self.bandwidth is None

    def fit(self, data: Batch) -> Pairing:
        labels = labels_of(data)
        # Labels that are all the same have no scale, and need none.
        bandwidth = self.bandwidth or SHARE_OF_SPREAD * spread(labels) or 1.0
        known = dataclasses.replace(self, bandwidth=bandwidth)
        if self.pool == "batch":
            return known
        return FittedLabelKernel(known, choice_of(labels / bandwidth, data.index))

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        if self.unfitted or self.bandwidth is None:
            raise ValueError(
                "pairing by label distance has to know the training labels: call fit(data) "
                "first, with a Batch of all training rows"
            )
        labels = labels_of(batch) / self.bandwidth
        return choice_of(labels, batch.index).draw(labels, batch.index, draws, kernel=self.kernel)


@dataclass(frozen=True, eq=False)
class FittedLabelKernel(Pairing):
    """A label kernel that knows the training labels.

    settings: with the bandwidth that holds.
    choice: all training rows, their labels in bandwidths.
    """

    settings: LabelKernel
    choice: Choice

    @property
    def pooled(self) -> bool:
        return True

    def fit(self, data: Batch) -> Pairing:
        return self.settings.fit(data)

    def partner(self, batch: Batch, draws: Draws) -> Tensor:
        assert self.settings.bandwidth is not None
        labels = labels_of(batch) / self.settings.bandwidth
        return self.choice.draw(labels, batch.index, draws, kernel=self.settings.kernel)


def labels_of(batch: Batch) -> Tensor:
    """The labels of a batch. Returns (B, D) float64.

    Raises:
        ValueError: there are none.
        TypeError: they are no numbers.
    """
    if batch.target is None:
        raise ValueError("pairing by label distance needs a batch with targets")
    if not isinstance(batch.target, RegressionTarget):
        raise TypeError(
            f"pairing by label distance needs regression targets, got {batch.target.kind}"
        )
    return batch.target.barycentre.detach().double().view(len(batch), -1)


def spread(labels: Tensor) -> float:
    """The standard deviation of labels, of several numbers the root mean square. labels: (N, D)."""
    return float((labels - labels.mean(dim=0)).square().mean().sqrt())


def log_kernel(squared: Tensor, kernel: Kernel) -> Tensor:
    """The logarithm of a kernel, 0 at its top. squared: distances in bandwidths, squared."""
    if kernel == "gaussian":
        return -squared / 2
    return torch.zeros_like(squared).masked_fill_(squared > 1, -math.inf)


def pair_probabilities(
    anchors: Tensor, labels: Tensor, bandwidth: float, *, kernel: Kernel = "gaussian"
) -> Tensor:
    """The whole table of chances, for a look at it: pairing does without.

    Args:
        anchors: (B, D) float, labels of those who choose.
        labels: (N, D) float, of those to choose from.
        bandwidth: of the kernel, in the labels' unit.
        kernel: its shape.

    Returns:
        (B, N) float64, each row sums to 1; NaN where a box has no label in it.
    """
    apart = (anchors.double()[:, None] - labels.double()[None]) / bandwidth  # (B, N, D)
    return log_kernel(apart.square().sum(dim=2), kernel).softmax(dim=1)


@dataclass(frozen=True, eq=False)
class Choice(ABC):
    """Rows to choose a partner from.

    labels: (N, D) float64, in bandwidths. rows: (N,) int64, rows of the dataset.
    """

    labels: Tensor
    rows: Tensor

    @abstractmethod
    def draw(self, anchors: Tensor, own: Tensor, draws: Draws, *, kernel: Kernel) -> Tensor:
        """A row for each sample.

        Args:
            anchors: (B, D) float64, the samples' labels in bandwidths.
            own: (B,) int64, their rows in the dataset.
            draws: of these rows.
            kernel: its shape.

        Returns:
            (B,) int64, rows of the dataset; the own one where no label is near enough.
        """


def choice_of(labels: Tensor, rows: Tensor) -> Choice:
    """Rows made ready to choose from, whatever order they come in.

    Args:
        labels: (N, D) float64, in bandwidths.
        rows: (N,) int64, rows of the dataset.

    Raises:
        ValueError: a label is no finite number.
    """
    if labels.device.type == "cpu" and not labels.isfinite().all():
        raise ValueError("pairing by label distance needs finite labels")
    if labels.shape[1] == 1:
        order = rows.argsort(stable=True)
        order = order[labels[order, 0].argsort(stable=True)]
        return SortedLabels(labels[order], rows[order])
    order = Draws(0, rows).keys("pool").argsort(stable=True)
    return ShuffledLabels(labels[order], rows[order])


class SortedLabels(Choice):
    """Labels of one number, in order: what is near is found by bisection.

    Choosing takes O(log N) a sample. Rows are proposed by strata of distance, as often as the
    kernel's upper bound in each stratum says, and accepted by the kernel over its bound: exact up
    to the tail beyond the last cut and to the rounds, whose fallback is the sample itself.
    """

    def draw(self, anchors: Tensor, own: Tensor, draws: Draws, *, kernel: Kernel) -> Tensor:
        labels, rounds = self.labels[:, 0], ROUNDS[kernel]
        edges = torch.tensor(CUTS[kernel], dtype=labels.dtype, device=labels.device)
        below = torch.searchsorted(labels, anchors - edges.flip(0))  # (B, K)
        middle = torch.searchsorted(labels, anchors)
        above = torch.searchsorted(labels, anchors + edges, right=True)
        cuts = torch.cat([below, middle, above], dim=1)  # (B, 2K + 1)
        inner = torch.cat([edges.new_zeros(1), edges[:-1]])  # the near end of each stratum
        bound = log_kernel(torch.cat([inner.flip(0), inner]).square(), kernel)  # (2K,)
        mass = (cuts.diff(dim=1) * bound.exp()).cumsum(dim=1)  # (B, 2K)

        at = draws.uniform("partner/stratum", shape=(rounds,)) * mass[:, -1:]
        stratum = torch.searchsorted(mass, at, right=True).clamp_(max=mass.shape[1] - 1)
        start, stop = cuts.gather(1, stratum), cuts.gather(1, stratum + 1)
        place = start + draws.below("partner/place", stop - start, shape=(rounds,))  # (B, R)
        place = place.clamp_(max=len(labels) - 1)  # of an empty stratum at the end
        apart = (labels[place] - anchors).square()
        chance = (log_kernel(apart, kernel) - bound[stratum]).exp()
        accepted = draws.uniform("partner/accepted", shape=(rounds,)) < chance
        accepted &= stop > start
        first = accepted.byte().argmax(dim=1, keepdim=True)
        chosen = self.rows[place.gather(1, first)[:, 0]]
        return torch.where(accepted.any(dim=1), chosen, own)


class ShuffledLabels(Choice):
    """Labels of several numbers, in random order: some consecutive ones are a random sample.

    Choosing takes time and memory of POOL_ROWS a sample, and is exact for fewer rows than that. The
    sample itself counts as one row of N, whether it is among those looked at or not.
    """

    def draw(self, anchors: Tensor, own: Tensor, draws: Draws, *, kernel: Kernel) -> Tensor:
        count = len(self.rows)
        looked_at = min(count, POOL_ROWS)
        start = draws.below("partner/pool", count)
        # Views of every run of consecutive rows, the first ones following the last.
        labels = torch.cat([self.labels, self.labels[: looked_at - 1]]).unfold(0, looked_at, 1)
        rows = torch.cat([self.rows, self.rows[: looked_at - 1]]).unfold(0, looked_at, 1)[start]
        apart = labels[start].sub_(anchors[:, :, None]).square_().sum(dim=1)  # (B, M)
        others = log_kernel(apart, kernel).masked_fill_(rows == own[:, None], -math.inf)
        itself = others.new_full((len(own), 1), math.log(looked_at / count))
        edges = torch.cat([itself, others], dim=1).softmax(dim=1).cumsum(dim=1)  # (B, 1 + M)
        at = draws.uniform("partner/chosen", shape=(1,)) * edges[:, -1:]
        chosen = torch.searchsorted(edges, at, right=True).clamp_(max=looked_at)  # (B, 1)
        return torch.cat([own[:, None], rows], dim=1).gather(1, chosen)[:, 0]
