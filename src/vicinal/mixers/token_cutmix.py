"""CutMix on the grid of a vision transformer's tokens."""

from __future__ import annotations

from torch import Tensor, tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer
from vicinal.mixers.paste import CutMix, PasteParams, Scope, boxes, spatial_sizes


class TokenCutMix(PairMixer):
    """Paste a random box of whole tokens of another image, and mix the labels by area.

    Every token is of one of the two images, so that labels can be told token by token:
    `TokenLabelPropagation`.

    Source: Xiao et al., Token-Label Alignment for Vision Transformers, ICCV 2023, and the authors'
    tla.py: CutMix's own box, with tokens for pixels.

    Args:
        alpha: both shapes of the Beta distribution of the share kept, before clipping; > 0.
        tokens: along each axis; the authors have 14, of 16 pixels.
        scope: `sample` draws a box for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="token_cutmix",
        kind="mixer",
        family="paste",
        modality=("image", "series", "audio", "volume"),
        summary="Pastes a box of whole tokens of another sample and mixes the labels by area.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "Token-Label Alignment for Vision Transformers",
            authors="Xiao, Zheng, Zhu, Zhou, Lu",
            venue="ICCV",
            year=2023,
            arxiv="2210.06455",
        ),
        parameters={
            "alpha": CutMix.card.parameters["alpha"],
            "tokens": Range(
                2, 14, default=8, valid="[1, inf)", integer=True, meaning="along each axis"
            ),
            "scope": CutMix.card.parameters["scope"],
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code on labels carried through three blocks",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one box per sample, where the authors' code has one per batch",
            "partners are a random permutation of the batch, where the authors' code reverses it",
        ),
        example="x, target = vicinal.TokenCutMix()(x, y); loss = target.loss(model(x))",
        dtypes=CutMix.card.dtypes,
        differentiable=True,
        compiles=True,
        stage="prepared",
        controls=("cutmix",),
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        tokens: int = 8,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        self.card.check(alpha=alpha, tokens=tokens, scope=scope)
        super().__init__(pairing)
        self.alpha = alpha
        self.tokens = int(tokens)
        self.scope = scope
        self._cutmix = CutMix(alpha, scope=scope)

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        sizes = spatial_sizes(batch.tensor)
        grid = (self.tokens,) * len(sizes)
        partner = self.pairing.partner(batch, draws)
        source = draws.shared() if self.scope == "batch" else draws
        kept = source.beta("share kept", self.alpha, self.alpha)
        centre = source.below("centre", grid, shape=(len(grid),))
        start, stop = (
            in_pixels(corner, sizes, self.tokens) for corner in boxes(kept, centre, grid)
        )
        return PasteParams(partner, start, stop)

    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        return self._cutmix.apply(batch, params)


def in_pixels(corner: Tensor, sizes: tuple[int, ...], tokens: int) -> Tensor:
    """The first pixels of tokens, which are counted along each axis. corner: (B, R) int64."""
    # As in `upsampled`: pixel p lies in token p * tokens // size.
    return -(-corner * tensor(sizes, device=corner.device) // tokens)
