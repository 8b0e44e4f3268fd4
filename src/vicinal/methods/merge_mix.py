"""MergeMix: mixing by the attention of a transformer that merges its tokens."""

from __future__ import annotations

from vicinal.core.card import Card, Paper, Range
from vicinal.methods.supervised import Supervised
from vicinal.methods.transmix import Scope, TransMix
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.merge_mix import KeepMerged
from vicinal.objectives.smoothing import SmoothedLoss


class MergeMix(Supervised):
    """Keep the tokens looked at most, with those that are alike merged; the partner is elsewhere.

    A pass over the clean images merges tokens on its way, and gives all that were merged one score.
    Labels mix by area. Other batches are mixup.

    Source: Jin et al., MergeMix, arXiv 2025, and OpenMixup's mergemix.py.

    Args:
        alpha: both shapes of the Beta distribution of the share kept; > 0.
        tokens: along each axis of the image; those of the model.
        merged: share of the tokens that are merged away before the last block, in [0, 1); at 0
            plain attention decides.
        share: how often tokens are kept by attention, where mixup is done otherwise, in [0, 1].
        smoothing: share of every target that is spread evenly over all classes, in [0, 1).
        scope: `batch` draws one mixer and share for a batch, `sample` one for every sample.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="mergemix",
        kind="method",
        family="attention",
        modality=("image",),
        summary="Keeps what a transformer looks at most when it merges tokens that are alike.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "MergeMix: A Unified Augmentation Paradigm for Visual and Multi-Modal Understanding",
            venue="arXiv",
            year=2025,
        ),
        parameters={
            "alpha": TransMix.card.parameters["cutmix_alpha"],
            "tokens": Range(
                2, 14, default=8, valid="[1, inf)", integer=True, meaning="along each axis"
            ),
            "merged": Range(
                0.0, 0.75, default=0.5, valid="[0, 1)", meaning="share of tokens merged away"
            ),
            "share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often attention decides"
            ),
            "smoothing": TransMix.card.parameters["smoothing"],
            "scope": TransMix.card.parameters["scope"],
        },
        needs=("a vision transformer of timm, ViT or DeiT, whose head reads a class token",),
        cost="one more forward pass",
        targets=("classes",),
        agrees="with OpenMixup's code on which tokens merge in a step",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "labels weigh by area; OpenMixup's code may draw them anew from a normal distribution",
            "scores are the class token's attention, where OpenMixup's code takes the attention of "
            "the tokens to one of them",
            "tokens are merged in the pass that gives the scores alone, not in training",
        ),
        controls=("maskmix", "mergemix:merged=0"),
        example=(
            "import timm\n"
            "import vicinal\n"
            "from vicinal.core.probe import ask\n"
            "from vicinal.mixers.merge_mix import KeepMerged\n"
            "\n"
            "mix = KeepMerged({alpha}, tokens={tokens}, merged={merged})\n"
            "model = timm.create_model(\n"
            '    "deit_tiny_patch16_224", img_size=x.shape[-2:], patch_size=4, num_classes=10\n'
            ")\n"
            "\n"
            "# in the training loop, on the batch as the model sees it\n"
            'batch = mix(ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y)))\n'
            "loss = batch.target.smooth({smoothing}).loss(model(batch.x))"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        tokens: int = 8,
        merged: float = 0.5,
        share: float = 0.5,
        smoothing: float = 0.1,
        scope: Scope = "batch",
    ) -> None:
        self.card.check(
            alpha=alpha,
            tokens=tokens,
            merged=merged,
            share=share,
            smoothing=smoothing,
            scope=scope,
        )
        mixers = [
            KeepMerged(alpha, tokens=tokens, merged=merged, scope=scope),
            Mixup(0.8, scope=scope),
        ]
        super().__init__(
            prepared=RandomChoice(mixers, [share, 1 - share], scope=scope),
            objective=SmoothedLoss(smoothing),
        )
