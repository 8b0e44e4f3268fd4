"""SMMix: what matters most in one image, pasted over what matters least in another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.boxes import need_boxes_inside
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.probe import Probe
from vicinal.core.token_scores import TokenScores
from vicinal.mixers.evidence import asked, need_partners_in_batch, of_partners
from vicinal.mixers.interpolate import Mixup, Scope
from vicinal.mixers.moved import paste_moved
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer
from vicinal.mixers.paste import PasteParams, image_sizes, pasted_share


@dataclass(frozen=True)
class SMMixParams(PasteParams):
    """One row per output sample, besides the own box.

    source_start: (B, 2) int64, first row and column of the partner's box, of the own one's size.
    """

    source_start: Tensor


class SMMix(PairMixer):
    """Paste the window of the partner that is looked at most over the own one looked at least.

    Windows are squares of tokens, moved as they are; labels mix by area. The method
    `self_motivated_mix` adds the losses that the paper trains with.

    Source: Chen et al., SMMix, ICCV 2023, and the authors' smmix.py, with whose images and weights
    it agrees to 1e-6 for the same attention and window.

    Args:
        min_side: shortest side of a window, in that of the image; in (0, 1].
        max_side: longest side, in (0, 1], at least `min_side`.
        scope: `sample` draws a side for every sample, `batch` one for all of them.
        probe: puts out (B, h, w) scores of tokens before the batch is mixed; the class token's
            attention, or class activation, by default.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the pairing or probe does not go with the batch.
    """

    card = Card(
        name="smmix",
        kind="mixer",
        family="attention",
        modality=("image",),
        summary="Pastes the window looked at most over the one looked at least; area labels.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "SMMix: Self-Motivated Image Mixing for Vision Transformers",
            authors="Chen, Lin, Lin, Zhang, Chao, Ji",
            venue="ICCV",
            year=2023,
            arxiv="2212.12977",
        ),
        parameters={
            "min_side": Range(
                0.1, 0.75, default=0.25, valid="(0, 1]", meaning="shortest window, in the image's"
            ),
            "max_side": Range(
                0.25, 1.0, default=0.75, valid="(0, 1]", meaning="longest window, in the image's"
            ),
            "scope": Mixup.card.parameters["scope"],
        },
        needs=(
            "class attention, or class activation maps: a vision transformer of timm with a class "
            "token, or a network whose linear classifier reads the mean of the last feature map",
        ),
        cost="one more forward pass",
        agrees="with the authors' code on windows, images and weights",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "a window's side per sample, where the authors' code has one per batch",
            "partners are a random permutation of the batch, where the authors' code reverses it",
            "tokens count by the class token's attention, where the authors' code has the mean "
            "attention of all tokens on each",
        ),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.SMMix()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("cutmix",),
    )

    def __init__(
        self,
        min_side: float = 0.25,
        *,
        max_side: float = 0.75,
        scope: Scope = "sample",
        probe: Probe | None = None,
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(min_side=min_side, max_side=max_side, scope=scope)
        if min_side > max_side:
            raise ValueError(f"min_side must be at most max_side, got {min_side} and {max_side}")
        super().__init__(pairing)
        need_partners_in_batch(pairing, "SMMix")
        self.min_side = min_side
        self.max_side = max_side
        self.scope = scope
        self.probe = TokenScores() if probe is None else probe
        if self.probe.when != "before":
            raise ValueError(f"the probe must be asked before mixing, got {self.probe}")
        self.probes = (self.probe,)

    def sample(self, batch: Batch, draws: Draws) -> SMMixParams:
        sizes = image_sizes(batch.tensor)
        partner = self.pairing.partner(batch, draws)
        own = asked(batch, self.probe, "SMMix")
        other = of_partners(batch, self.probe, partner, "SMMix")
        tokens = min(own.shape[1:])
        shortest, longest = (max(1, int(tokens * s)) for s in (self.min_side, self.max_side))
        source = draws.shared() if self.scope == "batch" else draws
        side = shortest + source.below("side", longest - shortest + 1)
        grid = torch.tensor(own.shape[1:], device=partner.device)
        pixels = torch.tensor(sizes, device=partner.device)
        start, source_start = (best_window(maps, side) * pixels // grid for maps in (-own, other))
        stop = start + side[:, None] * pixels // grid
        return SMMixParams(partner, start, stop, source_start)

    def apply(self, batch: Batch, params: SMMixParams) -> Batch:
        x = batch.tensor
        sizes = image_sizes(x)
        pool, at = batch.partners(params.partner)
        need_boxes_inside(params.start, params.stop, sizes)
        source_stop = params.source_start + params.stop - params.start
        need_boxes_inside(params.source_start, source_stop, image_sizes(pool.tensor))
        target = batch.target
        if target is not None and pool.target is not None:
            given = pasted_share(params, sizes)
            target = target.mix(pool.target[at], 1 - given, given)
        mixed = paste_moved(
            x,
            pool.tensor,
            at,
            start=params.start,
            stop=params.stop,
            source_start=params.source_start,
        )
        return batch.replace(x=mixed, target=target)


def best_window(maps: Tensor, side: Tensor) -> Tensor:
    """Where the square window with the largest sum of each map begins; the first of equal ones.

    Args:
        maps: (B, h, w).
        side: (B,) int64, of each row's window, in 1 .. min(h, w).

    Returns:
        (B, 2) int64, its first row and column.
    """
    rows, columns = maps.shape[1:]
    # Sums of all that lies above and left; float64, since windows are differences of these.
    total = F.pad(maps.detach().double().cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)
    down = torch.arange(rows, device=maps.device)[None, :, None]
    across = torch.arange(columns, device=maps.device)[None, None, :]
    length = side[:, None, None]
    below, right = (down + length).clamp(max=rows), (across + length).clamp(max=columns)

    def at(row: Tensor, column: Tensor) -> Tensor:
        place = row * (columns + 1) + column
        return total.gather(1, place.expand(len(maps), rows, columns).flatten(1))

    sums = at(below, right) - at(down, right) - at(below, across) + at(down, across)
    inside = (down + length <= rows) & (across + length <= columns)
    first = sums.masked_fill(~inside.flatten(1), -torch.inf).argmax(dim=1)
    return torch.stack([first // columns, first % columns], dim=1)
