"""Whether a classifier leaves out of account the parts of an image that do not belong to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vicinal.core.draws import Draws

Kind = Literal["replace", "drop", "permute"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: From none of the cells to nine in ten.
SHARES = tuple(tenth / 10 for tenth in range(10))


@dataclass(frozen=True)
class Selectivity:
    """Accuracy against the share of an image's cells that are disturbed.

    shares: (S,) float64, those asked for, rounded to whole cells.
    accuracy: (S,) float64 for each kind of disturbance: how often the image's own class is found.
    partner_accuracy: (S,) float64, how often the class of the image that the cells are from is
        found instead; None where none are replaced.
    """

    shares: Tensor
    accuracy: Mapping[Kind, Tensor]
    partner_accuracy: Tensor | None

    def area(self, kind: Kind = "replace") -> float:
        """The mean accuracy over the shares: the area under the curve over its width, in [0, 1]."""
        width = self.shares[-1] - self.shares[0]
        return float(torch.trapezoid(self.accuracy[kind], self.shares) / width)


@dataclass(frozen=True)
class PatchSelectivity:
    """Disturb a growing share of the cells of images, and see how long a classifier is right.

    Cells are replaced by those of an image of another class, which draw a classifier to that class
    unless it can tell what does not belong; dropped, which takes away as much and draws nowhere;
    or permuted within the image, which takes away nothing but the order. Cells that are disturbed
    stay so at larger shares.

    Source: Lee et al., Hardwiring ViT Patch Selectivity into CNNs using Patch Mixing, arXiv 2023,
    patch replacement attacks, random patch drop and patch permutations; no code of it is public.
    The paper permutes all cells of grids of several sizes, as share 1 does here. A permutation is
    one cycle of the cells picked, so that all of them move.

    cells: along each axis, >= 1; they differ by a pixel where they do not divide it. The paper has
        7 and 14, of 32 and 16 pixels.
    shares: of the cells that are disturbed, in [0, 1], rising.
    kinds: what is done to them.
    black: what dropped cells show, in the unit of the images: one number, or one for each channel.
    rows: images that the model is given at a time, >= 1.

    Raises:
        ValueError: a value is out of range, or the cells are too few to tell any shares apart.
    """

    cells: int
    shares: tuple[float, ...] = SHARES
    _: KW_ONLY
    kinds: tuple[Kind, ...] = KINDS
    black: float | tuple[float, ...] = 0.0
    rows: int = 512

    def __post_init__(self) -> None:
        for name, count in {"cells": self.cells, "rows": self.rows}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        shares = list(self.shares)
        if shares != sorted(shares) or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"shares must be numbers in [0, 1] that rise, got {shares}")
        counts = self.counts()
        if len(set(counts)) < 2:
            raise ValueError(
                "shares must be of two numbers of cells at least, got "
                f"{counts} of {self.cells**2} cells"
            )
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds must be some of {list(KINDS)}, got {list(self.kinds)}")

    def __call__(
        self, model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, *, draws: Draws
    ) -> Selectivity:
        """The curves of a classifier. Without gradients; the model's mode is left as it is.

        Args:
            model: takes (B, C, H, W) and gives (B, K) logits; in evaluation mode.
            x: (N, C, H, W), as the model takes them.
            labels: (N,) int64, their classes, two of them at least where cells are replaced.
            draws: of the rows of x: where cells and partners come from.
        """
        order = draws.keys("cells", shape=(self.cells**2,)).argsort(dim=1)
        partner = another_class(labels, draws) if "replace" in self.kinds else None
        return self.curves(model, x, labels, order=order, partner=partner)

    @torch.no_grad()
    def curves(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        labels: Tensor,
        *,
        order: Tensor,
        partner: Tensor | None = None,
    ) -> Selectivity:
        """The curves for given cells and partners.

        Args:
            model: takes (B, C, H, W) and gives (B, K) logits.
            x: (N, C, H, W).
            labels: (N,) int64.
            order: (N, cells * cells) int64, the cells of each image as they are disturbed.
            partner: (N,) int64, the positions of the images that cells are replaced by.

        Raises:
            ValueError: shapes do not fit, there are no partners to replace cells by, or the cells
                to permute are of different sizes.
        """
        self._check(x, labels, order, partner)
        counts = self.counts()
        found = {
            kind: torch.stack(
                [
                    self._predicted(model, x, kind, picked=order[:, :count], partner=partner)
                    for count in counts
                ]
            )  # (S, N)
            for kind in self.kinds
        }
        return Selectivity(
            shares=torch.tensor(counts, dtype=torch.float64) / self.cells**2,
            accuracy={kind: _share(found[kind] == labels) for kind in self.kinds},
            partner_accuracy=(
                _share(found["replace"] == labels[partner]) if "replace" in found else None
            ),
        )

    def counts(self) -> list[int]:
        """How many cells are disturbed at each share."""
        return [round(share * self.cells**2) for share in self.shares]

    def _predicted(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        kind: Kind,
        *,
        picked: Tensor,
        partner: Tensor | None,
    ) -> Tensor:
        """The classes of images some cells of which are disturbed. Returns (N,) int64."""
        classes = []
        for some in torch.split(torch.arange(len(x), device=x.device), self.rows):
            if kind == "permute":
                seen = permute_cells(x[some], picked[some], cells=self.cells)
            else:
                shown = self._dropped(x) if partner is None or kind == "drop" else x[partner[some]]
                seen = replace_cells(x[some], shown, picked[some], cells=self.cells)
            logits = model(seen)
            if logits.dim() != 2:
                raise ValueError(f"the model must give (B, K) logits, got {tuple(logits.shape)}")
            classes.append(logits.argmax(dim=1))
        return torch.cat(classes)

    def _dropped(self, x: Tensor) -> Tensor:
        """What stands where a cell is dropped. Returns (1 or C, 1, 1), of the images' type."""
        return torch.tensor(self.black, dtype=x.dtype, device=x.device).view(-1, 1, 1)

    def _check(self, x: Tensor, labels: Tensor, order: Tensor, partner: Tensor | None) -> None:
        if x.dim() != 4 or labels.shape != x.shape[:1] or not len(x):
            raise ValueError(
                f"x must be (N, C, H, W) and labels (N,) with N > 0, got {tuple(x.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if order.shape != (len(x), self.cells**2):
            raise ValueError(f"order must be ({len(x)}, {self.cells**2}), got {tuple(order.shape)}")
        if "replace" in self.kinds and (partner is None or partner.shape != labels.shape):
            raise ValueError(f"to replace cells, partner must be ({len(x)},)")
        if "drop" in self.kinds and self._dropped(x).shape[0] not in (1, x.shape[1]):
            raise ValueError(f"black must be one number or {x.shape[1]}, one for each channel")
        height, width = x.shape[2:]
        if min(height, width) < self.cells:
            raise ValueError(f"{self.cells} cells do not fit into {height} x {width} pixels")
        if "permute" in self.kinds and (height % self.cells or width % self.cells):
            raise ValueError(
                f"cells change places only where they are alike: {self.cells} do not divide "
                f"{height} x {width} pixels; take another number, or leave 'permute' out of kinds"
            )


def another_class(labels: Tensor, draws: Draws) -> Tensor:
    """For each row a random one of another class, all of them as likely.

    Args:
        labels: (N,) int64.
        draws: of the N rows.

    Returns:
        (N,) int64 positions.

    Raises:
        ValueError: labels and draws are not of equal length, or all rows are of one class.
    """
    if labels.shape != (len(draws),):
        raise ValueError(f"labels must be ({len(draws)},) as draws are, got {tuple(labels.shape)}")
    _, member, size = torch.unique(labels, return_inverse=True, return_counts=True)
    if len(size) < 2:
        raise ValueError("cells are replaced by those of another class, and there is only one")
    # In the order of classes the own one is a stretch, which is jumped over.
    first, own = (size.cumsum(0) - size)[member], size[member]
    place = draws.below("partner", len(labels) - own)
    return labels.argsort(stable=True)[torch.where(place < first, place, place + own)]


def replace_cells(x: Tensor, shown: Tensor, picked: Tensor, *, cells: int) -> Tensor:
    """Images that show something else in some cells.

    Args:
        x: (B, C, H, W).
        shown: what they show there, broadcast to x.
        picked: (B, M) int64, which cells, row by row from the top left.
        cells: along each axis; they differ by a pixel where they do not divide it.
    """
    inside = torch.zeros(len(x), cells**2, dtype=torch.bool, device=x.device)
    inside = inside.scatter_(1, picked, True).view(-1, cells, cells)
    for axis in (1, 2):
        place = torch.arange(x.shape[axis + 1], device=x.device)
        inside = inside.index_select(axis, place * cells // len(place))
    return torch.where(inside[:, None], shown, x)


def permute_cells(x: Tensor, picked: Tensor, *, cells: int) -> Tensor:
    """Images some cells of which have changed places, each with the one picked before it.

    Args:
        x: (B, C, H, W), of sides that `cells` divides.
        picked: (B, M) int64, which cells, row by row from the top left.
        cells: along each axis.
    """
    source = torch.arange(cells**2, device=x.device).repeat(len(x), 1)
    source.scatter_(1, picked, picked.roll(1, dims=1))
    batch, channels, height, width = x.shape
    grid = x.reshape(batch, channels, cells, height // cells, cells, width // cells)
    parts = grid.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, cells * cells, C, ...) of pixels
    moved = parts[torch.arange(batch, device=x.device)[:, None], source]
    grid = moved.view(batch, cells, cells, channels, height // cells, width // cells)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def _share(right: Tensor) -> Tensor:
    """right: (S, N) bool. Returns (S,) float64."""
    return right.double().mean(dim=1).cpu()
