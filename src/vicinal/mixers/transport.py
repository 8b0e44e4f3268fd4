"""Blocks of images: which to show where so that salient ones are seen, and showing them there."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.mixers.masks import blended


def transported(shown: Tensor, saliency: Tensor, *, cost: float) -> Tensor:
    """Which block to show at every place.

    Blocks bid for places that are shown. A bid is `cost` times the squared distance, with the
    grid's side as its unit, less the block's saliency; the lowest one holds the place. In each of n
    rounds every block without a place bids for the nearest that it has not lost, as long as its bid
    is negative. The block that is at home in a place bids there first, so that no place gets a
    block of less saliency than its own.

    Source: Kim et al., Puzzle Mix, ICML 2020, algorithm 1, and the authors' `mask_transport`, which
    does the same by plans of n^2 x n^2 numbers. What such a plan says of places that are not shown
    is never seen; here they keep their block. Of equal bids the one that stands wins, and of equal
    new ones the first block's.

    The host waits for the device a few times a round.

    Args:
        shown: (N, n, n) bool, the places of the image that will be seen; n >= 2.
        saliency: (N, n, n) float32, of each block, with sum 1.
        cost: of moving a block along a whole side; > 0.

    Returns:
        (N, n * n) int64, the block shown at each place, both counted row by row. Those at places
        that are shown differ from each other.
    """
    images, side, _ = shown.shape
    places, device = side * side, shown.device
    worth = saliency.reshape(-1)
    order, fare = _by_distance(side, cost, device)
    # Further away no bid is negative. Blocks and places of all images are counted through.
    reach = int((fare < worth.amax()).sum(dim=1).amax())
    order, fare = order[:, :reach], fare[:, :reach]
    wanted = shown.view(images, places)[:, order] & (fare < saliency.reshape(images, places, 1))
    wanted = wanted.view(-1, reach)  # neighbours that a block may still bid for
    at_home = shown.reshape(-1)
    standing = torch.where(at_home, -worth, torch.inf)
    holder = torch.arange(len(worth), device=device)
    bidding = (~at_home & wanted.any(dim=1)).nonzero()[:, 0]
    for _ in range(side):
        if not len(bidding):
            break
        nearest = wanted[bidding].to(torch.uint8).argmax(dim=1)
        block = bidding % places
        place = bidding - block + order[block, nearest]
        bid = fare[block, nearest] - worth[bidding]
        won = (bid < standing[place]) & _first_of_lowest(bid, place, len(worth))
        taken, lost = place[won], ~won
        expelled = holder[taken]
        standing[taken], holder[taken] = bid[won], bidding[won]
        wanted[bidding[lost], nearest[lost]] = False
        wanted[expelled] &= order[expelled % places] != (taken % places)[:, None]
        bidding = torch.cat([bidding[lost], expelled])
        bidding = bidding[wanted[bidding].any(dim=1)]
    return holder.view(images, places) % places


def blended_blocks(
    x: Tensor,
    pool: Tensor,
    *,
    own: tuple[Tensor, Tensor],
    other: tuple[Tensor, Tensor],
    share: Tensor,
) -> Tensor:
    """Images put together of blocks, each of them a blend of two.

    Args:
        x: (M, C, H, W), where the first of two is from.
        pool: (P, C, H, W), where the second is from.
        own: the position in x and the number of the first block at each place, both (B, n * n)
            int64; blocks are counted row by row, and n divides H and W.
        other: the same in the pool.
        share: (B, n * n) float32, the weight of the first, in [0, 1].

    Returns:
        (B, C, H, W), in x's memory format.
    """
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        # The channels of a pixel lie side by side: one wider row.
        _, channels, height, width = x.shape
        x, pool = (images.permute(0, 2, 3, 1).flatten(2)[:, None] for images in (x, pool))
        mixed = blended_blocks(x, pool, own=own, other=other, share=share)
        return mixed.view(-1, height, width, channels).permute(0, 3, 1, 2)
    _, channels, height, width = x.shape
    side = round(share.shape[1] ** 0.5)
    # Blocks are moved row by row, as far as their pixels lie side by side in memory.
    rows, pool_rows = (images.reshape(-1, width // side) for images in (x, pool))
    at, pool_at = (_rows_of_blocks(*where, side, channels, height) for where in (own, other))
    shape = (-1, channels, side, height // side, side)
    shares = share.view(-1, 1, side, 1, side).expand(shape).reshape(-1)
    mixed = blended(rows.index_select(0, at), pool_rows, pool_at, shares)
    return mixed.view(len(share), channels, height, width)


def _by_distance(side: int, cost: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """The neighbours of every place, nearest first, and what it costs to go there.

    Returns:
        (n * n, n * n) int64, itself first, and (n * n, n * n) float32.
    """
    along = torch.arange(side, device=device)
    at = torch.cartesian_prod(along, along).float()
    squared = (at[:, None] - at).square().sum(dim=2)
    fare, order = (cost * (squared / (side - 1) ** 2)).sort(dim=1, stable=True)
    return order, fare


def _first_of_lowest(bid: Tensor, place: Tensor, places: int) -> Tensor:
    """Whether each bid is the lowest for its place, and the first of those. All (A,)."""
    lowest = bid.new_full((places,), torch.inf).scatter_reduce_(0, place, bid, "amin")
    number = torch.arange(len(bid), device=bid.device)
    contender = torch.where(bid == lowest[place], number, len(bid))
    first = number.new_full((places,), len(bid)).scatter_reduce_(0, place, contender, "amin")
    return first[place] == number


def _rows_of_blocks(
    position: Tensor, block: Tensor, side: int, channels: int, height: int
) -> Tensor:
    """Where the rows of the blocks lie among the rows of all blocks of all images.

    Returns:
        (B * C * H * n,) int64, in the order of the image that is put together.
    """
    tall = height // side
    top = (position * channels * height + block // side * tall) * side + block % side
    down = torch.arange(tall, device=block.device) * side
    channel = torch.arange(channels, device=block.device) * (height * side)
    within = channel[:, None, None, None] + down[:, None]  # (C, 1, tall, 1)
    return (top.view(-1, 1, side, 1, side) + within).reshape(-1)
