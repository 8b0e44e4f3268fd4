"""TokenMix: several blocks of tokens of another image, labelled by what is seen of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.probe import Probe
from vicinal.core.token_scores import TokenScores
from vicinal.mixers.cells import CellMixer, CellsParams, random_cells
from vicinal.mixers.evidence import (
    asked,
    need_classes,
    need_partners_in_batch,
    of_partners,
    on_grid,
    shares,
)
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.masks import mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.paste import image_sizes

Masking = Literal["block", "random"]
Scope = Literal["sample", "batch"]
#: Share of the tokens that is kept where no distribution is given, and the least that are replaced.
KEPT, LEAST = 0.5, 1 / 14
#: Logarithm of a block's largest ratio of height to width, and tries to place one.
LOG_ASPECT, TRIES = -math.log(0.3), 10


@dataclass(frozen=True)
class TokenMixParams(CellsParams):
    """One row per output sample, besides where its cells are.

    kept, given: (B,) float32, weights of the own and the partner's label, which need not sum to 1.
    """

    kept: Tensor
    given: Tensor


class TokenMix(CellMixer):
    """Replace several blocks of tokens, and weigh each label by what is seen of its class.

    What is seen is the share of the scores of its tokens that a network gives to those that are
    shown: of the own image outside of the blocks, of the partner inside. The two need not sum to 1.

    Source: Liu et al., TokenMix, ECCV 2022, and the authors' tokenmix.py: its blocks, and its
    weights to 1e-6 for the same blocks and scores, before smoothing.

    Args:
        alpha: both shapes of the Beta distribution of the share kept, > 0; where it is None the
            share is one half, as in the authors' code. The least number of tokens is replaced
            besides.
        tokens: along each axis of the grid; the authors' images have 14, of 16 pixels.
        masking: `block` replaces rectangles, which may overlap, `random` single tokens.
        scope: `sample` draws blocks for every sample, `batch` the same ones for all of them.
        probe: puts out (B, h, w) scores of places, at least 0, before the batch is mixed; the class
            token's attention, or class activation, by default. A teacher's is another network's.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the pairing or probe does not go with the batch.
    """

    card = Card(
        name="tokenmix",
        kind="mixer",
        family="attention",
        modality=("image",),
        summary="Replaces blocks of tokens; labels weigh by what a network sees of each class.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "TokenMix: Rethinking Image Mixing for Data Augmentation in Vision Transformers",
            authors="Liu, Liu, Zhou, Li, Liu",
            venue="ECCV",
            year=2022,
            arxiv="2207.08409",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=None,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the share kept; one half is kept "
                "by default",
            ),
            "tokens": Range(
                4, 14, default=14, valid="[1, inf)", integer=True, meaning="along each axis"
            ),
            "masking": Options(("block", "random"), "block", meaning="what is replaced"),
            "scope": Mixup.card.parameters["scope"],
        },
        needs=(
            "labels",
            "class attention, or class activation maps: a vision transformer of timm with a class "
            "token, or a network whose linear classifier reads the mean of the last feature map",
        ),
        cost="one more forward pass",
        targets=("classes",),
        agrees="with the authors' code on images and weights, for the same blocks",
        labels="mixed",
        keeps_meaning=False,
        keeps_weight=False,
        differs=(
            "blocks per sample, where the authors' code has the same ones for a batch",
            "scores are the model's own, where the authors store a teacher's; give another probe "
            "for these",
            "smoothing is left to the target; the authors' code takes half of it from each weight",
            "each label weighs by the part of its image that is shown; OpenMixup's code has these "
            "parts exchanged",
        ),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.TokenMix()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("cutmix", "patch_mixing"),
    )

    def __init__(
        self,
        alpha: float | None = None,
        *,
        tokens: int = 14,
        masking: Masking = "block",
        scope: Scope = "sample",
        probe: Probe | None = None,
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, tokens=tokens, masking=masking, scope=scope)
        super().__init__(pairing)
        need_partners_in_batch(pairing, "TokenMix")
        self.alpha = alpha
        self.tokens = int(tokens)
        self.masking = masking
        self.scope = scope
        self.probe = TokenScores() if probe is None else probe
        if self.probe.when != "before":
            raise ValueError(f"the probe must be asked before mixing, got {self.probe}")
        self.probes = (self.probe,)

    def sample(self, batch: Batch, draws: Draws) -> TokenMixParams:
        need_classes(batch, "TokenMix")
        sizes = image_sizes(batch.tensor)
        grid = (self.tokens, self.tokens)
        partner = self.pairing.partner(batch, draws)
        source = draws.shared() if self.scope == "batch" else draws
        count = self._replaced(source)
        if self.masking == "block":
            replaced = random_blocks(source, count, self.tokens)
        else:
            replaced = random_cells(source, count, grid)
        own, other = (
            shares(on_grid(scores, grid))
            for scores in (
                asked(batch, self.probe, "TokenMix"),
                of_partners(batch, self.probe, partner, "TokenMix"),
            )
        )
        return TokenMixParams(
            partner=partner,
            cells=~replaced,
            extent=torch.tensor(sizes, device=partner.device).expand(len(partner), -1),
            kept=(own * ~replaced).sum(dim=(1, 2)).clamp(0, 1),
            given=(other * replaced).sum(dim=(1, 2)).clamp(0, 1),
        )

    def _replaced(self, draws: Draws) -> Tensor:
        """How many tokens show the partner. Returns (B,) int64."""
        total = self.tokens**2
        drawn = draws.beta("share kept", self.alpha or 1.0, self.alpha or 1.0).double()
        kept = torch.full_like(drawn, KEPT) if self.alpha is None else drawn
        return (((1 - kept) * total).long() + int(total * LEAST)).clamp(max=total)

    def apply(self, batch: Batch, params: Any) -> Batch:
        own = self.own_share(batch, params)
        return mix_by_mask(batch, params.partner, own, kept=params.kept, given=params.given)


def random_blocks(draws: Draws, count: Tensor, side: int) -> Tensor:
    """Cells of a square grid under rectangles that are drawn until there are enough.

    A rectangle has an area between 1 and what is missing. It is taken if it covers a cell that none
    has covered before, and no more of them than are missing; where ten in a row do not, fewer cells
    are covered than asked for.

    Source: Liu et al., TokenMix, ECCV 2022, and the authors' generate_mask. Cost: as many passes
    over the batch as the sample with the most rectangles needs, some ten.

    Args:
        draws: of B rows.
        count: (B,) int64, in 0 .. side * side.
        side: cells along both axes.

    Returns:
        (B, side, side) bool.
    """
    covered = torch.zeros(len(count), side, side, dtype=torch.bool, device=count.device)
    missing = count.clone()
    place = torch.arange(side, device=count.device)
    number = 0
    while True:
        rows = (missing > 0).nonzero()[:, 0]  # fewer in each pass: one covers a cell or drops out
        if not len(rows):
            return covered
        wanted, before = missing[rows], covered[rows]
        unit = draws[rows].uniform(f"block {number}", shape=(4, TRIES)).double()
        area = 1 + unit[:, 0] * (wanted[:, None] - 1)  # (M, TRIES)
        ratio = ((2 * unit[:, 1] - 1) * LOG_ASPECT).exp()
        height, width = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
        inside = (height < side) & (width < side)
        top, left = (
            (unit[:, 2 + axis] * (side - length + 1).clamp(min=1)).long()
            for axis, length in enumerate((height, width))
        )
        new = height * width - _inside(before, top, left, height, width)
        fits = inside & (new > 0) & (new <= wanted[:, None])
        first = fits.long().argmax(dim=1, keepdim=True)
        top, left, height, width, new = (
            one.gather(1, first) for one in (top, left, height, width, new)
        )
        found = fits.any(dim=1)
        down = (place >= top) & (place < top + height)  # (M, side)
        across = (place >= left) & (place < left + width)
        block = down[:, :, None] & across[:, None, :] & found[:, None, None]
        covered[rows] = before | block
        missing[rows] = torch.where(found, wanted - new[:, 0], 0)
        number += 1


def _inside(cells: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """How many cells are true in each of several rectangles, which may hang over the end.

    cells: (B, side, side) bool. The rest and the result: (B, N) int64.
    """
    side = cells.shape[1]
    total = F.pad(cells.long().cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)  # above and left of
    first, last = top, (top + height).clamp(max=side)
    begin, end = left, (left + width).clamp(max=side)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return total.gather(1, row * (side + 1) + column)

    return at(last, end) - at(first, end) - at(last, begin) + at(first, begin)
