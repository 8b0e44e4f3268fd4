"""Targets that say something of places: masks of classes, and boxes with classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.boxes import nearest_places
from vicinal.core.ragged import Ragged
from vicinal.core.target import Target

if TYPE_CHECKING:
    from typing_extensions import Self

#: The class of places that are not asked for, as in VOC and Cityscapes.
VOID = 255


@dataclass(frozen=True)
class MaskTarget(Target):
    """A class for every place: semantic segmentation.

    A place that shows two samples has the classes of both, with their shares as weights.

    labels: (B, K, ...) int64 over the axes of space, or `VOID`. `MaskTarget.of_masks` makes it of
        (B, ...) masks.
    weights: (B, K, ...) float, or None where every place has one class.
    """

    labels: Tensor
    weights: Tensor | None = None
    kind: ClassVar[str] = "masks"
    placed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels.dim() < 3 or self.labels.dtype != torch.int64:
            raise TypeError(
                "labels must be (B, K, ...) int64 with an axis of space at least, got "
                f"{self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if self.weights is None and self.labels.shape[1] != 1:
            raise ValueError(f"{self.labels.shape[1]} classes a place need weights")
        if self.weights is not None and self.weights.shape != self.labels.shape:
            raise ValueError(
                f"weights {tuple(self.weights.shape)} must have the shape of labels "
                f"{tuple(self.labels.shape)}"
            )

    @classmethod
    def of_masks(cls, masks: Tensor) -> Self:
        """One class a place. masks: (B, ...) integers over the axes of space."""
        return cls(masks.long()[:, None])

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        self.need_fitting(other, kept)
        given = 1 - kept if given is None else given
        shape = (-1, *(1,) * (self.labels.dim() - 1))
        return self._both(other, kept.view(shape), given.view(shape))

    def mix_places(self, other: Self, own: Tensor) -> Self:
        self.need_fitting(other, own)
        own = own[:, None]
        if own.shape[2:] != self.labels.shape[2:]:
            raise ValueError(
                f"the target's masks are {tuple(self.labels.shape[2:])}, and the samples "
                f"{tuple(own.shape[2:])}"
            )
        if own.dtype != torch.bool:
            return self._both(other, own, 1 - own)
        if self.weights is None and other.weights is None:
            return type(self)(torch.where(own, self.labels, other.labels))
        return self._both(other, own.float(), (~own).float())

    def resized_into(
        self, start: Tensor, stop: Tensor, *, sizes: Sequence[int], source: Sequence[int]
    ) -> Self:
        """By the nearest place. Raises ValueError if the masks are not of the samples' size."""
        if tuple(self.labels.shape[2:]) != tuple(source):
            raise ValueError(
                f"the target's masks are {tuple(self.labels.shape[2:])}, and the samples "
                f"{tuple(source)}"
            )
        places = []
        for axis, size in enumerate(sizes):
            step = torch.arange(size, device=start.device) - start[:, axis, None]
            side = (stop - start)[:, axis, None].clamp(min=1)
            places.append(nearest_places(step, side, side.new_tensor(source[axis])))

        def taken(values: Tensor) -> Tensor:
            for axis, place in enumerate(places, start=2):
                shape = list(values.shape)
                shape[axis] = place.shape[1]
                along = [-1 if one in (0, axis) else 1 for one in range(values.dim())]
                along[0] = len(values)
                values = values.gather(axis, place.view(along).expand(shape))
            return values

        return self.map(taken)

    def _both(self, other: Self, kept: Tensor, given: Tensor) -> Self:
        labels = torch.cat([self.labels, other.labels], dim=1)
        return type(self)(labels, torch.cat([self._weights() * kept, other._weights() * given], 1))

    def _weights(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return torch.ones(self.labels.shape, device=self.labels.device)

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """Cross-entropy, mean over the places that are asked for. output: (B, C, ...) logits."""
        log = output.float().log_softmax(dim=1)
        weights = self._asked()
        loss = -(weights * log.gather(1, self.labels.where(weights > 0, 0))).sum(dim=1)
        total, asked = loss.flatten(1).sum(dim=1), weights.sum(dim=1).flatten(1).sum(dim=1)
        if reduction == "mean":
            return total.sum() / asked.sum().clamp(min=1)
        return total / asked.clamp(min=1)

    def score(self, output: Tensor) -> Tensor:
        """The share of the places, by weight, whose class is right. output: (B, C, ...)."""
        weights = self._asked()
        right = (self.labels == output.argmax(dim=1, keepdim=True)) * weights
        asked = weights.flatten(1).sum(dim=1)
        return right.flatten(1).sum(dim=1) / asked.clamp(min=torch.finfo(asked.dtype).tiny)

    def dense(self, num_classes: int) -> Tensor:
        """The weights of all classes at every place. Returns (B, num_classes, ...)."""
        weights = self._asked()
        shape = (len(self), num_classes, *self.labels.shape[2:])
        labels = self.labels.where(weights > 0, 0)
        return weights.new_zeros(shape).scatter_add_(1, labels, weights)

    def _asked(self) -> Tensor:
        return self._weights() * (self.labels != VOID)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        width = max(part.labels.shape[1] for part in parts)
        padding = [
            (0, 0) * (part.labels.dim() - 2) + (0, width - part.labels.shape[1]) for part in parts
        ]
        labels = [F.pad(p.labels, pad) for p, pad in zip(parts, padding, strict=True)]
        if all(part.weights is None for part in parts):
            return cls(torch.cat(labels))
        weights = [F.pad(p._weights(), pad) for p, pad in zip(parts, padding, strict=True)]
        return cls(torch.cat(labels), torch.cat(weights))


@dataclass(frozen=True)
class BoxTarget(Target):
    """Boxes with classes: detection.

    boxes: B rows of (N, 4) floats: left, top, right, bottom, in pixels of the image.
    labels: the same rows of (N,) int64.
    weights: the same rows of (N,) floats: how much of a box's image is shown; 1 to begin with.
    seen: B rows of (N,) floats, the share of a box that is still to be seen; 1 to begin with.

    Where masks mix two images, a box stays if at least `least` of it is still to be seen. Its sides
    stay as they are.
    """

    boxes: Ragged
    labels: Ragged
    weights: Ragged
    seen: Ragged
    kind: ClassVar[str] = "boxes"
    placed: ClassVar[bool] = True
    #: The share of a box that has to be seen; as in the crops of SSD's training.
    least: ClassVar[float] = 0.3

    @classmethod
    def of_boxes(cls, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Self:
        """One image a row. boxes: (n, 4) each, n may be 0. labels: (n,) integers each.

        Raises:
            ValueError: boxes and labels do not fit, or a box ends before it begins.
        """
        rows = Ragged.of([box.reshape(-1, 4).float() for box in boxes])
        if (rows.values[:, 2:] < rows.values[:, :2]).any():
            raise ValueError("a box is (left, top, right, bottom), and one ends before it begins")
        classes = Ragged.of([label.long() for label in labels])
        if not torch.equal(rows.offsets, classes.offsets):
            raise ValueError("every box needs a label: rows of boxes and labels differ in length")
        ones = rows.with_values(torch.ones(len(rows.values), device=rows.device))
        return cls(rows, classes, ones, ones)

    def mix(self, other: Self, kept: Tensor, given: Tensor | None = None) -> Self:
        """Both images are to be seen everywhere: all boxes stay, by weight."""
        self.need_fitting(other, kept)
        given = 1 - kept if given is None else given
        return self._weighed(kept)._joined(other._weighed(given))

    def mix_places(self, other: Self, own: Tensor) -> Self:
        self.need_fitting(other, own)
        if own.dim() != 3:
            raise ValueError(
                f"boxes are of images, whose masks are (B, H, W), got {tuple(own.shape)}"
            )
        share = own.float()
        return self._covered(share)._joined(other._covered(1 - share))

    def resized_into(
        self, start: Tensor, stop: Tensor, *, sizes: Sequence[int], source: Sequence[int]
    ) -> Self:
        row = self.boxes.row
        scale = (stop - start)[row] / torch.tensor(source, device=start.device)  # of y and x
        corner = start[row].to(scale.dtype)
        moved = self.boxes.values * scale.flip(1).repeat(1, 2) + corner.flip(1).repeat(1, 2)
        return type(self)(self.boxes.with_values(moved), self.labels, self.weights, self.seen)

    def _weighed(self, weight: Tensor) -> Self:
        weights = self.weights.values * weight.to(self.weights.dtype)[self.weights.row]
        return type(self)(self.boxes, self.labels, self.weights.with_values(weights), self.seen)

    def _covered(self, share: Tensor) -> Self:
        """With what is left of each box. share: (B, H, W), how much of the image is shown."""
        height, width = share.shape[1:]
        sums = F.pad(share.double().cumsum(1).cumsum(2), (1, 0, 1, 0))  # (B, H + 1, W + 1)
        size = torch.tensor([width, height, width, height], device=share.device)
        # Whole pixels: those that a box touches.
        low = self.boxes.values[:, :2].floor()
        high = self.boxes.values[:, 2:].ceil()
        corners = torch.cat([low, high], dim=1).clamp(min=0).minimum(size).long()
        left, top, right, bottom = corners.unbind(1)
        row = self.boxes.row
        inside = sums[row, bottom, right] - sums[row, top, right]
        inside = inside - sums[row, bottom, left] + sums[row, top, left]
        area = ((right - left) * (bottom - top)).clamp(min=1)
        seen = self.seen.values * (inside / area).to(self.seen.dtype)
        result = type(self)(self.boxes, self.labels, self.weights, self.seen.with_values(seen))
        return result._select(seen >= self.least)

    def _select(self, kept: Tensor) -> Self:
        return type(self)(*(rows.select(kept) for rows in self._rows()))

    def _joined(self, other: Self) -> Self:
        """The boxes of both, row by row."""
        order = torch.arange(2 * len(self), device=self.boxes.device).view(2, -1).T.reshape(-1)
        pairs = torch.full((len(self),), 2, device=self.boxes.device)
        both = (
            Ragged.concatenate([mine, theirs])[order].joined(pairs)
            for mine, theirs in zip(self._rows(), other._rows(), strict=True)
        )
        return type(self)(*both)

    def _rows(self) -> tuple[Ragged, Ragged, Ragged, Ragged]:
        return self.boxes, self.labels, self.weights, self.seen

    def loss(self, output: Tensor, *, reduction: Literal["mean", "none"] = "mean") -> Tensor:
        """A detector matches boxes in a way of its own. Raises TypeError."""
        raise TypeError(
            "boxes have no loss of their own: hand boxes, labels, weights to a detector"
        )

    def score(self, output: Tensor) -> Tensor:
        """As `loss`. Raises TypeError."""
        raise TypeError("boxes have no score of their own: use the detector's")

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        columns = zip(*(part._rows() for part in parts), strict=True)
        return cls(*(Ragged.concatenate(list(column)) for column in columns))
