"""TL-Align: CutMix of whole tokens, whose labels are carried through the transformer."""

from __future__ import annotations

from vicinal.core.card import Card, Range
from vicinal.methods.supervised import Supervised
from vicinal.methods.transmix import Scope, TransMix
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.token_cutmix import TokenCutMix
from vicinal.objectives.smoothing import SmoothedLoss
from vicinal.objectives.token_labels import TokenLabelPropagation


class TLAlign(Supervised):
    """Paste boxes of whole tokens, and weigh the labels by what of them reaches the class token.

    Attention mixes tokens in every block, so that in the end a token is no longer what its place
    showed. Labels are mixed along with them. Other batches are mixup, whose labels stay as they
    are.

    Source: Xiao et al., Token-Label Alignment for Vision Transformers, ICCV 2023, and the authors'
    tla.py and vision_transformer.py.

    Args:
        tokens: along each axis of the image; those of the model, or fewer that hold whole ones.
        cutmix_share: how often a box is pasted, where mixup is done otherwise, in [0, 1].
        cutmix_alpha: shapes of the Beta distribution of the area kept, > 0.
        mixup_alpha: shapes of the Beta distribution of the weight kept, > 0.
        smoothing: share of every target that is spread evenly over all classes, in [0, 1).
        scope: `batch` draws one mixer, box and weight for a batch, `sample` one for every sample.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="tl_align",
        kind="method",
        family="attention",
        modality=("image",),
        summary="CutMix of tokens: labels weigh by what of each image reaches the class token.",
        systems=("openmixup-mixers",),
        paper=TokenCutMix.card.paper,
        parameters={
            "tokens": TokenCutMix.card.parameters["tokens"],
            "cutmix_share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often a box is pasted"
            ),
            **{
                name: TransMix.card.parameters[name]
                for name in ("cutmix_alpha", "mixup_alpha", "smoothing", "scope")
            },
        },
        needs=("a vision transformer of timm, ViT or DeiT, whose head reads a class token",),
        targets=("classes",),
        agrees="with the authors' code on labels carried through three blocks",
        labels="mixed",
        keeps_meaning=False,
        differs=TokenCutMix.card.differs[1:],
        controls=("token_cutmix", "transmix"),
        example=TransMix.card.example.replace("TransMix", "TLAlign"),
        stage="prepared",
    )

    def __init__(
        self,
        tokens: int = 8,
        *,
        cutmix_share: float = 0.5,
        cutmix_alpha: float = 1.0,
        mixup_alpha: float = 0.8,
        smoothing: float = 0.1,
        scope: Scope = "batch",
    ) -> None:
        self.card.check(
            tokens=tokens,
            cutmix_share=cutmix_share,
            cutmix_alpha=cutmix_alpha,
            mixup_alpha=mixup_alpha,
            smoothing=smoothing,
            scope=scope,
        )
        mixers = [
            TokenCutMix(cutmix_alpha, tokens=tokens, scope=scope),
            Mixup(mixup_alpha, scope=scope),
        ]
        super().__init__(
            prepared=RandomChoice(mixers, [cutmix_share, 1 - cutmix_share], scope=scope),
            objective=TokenLabelPropagation(loss=SmoothedLoss(smoothing)),
        )
