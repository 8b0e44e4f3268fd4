"""PuzzleMix: cells of two images, chosen and moved so that what is salient in both is seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.probe import Saliency
from vicinal.mixers.blend import need_shares
from vicinal.mixers.evidence import asked
from vicinal.mixers.interpolate import Mixup, Scope
from vicinal.mixers.masks import mix_by_mask, shown_area, upsampled
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer
from vicinal.mixers.paste import image_sizes
from vicinal.mixers.puzzle import Layout, Puzzle, PuzzleMixParams
from vicinal.mixers.transport import blended_blocks


class PuzzleMix(PairMixer):
    """Show of two images, cell by cell, the one that is more salient, and both where both are.

    A grid of cells is cut between the images: each shows one of them or the mean of both, so that
    little saliency is hidden and few unlike neighbours touch. Then blocks are moved, so that what
    is salient in an image lands where the image is shown. Labels mix by area.

    Source: Kim, Choo and Song, Puzzle Mix, ICML 2020, section 4, and the authors' mixup.py. The cut
    and the transport are solved for the whole batch at once, on its device: `puzzle`,
    `grid_cut`, `transport`.

    Args:
        alpha: both shapes of the Beta distribution of the prior share of the own image; > 0.
        beta: price of a border between the images; >= 0.
        gamma: weight of how pixels fit together along a border; >= 0.
        eta: weight of the prior share; >= 0.
        transport: whether blocks are moved.
        moving_cost: of a block along a whole side, in units of the image's saliency; > 0.
        neighbourhood: pixels a side that are averaged before they are compared along a border.
        deviation: one unit of x in images of values in [0, 1]: what they were divided by.
        grids: cells a side, one of which is drawn for every sample; each divides the largest. Those
            that do not divide the image are left out.
        block_size: pixels a side of the blocks that are moved, where this is less than the cells;
            the cells themselves by default.
        scope: `sample` draws a share and a grid for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or partners come from elsewhere than the batch.
    """

    card = Card(
        name="puzzlemix",
        kind="mixer",
        family="saliency",
        modality=("image",),
        summary="Cuts two images into cells, shows the more salient ones and moves the others.",
        systems=("openmixup-mixers", "openmixup"),
        paper=Paper(
            "Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup",
            authors="Kim, Choo, Song",
            venue="ICML",
            year=2020,
            arxiv="2009.06962",
        ),
        parameters={
            "alpha": Mixup.card.parameters["alpha"],
            "beta": Range(
                0.0,
                4.0,
                default=1.2,
                valid="[0, inf)",
                meaning="price of a border between the images; far above 4 one covers all",
            ),
            "gamma": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, inf)",
                meaning="weight of how pixels fit together along a border",
            ),
            "eta": Range(
                0.0, 1.0, default=0.2, valid="[0, inf)", meaning="weight of the prior share"
            ),
            "transport": Options((True, False), True, meaning="whether blocks are moved"),
            "moving_cost": Range(
                0.1,
                10.0,
                default=0.8,
                scale="log",
                valid="(0, inf)",
                meaning="of a block along a whole side, in units of an image's saliency",
            ),
            "neighbourhood": Range(
                1,
                8,
                default=4,
                valid="[1, inf)",
                integer=True,
                meaning="pixels a side that are averaged before they are compared",
            ),
            "deviation": Range(
                0.1,
                1.0,
                default=0.225,
                valid="(0, inf)",
                meaning="what images of values in [0, 1] were divided by; 1 if by nothing",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares share and grid"),
        },
        needs=("labels",),
        cost="one more forward and backward pass",
        targets=("classes", "soft", "multilabel", "regression"),
        labels="mixed",
        keeps_meaning=False,
        agrees="with the authors' code, to 1e-6, on costs, moves, images and weights",
        differs=(
            "share and grid per sample, where the authors' code has one of each per batch",
            "grids of 2, 4 and 8 cells a side, as OpenMixup has them; the authors' code draws 16 "
            "too",
            "cuts are not exact, nor are the authors' alpha-beta swaps: these end further above "
            "the minimum on average, for 4, 8 and 16 cells a side",
            "places to which the authors' transport moves nothing are black there; here they keep "
            "their block. Such places are never seen",
            "shares of the prior are kept 1e-4 away from 0 and 1, where the authors' code adds "
            "1e-8 to their squares",
        ),
        controls=("puzzlemix:transport=false", "cutmix"),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.PuzzleMix()\n"
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
        alpha: float = 1.0,
        *,
        beta: float = 1.2,
        gamma: float = 0.5,
        eta: float = 0.2,
        transport: bool = True,
        moving_cost: float = 0.8,
        neighbourhood: int = 4,
        deviation: float = 0.225,
        grids: Sequence[int] = (2, 4, 8),
        block_size: int | None = None,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            eta=eta,
            transport=transport,
            moving_cost=moving_cost,
            neighbourhood=neighbourhood,
            deviation=deviation,
            scope=scope,
        )
        super().__init__(pairing)
        if pairing.pooled:
            raise ValueError("PuzzleMix needs the partner's saliency: pair within the batch")
        if not grids or min(grids) < 2 or any(max(grids) % cells for cells in grids):
            raise ValueError(f"grids must be 2 or more and divide the largest, got {grids}")
        if block_size is not None and block_size < 1:
            raise ValueError(f"block_size must be positive, got {block_size}")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.eta = eta
        self.transport = transport
        self.moving_cost = moving_cost
        self.neighbourhood = int(neighbourhood)
        self.deviation = deviation
        self.grids = tuple(grids)
        self.block_size = block_size
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> PuzzleMixParams:
        saliency = asked(batch, self.probes[0], "PuzzleMix")
        x = batch.tensor
        sizes = image_sizes(x)
        block_size = self.block_size if self.transport else None
        layout = Layout.of(self.grids, sizes, block_size=block_size)
        partner = self.pairing.partner(batch, draws)
        _, at = batch.replace(pool=None).partners(partner)
        source = draws.shared() if self.scope == "batch" else draws
        puzzle = Puzzle(
            beta=self.beta,
            gamma=self.gamma * self.deviation,
            eta=self.eta,
            neighbourhood=self.neighbourhood,
            moving_cost=self.moving_cost if self.transport else None,
        )
        share, moved = puzzle.solve(
            x.detach(),
            saliency,
            at,
            prior=source.beta("share", self.alpha, self.alpha),
            grid=source.choice("grid", [1.0] * len(layout.cells)),
            layout=layout,
        )
        block, partner_block = (None, None) if moved is None else moved
        return PuzzleMixParams(
            partner=partner,
            share=share,
            extent=torch.tensor(sizes, device=x.device).expand(len(x), -1),
            block=block,
            partner_block=partner_block,
        )

    def apply(self, batch: Batch, params: PuzzleMixParams) -> Batch:
        need_shares("the share of a cell", params.share)
        if params.block is None or params.partner_block is None:
            own = upsampled(params.share, batch.tensor.shape[2:])
            return mix_by_mask(batch, params.partner, own)
        x = batch.tensor
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point to be interpolated, got {x.dtype}")
        cells = params.share.shape[1]
        if any(side % cells for side in image_sizes(x)):
            raise ValueError(f"{cells} x {cells} cells do not divide x {tuple(x.shape)}")
        pool, at = batch.partners(params.partner)
        target = batch.target
        if target is not None and pool.target is not None:
            target = target.mix(pool.target[at], shown_area(params.share))
        mixed = blended_blocks(
            x,
            pool.tensor,
            own=(torch.arange(len(x), device=x.device)[:, None], params.block.long()),
            other=(at[:, None], params.partner_block.long()),
            share=params.share.flatten(1),
        )
        return batch.replace(x=mixed, target=target)
