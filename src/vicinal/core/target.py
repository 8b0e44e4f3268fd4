"""What a sample should give: labels that mix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.rows import Rows

if TYPE_CHECKING:
    from typing_extensions import Self

Rule = Literal["union", "weight", "maximum"]


@dataclass(frozen=True)
class Target(Rows):
    """Targets of B samples, made by `Target.of` or a class below; mixing keeps the kind."""

    kind: ClassVar[str]
    #: Whether it says something of places in a sample, so that it has to go with them.
    placed: ClassVar[bool] = False

    @staticmethod
    def of(labels: Tensor | Target) -> Target:
        """The target that labels can only mean: (B,) integers are class indices.

        Raises:
            TypeError: the labels could mean several things; name the kind of target then.
        """
        if isinstance(labels, Target):
            return labels
        if not isinstance(labels, Tensor):
            raise TypeError(f"labels must be a tensor or a Target, got a {type(labels).__name__}")
        if labels.dim() == 1 and not labels.is_floating_point() and labels.dtype != torch.bool:
            return ClassTarget(labels.long().unsqueeze(1))
        raise TypeError(
            f"labels of type {labels.dtype} and shape {tuple(labels.shape)} can mean several "
            "things: pass SoftTarget(y), MultiLabelTarget(y) or RegressionTarget(y)"
        )

    @abstractmethod
    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        """Each row mixed with the same row of another target.

        Args:
            other: of the same kind and length.
            kept: (B,) weight of the own target, in [0, 1].
            given: (B,) weight of the other's; 1 - kept by default.
        """

    def need_fitting(self, other: Target, weight: Tensor) -> None:
        """Raise unless each row can be mixed with the same row of another target, by a weight.

        Args:
            other: what it is mixed with.
            weight: (B, ...) of the rows, or of their places.

        Raises:
            TypeError: the other is of another kind.
            ValueError: the numbers of rows differ.
        """
        if other.kind != self.kind:
            raise TypeError(f"targets of kind {self.kind} and {other.kind} do not mix")
        if not len(self) == len(other) == weight.shape[0]:
            raise ValueError(
                f"{len(self)} targets cannot be mixed with {len(other)} by {len(weight)} weights"
            )

    def resized_into(
        self, start: Tensor, stop: Tensor, *, sizes: Sequence[int], source: Sequence[int]
    ) -> Self:
        """Each row as it is once its whole sample has been resized into a box of a larger space.

        What lies outside of the boxes is not to be used.

        Args:
            start: (B, R) int64, where the boxes begin.
            stop: (B, R) int64, where they end, exclusive.
            sizes: of the R axes of the space.
            source: of the samples' own axes.

        Raises:
            TypeError: the kind has no places.
        """
        raise TypeError(f"a {self.kind} target has no places to resize")

    def mix_places(self, other: Self, own: Tensor) -> Self:
        """Each row mixed with the same row of another target, place by place.

        Targets that are not `placed` have no rule for it: they mix by weight.

        Args:
            other: of the same kind and length.
            own: (B, ...) over the axes of space: bool, true where the own sample is shown, or float
                in [0, 1], its share.

        Raises:
            TypeError: the kind has no rule.
        """
        raise TypeError(f"a {self.kind} target has no places to mix")

    @abstractmethod
    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """The usual training loss of a model's output. Returns a scalar, or (B,) for `none`."""

    @abstractmethod
    def score(self, output: Tensor) -> Tensor:
        """The training metric expected under the mixture, higher is better. Returns (B,)."""


