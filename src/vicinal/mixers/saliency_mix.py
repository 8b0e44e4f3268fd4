"""Pasting what draws the eye in another image."""

from __future__ import annotations

import torch

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.mixers.image_saliency import salient_peak
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.paste import CutMix, PasteParams, Scope, boxes, spatial_sizes


class SaliencyMix(CutMix):
    """Paste a box around the most salient pixel of another image, and mix the labels by area.

    The box lies where it lay in the other image. It is CutMix but for its centre, which is not
    drawn: it is `salient_peak` of the partner, which needs no model.

    Source: Uddin et al., SaliencyMix, ICLR 2021, section 3, and the authors' saliencymix.py, with
    whose boxes and label weights it agrees where the peak is the same. The map agrees bit for bit
    with OpenCV's on images of 8 bits.

    Args:
        alpha: both shapes of the Beta distribution of the share kept, before clipping; > 0. At 1
            every share is equally likely, towards 0 a sample is kept or replaced nearly whole.
        prob: how often a sample is mixed at all, in [0, 1]; with `scope="batch"`, how often a
            batch.
        scope: `sample` looks at every partner and draws a box for each; `batch` draws one box for
            all, around the peak of one partner, the only one that it looks at.
        pairing: who is mixed with whom, within the batch.

    Raises:
        TypeError: the pairing is none.
        ValueError: a value is out of range, the scope is unknown, or the pairing takes partners
            from outside of the batch.
    """

    card = Card(
        name="saliencymix",
        kind="mixer",
        family="saliency",
        modality=("image",),
        summary="Pastes a box around the most salient pixel of another image.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better Regularization",
            authors="Uddin, Monira, Shin, Chung, Bae",
            venue="ICLR",
            year=2021,
            arxiv="2006.01791",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the share kept",
            ),
            "prob": Range(
                0.0,
                1.0,
                default=1.0,
                valid="[0, 1]",
                meaning="how often a sample is mixed; the authors take 0.5 on CIFAR",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one box"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with the authors' code on boxes, and bit for bit with OpenCV's saliency",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "the saliency of every partner, where the authors' code takes the box of one partner "
            "for the whole batch",
            "floating images are turned into grey levels first, where OpenCV, as the authors' code "
            "calls it, reads their bytes as levels, so that its map is noise",
            "red, green and blue weigh as such, where the authors' code hands OpenCV the channels "
            "in the other order",
            "of the brightest and the darkest pixel for their surrounds, which are equally high in "
            "OpenCV's map, the one of higher contrast, where the authors' code takes the first",
        ),
        controls=("cutmix",),
        example="x, target = vicinal.SaliencyMix()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        prob: float = 1.0,
        scope: Scope = "sample",
        pairing: Pairing = PERMUTATION,
    ) -> None:
        super().__init__(alpha, prob=prob, scope=scope, pairing=pairing)
        if pairing.pooled:
            raise ValueError(
                f"the peaks of partners are told from the batch: {type(pairing).__name__} may take "
                "partners from elsewhere, choose a pairing within the batch"
            )

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        x = batch.tensor.detach()
        sizes = spatial_sizes(x)
        partner = self.pairing.partner(batch, draws)
        _, at = batch.replace(pool=None).partners(partner)
        if self.scope == "batch" and len(batch):
            # Which one it is depends on which rows there are, not on their order.
            seen = draws.keys("the one looked at").argmin()
            peak = salient_peak(x[at[seen]][None]).expand(len(batch), -1)
        else:
            peak = salient_peak(x)[at]
        source = draws.shared() if self.scope == "batch" else draws
        start, stop = boxes(source.beta("share kept", self.alpha, self.alpha), peak, sizes)
        if self.prob < 1:
            active = source.bernoulli("active", self.prob)
            stop = torch.where(active[:, None], stop, start)
        return PasteParams(partner, start, stop)
