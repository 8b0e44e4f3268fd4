"""Co-Mixup: a batch of images put together of its own salient cells, all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import Saliency
from vicinal.mixers.blend import need_shares
from vicinal.mixers.evidence import on_grid, shares
from vicinal.mixers.joint_cut import JointEnergy, assign, restricted
from vicinal.mixers.k_way import mixed_targets
from vicinal.mixers.paste import image_sizes
from vicinal.mixers.transport import blended_blocks

#: Pixels a side of a cell when the place of the peak is looked for.
DETAIL = 8


@dataclass(frozen=True)
class CoMixupParams(Params):
    """One row per output sample, which shows up to N inputs.

    partner: (B, N) int64, the rows of the dataset that it shows, most of the first. Its own need
        not be among them.
    weights: (B, N) float32, the area that each has; rows sum to 1.
    first, second: (B, m * m) int16, which of them each cell shows, half of each; the same twice
        where it shows one. Cells are counted row by row.
    """

    partner: Tensor
    weights: Tensor
    first: Tensor
    second: Tensor


class CoMixup(Mixer):
    """Put images together of the most salient cells of a batch, so that none is left out.

    The batch is divided into parts at random. In each part, as many images are put together as
    there are, cell by cell: what is salient is shown, cells that touch show the same image if they
    can, and no image is used much more often than others. Labels mix by area.

    Source: Kim, Choo, Jeong and Song, Co-Mixup, ICLR 2021, section 4, and the authors' mixup.py and
    match.py. All parts are solved at once, on the device: `joint_cut`.

    Args:
        part: images in a part, at most; >= 2.
        cells: of the grid along each axis; they divide the image.
        beta: price of a border between images; >= 0.
        gamma: price of showing what others show too; >= 0.
        threshold: of what an image has cells, the share that others may show for nothing; >= 0.
        eta: weight of the prior; >= 0.
        alpha: shape of the Dirichlet distribution of the prior, which prefers some images; > 0.
        omega: how far the places of the saliency's peaks tell which images count as used alike, in
            [0, 1].
        images: in a mixture, at most; >= 2.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="co_mixup",
        kind="mixer",
        family="saliency",
        modality=("image",),
        summary="Puts the images of a batch together anew of their most salient cells.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity",
            authors="Kim, Choo, Jeong, Song",
            venue="ICLR",
            year=2021,
            arxiv="2102.03065",
        ),
        parameters={
            "part": Range(
                4, 40, default=20, valid="[2, inf)", integer=True, meaning="images in a part"
            ),
            "cells": Range(
                2, 8, default=4, valid="[2, inf)", integer=True, meaning="of the grid a side"
            ),
            "beta": Range(
                0.0, 1.0, default=0.32, valid="[0, inf)", meaning="price of a border between images"
            ),
            "gamma": Range(
                0.0, 4.0, default=1.0, valid="[0, inf)", meaning="price of what others show too"
            ),
            "threshold": Range(
                0.5,
                1.0,
                default=0.83,
                valid="[0, inf)",
                meaning="what others may show of an image for nothing, in images",
            ),
            "eta": Range(
                0.0, 1.0, default=0.05, valid="[0, inf)", meaning="weight of the random prior"
            ),
            "alpha": Range(
                0.5,
                8.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning="shape of the Dirichlet distribution of the prior",
            ),
            "omega": Range(
                0.0,
                0.1,
                default=0.001,
                valid="[0, 1]",
                meaning="how far the places of the peaks count",
            ),
            "images": Range(
                2, 8, default=6, valid="[2, inf)", integer=True, meaning="in a mixture, at most"
            ),
        },
        needs=("labels",),
        cost="one more forward and backward pass",
        targets=("classes", "soft", "multilabel", "regression"),
        labels="mixed",
        keeps_meaning=False,
        agrees="with the authors' code, to 1e-6, on images and weights of its shares",
        differs=(
            "parts are drawn at random and are of equal size, one image up or down, where the "
            "authors' code cuts the batch into twenties and a rest",
            "the last round changes an image only where the objective becomes lower; the authors' "
            "goes on as before, and tells images apart that show the same set of others",
            "half of two images costs what the objective says, where the authors' code has 0.0005 "
            "less, and is open to any two, not only to those shown already",
            "an image shows six others at most",
        ),
        controls=("puzzlemix", "k_way_mixup"),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.CoMixup()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        shapes={"image": (3, 16, 16)},
        differentiable=True,
        compiles=True,
        stage="prepared",
    )
    probes = (Saliency(),)

    def __init__(
        self,
        part: int = 20,
        *,
        cells: int = 4,
        beta: float = 0.32,
        gamma: float = 1.0,
        threshold: float = 0.83,
        eta: float = 0.05,
        alpha: float = 2.0,
        omega: float = 0.001,
        images: int = 6,
    ) -> None:
        self.card.check(
            part=part,
            cells=cells,
            beta=beta,
            gamma=gamma,
            threshold=threshold,
            eta=eta,
            alpha=alpha,
            omega=omega,
            images=images,
        )
        self.part = int(part)
        self.cells = int(cells)
        self.beta = beta
        self.gamma = gamma
        self.threshold = threshold
        self.eta = eta
        self.alpha = alpha
        self.omega = omega
        self.images = int(images)

    def sample(self, batch: Batch, draws: Draws) -> CoMixupParams:
        saliency = batch.evidence.get(self.probes[0])
        if saliency is None:
            raise ValueError(
                "CoMixup needs saliency: batch = ask(mix.probes, networks, batch) first, from "
                "vicinal.core.probe"
            )
        if any(side % self.cells for side in image_sizes(batch.tensor)):
            raise ValueError(
                f"{self.cells} x {self.cells} cells do not divide x {tuple(batch.tensor.shape)}"
            )
        member, slot = _parts(draws, self.part)
        total = self.cells**2
        prior = _log_gamma(draws, self.alpha)[:, None] * (self.eta / total)
        cost = -shares(on_grid(saliency, (self.cells, self.cells))).flatten(1) - prior  # (B, K)
        energy = JointEnergy(
            cost[member].transpose(1, 2).contiguous(),
            self._compatibility(saliency, member),
            beta=self.beta / total,
            gamma=self.gamma / total,
            threshold=self.threshold * total,
        )
        start = (draws.uniform("start", shape=(total,)) * member.shape[1]).long()
        found = restricted(energy, assign(energy, start[member]), self.images)
        z = found.flatten(0, 1)[slot]  # (B, K, n)
        weights, shown = z.mean(dim=1).topk(min(self.images, z.shape[2]))
        missing = self.images - weights.shape[1]
        weights, shown = F.pad(weights, (0, missing)), F.pad(shown, (0, missing))
        seen = weights > 0
        shown = shown.where(seen, shown[:, :1])
        per_cell = z.gather(2, shown[:, None].expand(-1, total, -1)) * seen[:, None] > 0
        last = per_cell.flip(2).to(torch.uint8).argmax(dim=2)
        return CoMixupParams(
            partner=batch.index[member[slot // member.shape[1]].gather(1, shown)],
            weights=weights,
            first=per_cell.to(torch.uint8).argmax(dim=2).to(torch.int16),
            second=(self.images - 1 - last).to(torch.int16),
        )

    def apply(self, batch: Batch, params: CoMixupParams) -> Batch:
        x = batch.tensor
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point to be interpolated, got {x.dtype}")
        need_shares("weights", params.weights)
        pool, at = batch.partners(params.partner.reshape(-1))
        at = at.view(params.partner.shape)
        target = batch.target
        if target is not None and pool.target is not None:
            target = mixed_targets(pool.target[at[:, 0]], pool.target, at[:, 1:], params.weights)
        places = torch.arange(params.first.shape[1], device=x.device).expand(len(at), -1)
        first, second = (at.gather(1, cell.long()) for cell in (params.first, params.second))
        mixed = blended_blocks(
            pool.tensor,
            pool.tensor,
            own=(first, places),
            other=(second, places),
            share=torch.full_like(places, 0.5, dtype=torch.float32),
        )
        return batch.replace(x=mixed, target=target)

    def _compatibility(self, saliency: Tensor, member: Tensor) -> Tensor:
        """How much an image counts for each of its part. member: (P, n). Returns (P, n, n)."""
        detail = F.adaptive_avg_pool2d(saliency[:, None], self.cells * DETAIL)
        windows = F.avg_pool2d(detail, DETAIL, stride=1)[:, 0]
        peak = windows.flatten(1).argmax(dim=1)
        at = torch.stack([peak // windows.shape[2], peak % windows.shape[2]], dim=1)[member]
        distance = (at[:, :, None] - at[:, None]).abs().sum(dim=3).float()
        mean = distance.sum(dim=(1, 2), keepdim=True) / member.shape[1]
        alike = torch.eye(member.shape[1], device=member.device)
        return alike.lerp(distance / mean.clamp(min=1e-6), self.omega)


def _parts(draws: Draws, most: int) -> tuple[Tensor, Tensor]:
    """A batch divided at random into parts of nearly equal size.

    Args:
        draws: of its B rows.
        most: rows in a part; >= 2.

    Returns:
        (P, n) int64, the positions in each part, where one is there twice if a part lacks a row;
        and (B,) int64, the place of each row in the parts one after the other.
    """
    order = draws.keys("part").argsort(stable=True)
    number = torch.arange(len(order), device=order.device)
    parts = -(-len(order) // most)
    size = max(2, -(-len(order) // parts))
    member = order[:parts, None].repeat(1, size)
    part, place = number % parts, number // parts
    member[part, place] = order
    return member, torch.empty_like(order).scatter_(0, order, part * size + place)


def _log_gamma(draws: Draws, shape: float) -> Tensor:
    """The logarithm of Gamma-distributed numbers, kept finite. Returns (B,) float32.

    Divided by their sum such numbers are Dirichlet-distributed; what they are divided by is the
    same for all of a part, and changes no choice.
    """
    whole = int(shape)
    gamma = torch.zeros(len(draws), device=draws.keys("prior").device)
    if whole:
        gamma -= torch.log1p(-draws.uniform("prior", shape=(whole,))).sum(dim=1)
    if shape > whole:
        # An exponential number by a Beta-distributed one.
        less = draws.beta("prior/share", shape - whole, 1 - shape + whole)
        gamma -= less * torch.log1p(-draws.uniform("prior/rest"))
    return gamma.clamp(min=1e-8).log()