@dataclass(frozen=True)
class ClassTarget(Target):
    """A weighted mixture of class indices.

    labels: (B, K) int64.
    weights: (B, K) float, or None where each row has one label of weight 1. They need not sum to
        one.
    uniform: (B,) float, the weight spread evenly over all classes (label smoothing), or None.
    """

    labels: Tensor
    weights: Tensor | None = None
    uniform: Tensor | None = None
    kind: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels.dim() != 2 or self.labels.dtype != torch.int64:
            raise TypeError(
                f"labels must be (B, K) int64, got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if self.weights is None and self.labels.shape[1] != 1:
            raise ValueError(f"{self.labels.shape[1]} labels a row need weights")
        if self.weights is not None and self.weights.shape != self.labels.shape:
            raise ValueError(
                f"weights {tuple(self.weights.shape)} must have the shape of labels "
                f"{tuple(self.labels.shape)}"
            )

    def _weights(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return torch.ones(self.labels.shape, device=self.labels.device)

    def _uniform(self) -> Tensor:
        if self.uniform is not None:
            return self.uniform
        return torch.zeros(len(self), device=self.labels.device)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        self.need_fitting(other, kept)
        given = 1 - kept if given is None else given
        labels = torch.cat([self.labels, other.labels], dim=1)
        if self.weights is None and other.weights is None:
            weights = torch.stack([kept, given], dim=1)
        else:
            own, theirs = self._weights(), other._weights()
            weights = torch.cat([own * kept[:, None], theirs * given[:, None]], dim=1)
        uniform = None
        if self.uniform is not None or other.uniform is not None:
            uniform = self._uniform() * kept + other._uniform() * given
        return type(self)(labels=labels, weights=weights, uniform=uniform)

    def smooth(self, smoothing: float = 0.1) -> Self:
        """Take a share of every row's weight from its labels and spread it over all classes.

        Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.

        Args:
            smoothing: the share, in [0, 1).

        Raises:
            ValueError: the share is out of range.
        """
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
        uniform = smoothing * self.total() + (1 - smoothing) * self._uniform()
        return type(self)(self.labels, self._weights() * (1 - smoothing), uniform)

    def reweight(self, weights: Tensor) -> Self:
        """The same labels with other weights. weights: (B, K), of each label, at least 0."""
        return type(self)(self.labels, weights, self.uniform)

    def top_weight(self) -> Tensor:
        """The largest weight of a class in each row, equal labels counted once. Returns (B,)."""
        return self.merged()._weights().amax(dim=1)

    def expand(self, member: Tensor, count: int) -> Self:
        """Labels of the pairs (class, member), numbered `class * count + member`.

        Source: Lee et al., Self-supervised Label Augmentation via Input Transformations, ICML 2020,
        section 2.2. What label smoothing spreads stays spread over all pairs.

        Args:
            member: (B,) int64, which of the transformations each row went through.
            count: of the transformations.
        """
        return type(self)(self.labels * count + member[:, None], self.weights, self.uniform)

    def total(self) -> Tensor:
        """The weight of each row, its labels' and the uniform part. Returns (B,)."""
        return self._weights().sum(dim=1) + self._uniform()

    def merged(self) -> Self:
        """The same mixture with equal labels of a row counted once, their weights added up."""
        weights = self._weights()
        same = self.labels[:, :, None] == self.labels[:, None, :]  # (B, K, K)
        first = ~same.tril(-1).any(dim=2)  # (B, K): no equal label to the left
        merged = (same * weights[:, None, :]).sum(dim=2)
        return type(self)(self.labels, torch.where(first, merged, 0), self.uniform)

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Soft-label cross-entropy. output: (B, C) logits. No (B, C) labels are built."""
        if self.weights is None and self.uniform is None:
            return F.cross_entropy(output, self.labels[:, 0], reduction=reduction)
        output = output.float()
        weights = self._weights()
        # -sum_k w_k log p_k = sum_k w_k (logsumexp - z_k), and the same with the mean for the
        # uniform part.
        normaliser = output.logsumexp(dim=1)
        loss = self.total() * normaliser - (weights * output.gather(1, self.labels)).sum(dim=1)
        if self.uniform is not None:
            loss = loss - self.uniform * output.mean(dim=1)
        return loss.mean() if reduction == "mean" else loss

    def dense(self, num_classes: int) -> Tensor:
        """The mixture as one row of weights over all classes. Returns (B, num_classes)."""
        weights = self._weights()
        dense = weights.new_zeros(len(self), num_classes).scatter_add_(1, self.labels, weights)
        return dense if self.uniform is None else dense + self.uniform[:, None] / num_classes

    def score(self, output: Tensor) -> Tensor:
        """Accuracy under the mixture: the class predicted's share of the weight. output: (B, C)."""
        hit = self.labels == output.argmax(dim=1, keepdim=True)
        score = (hit * self._weights()).sum(dim=1)
        if self.uniform is not None:
            score = score + self.uniform / output.shape[1]
        if self.weights is None and self.uniform is None:
            return score
        # Weights may sum to anything, nothing included, and an accuracy is a share.
        return score / self.total().clamp(min=torch.finfo(score.dtype).tiny)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        width = max(part.labels.shape[1] for part in parts)
        plain = all(part.weights is None for part in parts)
        smooth = any(part.uniform is not None for part in parts)

        def padded(tensor: Tensor) -> Tensor:
            return F.pad(tensor, (0, width - tensor.shape[1]))

        return cls(
            labels=torch.cat([padded(part.labels) for part in parts]),
            weights=None if plain else torch.cat([padded(part._weights()) for part in parts]),
            uniform=torch.cat([part._uniform() for part in parts]) if smooth else None,
        )


@dataclass(frozen=True)
class SoftTarget(Target):
    """A distribution over classes for each sample. probabilities: (B, C) float."""

    probabilities: Tensor
    kind: ClassVar[str] = "soft"

    def __post_init__(self) -> None:
        super().__post_init__()
        _need_float_matrix("probabilities", self.probabilities)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        self.need_fitting(other, kept)
        return type(self)(_weighted(self.probabilities, other.probabilities, kept, given))

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Soft-label cross-entropy. output: (B, C) logits."""
        loss = -(self.probabilities * output.float().log_softmax(dim=1)).sum(dim=1)
        return loss.mean() if reduction == "mean" else loss

    def dense(self, num_classes: int) -> Tensor:
        """The distributions. Raises ValueError if they have another number of classes."""
        if self.probabilities.shape[1] != num_classes:
            raise ValueError(
                f"the target has {self.probabilities.shape[1]} classes, asked for {num_classes}"
            )
        return self.probabilities

    def score(self, output: Tensor) -> Tensor:
        """The probability of the class predicted. output: (B, C)."""
        return self.probabilities.gather(1, output.argmax(dim=1, keepdim=True))[:, 0]


@dataclass(frozen=True)
class MultiLabelTarget(Target):
    """Any number of classes for each sample.

    values: (B, C) in [0, 1].
    rule: what a class becomes when two samples are mixed. `weight`: the weighted mean of both
        values; `union`: present if present in a sample that is shown at all; `maximum`: the larger
        weighted value.
    """

    values: Tensor
    rule: Rule = "weight"
    kind: ClassVar[str] = "multilabel"

    def __post_init__(self) -> None:
        if self.rule not in ("union", "weight", "maximum"):
            raise ValueError(f"rule must be union, weight or maximum, got {self.rule!r}")
        if self.values.dtype == torch.bool or not self.values.is_floating_point():
            object.__setattr__(self, "values", self.values.float())
        _need_float_matrix("values", self.values)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        self.need_fitting(other, kept)
        given = 1 - kept if given is None else given
        mine, theirs = self.values, other.values
        if self.rule == "weight":
            return type(self)(_weighted(mine, theirs, kept, given), self.rule)
        if self.rule == "union":
            shown, added = (kept > 0).to(mine.dtype), (given > 0).to(mine.dtype)
        else:
            shown, added = kept, given
        values = torch.maximum(mine * shown[:, None], theirs * added[:, None])
        return type(self)(values, self.rule)

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Binary cross-entropy, mean over classes. output: (B, C) logits."""
        loss = F.binary_cross_entropy_with_logits(output.float(), self.values, reduction="none")
        return loss.mean() if reduction == "mean" else loss.mean(dim=1)

    def dense(self, num_classes: int) -> Tensor:
        """The values. Raises ValueError if they have another number of classes."""
        if self.values.shape[1] != num_classes:
            raise ValueError(
                f"the target has {self.values.shape[1]} classes, asked for {num_classes}"
            )
        return self.values

    def score(self, output: Tensor) -> Tensor:
        """The share of classes decided right at one half, by weight. output: (B, C)."""
        present = output > 0
        return torch.where(present, self.values, 1 - self.values).mean(dim=1)


@dataclass(frozen=True)
class RegressionTarget(Target):
    """Numbers to predict.

    Mixed values are the weighted mean of the samples', their barycentre: a weighted mean of losses
    would do for a squared loss, and be wrong for any other.

    values: (B,) or (B, D) float.
    """

    values: Tensor
    kind: ClassVar[str] = "regression"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.values.is_floating_point():
            raise TypeError(f"values must be floating point, got {self.values.dtype}")

    @property
    def barycentre(self) -> Tensor:
        """The values to predict. Returns (B,) or (B, D)."""
        return self.values

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        self.need_fitting(other, kept)
        return type(self)(_weighted(self.values, other.values, kept, given))

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Squared error. output: of the shape of the values, or (B, 1) for (B,) values."""
        loss = (output.float().view(self.values.shape) - self.values).square()
        return loss.mean() if reduction == "mean" else loss.reshape(len(self), -1).mean(dim=1)

    def score(self, output: Tensor) -> Tensor:
        """The negative squared error."""
        return -self.loss(output, reduction="none")


def _weighted(mine: Tensor, theirs: Tensor, kept: Tensor, given: Tensor | None) -> Tensor:
    """The sum kept * mine + given * theirs, row by row."""
    shape = (-1,) + (1,) * (mine.dim() - 1)
    kept = kept.to(mine.dtype).view(shape)
    if given is None:
        return torch.lerp(theirs, mine, kept)
    return kept * mine + given.to(mine.dtype).view(shape) * theirs


def _need_float_matrix(name: str, tensor: Tensor) -> None:
    if tensor.dim() != 2 or not tensor.is_floating_point():
        raise TypeError(f"{name} must be (B, C) floats, got {tensor.dtype} {tuple(tensor.shape)}")
