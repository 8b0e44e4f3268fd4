"""Putting several images together of several others at once: Co-Mixup's objective and search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class JointEnergy:
    """What it costs to put n images together of the cells of n inputs, in P parts of a batch.

    Shares z (P, n, K, n) say of every image and each of its K = m * m cells how much it shows of
    each input; they are 0, 1/2 or 1, with sum 1. The objective is the sum of what the cells cost,
    of beta / 2 times the squared difference of cells that touch, and, of every image and input, of
    gamma times how many cells show the input here, times how many do elsewhere, where these are
    more than the threshold.

    cost: (P, K, n), of showing each input in each cell.
    compatibility: (P, n, n), how much the cells that show one input elsewhere count for another.
    beta, gamma: >= 0.
    threshold: cells elsewhere that are free.
    """

    cost: Tensor
    compatibility: Tensor
    beta: float
    gamma: float
    threshold: float

    @property
    def side(self) -> int:
        """Cells a side."""
        side: int = round(self.cost.shape[1] ** 0.5)
        return side

    def at(self, z: Tensor) -> Tensor:
        """The objective. z: (P, n, K, n). Returns (P,)."""
        single = _Board.of(self).value(self.cost, z)
        return single.sum(dim=1) + self.crowding(z.sum(dim=2))

    def crowding(self, count: Tensor) -> Tensor:
        """Its last part. count: (..., P, n, n), cells of each image and input. Returns (..., P)."""
        elsewhere = count.sum(dim=-2, keepdim=True) - count
        return self.gamma * (self.crowded(elsewhere) * count).sum(dim=(-2, -1))

    def crowded(self, elsewhere: Tensor) -> Tensor:
        """Cells elsewhere that are not free. elsewhere: (..., P, S, n), also the result's shape."""
        used = elsewhere @ self.compatibility.transpose(1, 2)
        return used.where(used > self.threshold, 0)


def assign(energy: JointEnergy, start: Tensor, *, rounds: int = 4, descents: int = 1) -> Tensor:
    """Shares of a low objective.

    Source: Kim et al., Co-Mixup, ICLR 2021, algorithm 1, and the authors' match.py, which cuts a
    graph for every image on the host. Here all parts go side by side, image by image: the host runs
    about 25 operations for each of n images in each round.

    Args:
        energy: of the parts.
        start: (P, n, K) int64, an input for every cell of every image.
        rounds: of `gather`.
        descents: rounds of `descend` after them.

    Returns:
        (P, n, K, n) float32.
    """
    z = torch.zeros(*start.shape, start.shape[1], device=start.device)
    z.scatter_(3, start[..., None], 1)
    for turn in range(rounds):
        z = gather(energy, z, halves=turn > 0)
    for _ in range(descents):
        z = descend(energy, z)
    return z


def gather(energy: JointEnergy, z: Tensor, *, halves: bool = True) -> Tensor:
    """One round of the authors' search: each image at its best, given the others.

    What the others show of an input is a price of it, twice as high as the objective's, since the
    image counts in theirs as well. As the threshold makes that jump, the objective may rise for a
    time; inputs gather in few images.

    Args:
        energy: of P parts.
        z: (P, n, K, n), any shares.
        halves: whether a cell may show two inputs.
    """
    z = z.clone()
    board = _Board.of(energy)
    count = z.sum(dim=2)
    for image in range(z.shape[1]):
        elsewhere = count.sum(dim=1, keepdim=True) - count[:, image : image + 1]
        price = energy.cost + 2 * energy.gamma * energy.crowded(elsewhere)
        found = board.settled(price, z[:, image], halves=halves)
        z[:, image] = _best(found, board.value(price, found))
        count[:, image] = z[:, image].sum(dim=1)
    return z


