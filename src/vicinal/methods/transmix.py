"""TransMix: mixed labels by the attention of a vision transformer."""

from __future__ import annotations

from typing import Literal

from vicinal.core.card import Card, Options, Paper, Range
from vicinal.methods.supervised import Supervised
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.objectives.attention_labels import AttentionLabels
from vicinal.objectives.smoothing import SmoothedLoss

Scope = Literal["batch", "sample"]


class TransMix(Supervised):
    """Paste boxes or interpolate, and weigh a pasted image's label by the attention it receives.

    A box without anything to look at gives little label. The attention is that of the class token
    in the last block, heard in the forward pass that trains; where a batch is interpolated its
    labels are too.

    Source: Chen et al., TransMix: Attend to Mix for Vision Transformers, CVPR 2022, section 3, and
    the authors' transmix.py, which averages the attention's share with the area's; the paper's
    formula has the attention's alone, `area_share=0`.

    Args:
        area_share: how much the pasted area counts beside the attention on it, in [0, 1]; at 1 it
            is CutMix and mixup with their own labels.
        cutmix_share: how often a box is pasted, where mixup is done otherwise, in [0, 1].
        cutmix_alpha: shapes of the Beta distribution of the area kept, > 0.
        mixup_alpha: shapes of the Beta distribution of the weight kept, > 0.
        smoothing: share of every target that is spread evenly over all classes, in [0, 1).
        scope: `batch` draws one mixer, box and weight for a batch, `sample` one for every sample.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="transmix",
        kind="method",
        family="paste",
        modality=("image",),
        summary="CutMix for vision transformers: what is pasted counts by the attention on it.",
        systems=("transmix", "openmixup-mixers"),
        paper=Paper(
            "TransMix: Attend to Mix for Vision Transformers",
            authors="Chen, Sun, He, Torr, Yuille, Bai",
            venue="CVPR",
            year=2022,
            arxiv="2111.09833",
        ),
        parameters={
            "area_share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="weight of area beside attention"
            ),
            "cutmix_share": Range(
                0.0, 1.0, default=0.8, valid="[0, 1]", meaning="how often a box is pasted"
            ),
            "cutmix_alpha": Range(
                0.1, 4.0, default=1.0, scale="log", valid="(0, inf)", meaning="shape of area kept"
            ),
            "mixup_alpha": Range(
                0.1, 4.0, default=0.8, scale="log", valid="(0, inf)", meaning="shape of weight kept"
            ),
            "smoothing": Range(
                0.0, 0.3, default=0.1, valid="[0, 1)", meaning="share of the target spread evenly"
            ),
            "scope": Options(
                ("batch", "sample"), "batch", meaning="what shares one mixer, box and weight"
            ),
        },
        needs=("a vision transformer of timm whose head reads a class token",),
        targets=("classes",),
        agrees="with the authors' code, to 1e-5, on label weights",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "partners are a random permutation of the batch, where the authors' code reverses it",
            "a batch may be odd",
        ),
        controls=("transmix:area_share=1",),
        example=(
            "import timm\n"
            "import vicinal\n"
            "from vicinal.core.probe import listening\n"
            "\n"
            "method = vicinal.TransMix({settings})\n"
            "model = timm.create_model(\n"
            '    "deit_tiny_patch16_224", img_size=x.shape[-2:], patch_size=4, num_classes=10\n'
            ")\n"
            "\n"
            "# in the training loop, on the batch as the model sees it\n"
            "batch = vicinal.Batch.of(x, y)\n"
            "draws = vicinal.Draws.from_generator(None, batch.index)\n"
            "batch, params = method.prepared.augment(batch, draws)\n"
            'with listening(method.probes, {"model": model}) as heard:\n'
            "    output = model(batch.x)\n"
            "loss = method.objective(output, batch, params, heard)"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        area_share: float = 0.5,
        *,
        cutmix_share: float = 0.8,
        cutmix_alpha: float = 1.0,
        mixup_alpha: float = 0.8,
        smoothing: float = 0.1,
        scope: Scope = "batch",
    ) -> None:
        self.card.check(
            area_share=area_share,
            cutmix_share=cutmix_share,
            cutmix_alpha=cutmix_alpha,
            mixup_alpha=mixup_alpha,
            smoothing=smoothing,
            scope=scope,
        )
        mixers = [CutMix(cutmix_alpha, scope=scope), Mixup(mixup_alpha, scope=scope)]
        super().__init__(
            prepared=RandomChoice(mixers, [cutmix_share, 1 - cutmix_share], scope=scope),
            objective=AttentionLabels(area_share, loss=SmoothedLoss(smoothing)),
        )