def descend(energy: JointEnergy, z: Tensor) -> Tensor:
    """One round in which each image changes only where this lowers the objective.

    Args:
        energy: of P parts.
        z: (P, n, K, n), any shares.

    Returns:
        Shares of which no part has a higher objective.
    """
    z = z.clone()
    board = _Board.of(energy)
    count = z.sum(dim=2)
    for image in range(z.shape[1]):
        elsewhere = count.sum(dim=1, keepdim=True) - count[:, image : image + 1]
        price = energy.cost + 2 * energy.gamma * energy.crowded(elsewhere)
        found = board.settled(price, z[:, image], halves=True)
        found = torch.cat([z[:, image, None], found], dim=1)
        counts = count.repeat(found.shape[1], 1, 1, 1)  # (S, P, n, n)
        counts[:, :, image] = found.sum(dim=2).transpose(0, 1)
        value = energy.crowding(counts).T + board.value(energy.cost, found)
        z[:, image] = _best(found, value)
        count[:, image] = z[:, image].sum(dim=1)
    return z


def restricted(energy: JointEnergy, z: Tensor, inputs: int) -> Tensor:
    """Shares of which no image shows more than so many inputs: those it shows most of.

    Images that show no more stay as they are; cells of the others are settled anew.
    """
    count = z.sum(dim=2)
    if inputs >= count.shape[2]:
        return z
    kept = torch.zeros_like(count).scatter_(2, count.topk(inputs).indices, 1) > 0
    price = energy.cost[:, None].expand_as(z).masked_fill(~kept[:, :, None], torch.inf)
    alone = replace(energy, cost=price.flatten(0, 1))
    board = _Board.of(alone)
    found = board.settled(alone.cost, z.flatten(0, 1), halves=False)[:, 1].view_as(z)
    fine = ((count > 0) <= kept).all(dim=2)
    return torch.where(fine[:, :, None, None], z, found)


@dataclass(frozen=True)
class _Board:
    """The cells of an image as a checkerboard, of which no two of one colour touch.

    touching: (K, K), 1 where two cells touch.
    edges: (K, 1), beta / 2 times the cells that touch each.
    colours: the cells of each colour, (K / 2,) int64.
    beta: price of an edge.
    """

    touching: Tensor
    edges: Tensor
    colours: tuple[Tensor, Tensor]
    beta: float

    @classmethod
    def of(cls, energy: JointEnergy) -> _Board:
        along = torch.arange(energy.side, device=energy.cost.device)
        at = torch.cartesian_prod(along, along)
        touching = ((at[:, None] - at).abs().sum(dim=2) == 1).to(energy.cost.dtype)
        dark = at.sum(dim=1) % 2 == 1
        edges = touching.sum(dim=1, keepdim=True) * (energy.beta / 2)
        colours = (~dark).nonzero()[:, 0], dark.nonzero()[:, 0]
        return cls(touching, edges, colours, energy.beta)

    def value(self, price: Tensor, z: Tensor) -> Tensor:
        """The cost of single images. price: (P, K, n); z: (P, S, K, n). Returns (P, S)."""
        slope = torch.sub(price[:, None], self.touching @ z, alpha=self.beta / 2)
        return torch.addcmul(slope, self.edges, z).mul_(z).sum(dim=(2, 3))

    def settled(self, price: Tensor, now: Tensor, *, halves: bool) -> Tensor:
        """Each cell at its minimum given those that touch it, one colour after the other.

        Args:
            price: (P, K, n).
            now: (P, K, n), shares to start from.
            halves: whether a cell may show two inputs.

        Returns:
            (P, 2, K, n): from each cell's cheapest input as another start, and from the shares now.
        """
        greedy = torch.zeros_like(now).scatter_(2, price.argmin(dim=2, keepdim=True), 1)
        z = torch.stack([greedy, now], dim=1)
        for cells in self.colours:
            bonus = self.touching[cells] @ z  # (P, 2, K / 2, n)
            cheap = torch.sub(price[:, None, cells], bonus, alpha=self.beta).topk(2, largest=False)
            second = torch.zeros_like(cheap.values[..., 1:])
            if halves:
                # Two halves cost their mean, and a quarter less of a border on every side.
                second = (cheap.values.diff(dim=-1) < self.edges[cells]).to(z.dtype) / 2
            weights = torch.cat([1 - second, second], dim=-1)
            z[:, :, cells] = torch.zeros_like(bonus).scatter_(3, cheap.indices, weights)
        return z


def _best(found: Tensor, value: Tensor) -> Tensor:
    """The cheapest of several. found: (P, S, K, n); value: (P, S), the first of equals wins."""
    return found[torch.arange(len(found), device=found.device), value.argmin(dim=1)]
