"""AutoMix: mixing masks that a network learns by making mixtures easy to classify."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.method import Learner
from vicinal.methods.mask_training import (
    FIRST_MOMENTUM,
    MaskTraining,
    masks_of,
    mixed_head,
    target_of,
    twin_of,
)
from vicinal.mixers.attention_mask import AttentionMaskParams, Upsampling, masks_of_scores
from vicinal.mixers.k_way import KWayMixup, Scope
from vicinal.models.mask_generator import PairMaskGenerator

#: How far the mean of a mask may be from the weight at no cost.
TOLERANCE = 0.1


class AutoMix(MaskTraining):
    """Train on mixtures of two images whose masks a generator makes to be classified well.

    The model learns from mixtures by the generator's masks, and from clean images. The generator
    learns to lower the loss of the model's twin on the mixtures, with masks whose means are near
    the weights.

    Source: Liu et al., AutoMix: Unveiling the Power of Mixup for Stronger Classifiers, ECCV 2022,
    section 4, and the authors' automix.py and pmix_block.py in OpenMixup.

    Args:
        alpha: both shapes of the Beta distribution of the weight; > 0.
        mask_weight: of the distance between the mean of the own mask and the own weight, in the
            generator's loss; >= 0. The first 0.1 of the distance are free.
        margin: a mixture whose own weight is within it of 0 or 1 is plain mixup for the model; in
            [0, 1/2].
        scope: `sample` draws a weight for every sample, `batch` one for all of them.
        embed_weights: whether the generator is told the weights; without, its masks cannot follow
            them.
        upsampling: how masks become as large as the image.
        momentum: of the twin at the start, in [0, 1], from where it rises to 0.999999; by default
            0.999, and less in a training of less than 20,000 steps.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="automix",
        kind="method",
        family="learned",
        modality=("image",),
        summary="Mixes two images by masks of a network that learns to keep what matters.",
        systems=("openmixup", "openmixup-mixers", "adautomix"),
        paper=Paper(
            "AutoMix: Unveiling the Power of Mixup for Stronger Classifiers",
            authors="Liu, Li, Wu, Liu, Chen, Wu, Li",
            venue="ECCV",
            year=2022,
            arxiv="2103.13027",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight",
            ),
            "mask_weight": Range(
                0.0,
                1.0,
                default=0.1,
                valid="[0, inf)",
                meaning="of the distance between a mask's mean and its weight in the loss",
            ),
            "margin": Range(
                0.0,
                0.2,
                default=0.08,
                valid="[0, 0.5]",
                meaning="distance of the own weight from 0 and 1 below which it is plain mixup",
            ),
            "scope": KWayMixup.card.parameters["scope"],
            "embed_weights": Options(
                (True, False), True, meaning="whether the generator is told the weights"
            ),
            "upsampling": Options(
                ("nearest", "bilinear"), "nearest", meaning="how masks become as large as images"
            ),
            "momentum": FIRST_MOMENTUM,
        },
        needs=("a model whose hidden layers are maps, or patches on a grid",),
        cost="two more forward and backward passes",
        targets=("classes",),
        agrees="with OpenMixup's code, to 1e-5, over whole steps",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-100, ResNet-18, 800 epochs",
            metric="top-1 accuracy, %",
            baseline=78.04,
            value=82.04,
            note="median of the last 10 epochs",
        ),
        differs=(
            "the twin's momentum starts below 0.999 in a training of less than 20,000 steps",
            "one weight per sample, where the authors' code has one per batch",
            "predicts with the mean of both heads of the model; theirs reports each, of model and "
            "twin",
            "the generator is told the weights, as in their ImageNet recipe; not in that of CIFAR",
            "the weight of the mask's loss stays, as in their CIFAR recipe; on ImageNet it decays",
            "the generator has the optimiser and schedule of the model",
        ),
        controls=("mixup",),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.attention_mask import AttentionMask\n"
            "from vicinal.models import mixable_layers\n"
            "from vicinal.models.averaging import EMATwin\n"
            "from vicinal.models.feature_map import FeatureMap\n"
            "from vicinal.models.mask_generator import PairMaskGenerator\n"
            "\n"
            "# once: a twin that follows the model, and a generator that reads its features\n"
            "twin = EMATwin(model, statistics='own')\n"
            "features = FeatureMap(layer=mixable_layers(twin)[-1])\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "channels = features.answer(twin, batch).shape[1]\n"
            "generator = PairMaskGenerator(channels, embed_weights={embed_weights})\n"
            "masks = AttentionMask(generator, features, images=2, alpha={alpha})\n"
            "\n"
            "# in the training loop\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "batch = batch.replace(evidence={features: features.answer(twin, batch)})\n"
            "mixed = masks(batch)\n"
            "easy = mixed.target.loss(twin(mixed.x))  # for the generator's own optimiser\n"
            "loss = batch.target.loss(model(batch.x))\n"
            "loss = loss + mixed.target.loss(model(mixed.x.detach()))\n"
            "# and once the optimisers have stepped\n"
            "twin.update(model, 0.999)"
        ),
    )

    def __init__(
        self,
        alpha: float = 2.0,
        *,
        mask_weight: float = 0.1,
        margin: float = 0.08,
        scope: Scope = "sample",
        embed_weights: bool = True,
        upsampling: Upsampling = "nearest",
        momentum: float | None = None,
    ) -> None:
        self.card.check(
            alpha=alpha,
            mask_weight=mask_weight,
            margin=margin,
            scope=scope,
            embed_weights=embed_weights,
            upsampling=upsampling,
            momentum=momentum,
        )
        super().__init__(
            images=2,
            alpha=alpha,
            margin=margin,
            scope=scope,
            upsampling=upsampling,
            momentum=momentum,
        )
        self.embed_weights = embed_weights
        self.mask_weight = mask_weight

    def make_generator(self, channels: int) -> PairMaskGenerator:
        return PairMaskGenerator(channels, embed_weights=self.embed_weights)

    def generator_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams, judged: Tensor
    ) -> Tensor:
        masks = masks_of(learner)
        mixed = masks.apply(batch, params)
        loss = target_of(mixed).loss(mixed_head(twin_of(learner)(mixed.x)))
        height, width = batch.tensor.shape[-2:]
        own = masks_of_scores(params.scores, height, width, upsampling=self.upsampling)[:, 0]
        return loss + self.mask_weight * share_loss(own, params.weights[:, 0], self.scope)


def share_loss(masks: Tensor, weights: Tensor, scope: Scope) -> Tensor:
    """How far the means of masks are from the weights, beyond a tolerance.

    Args:
        masks: (B, H, W), of the own images.
        weights: (B,), of the own labels.
        scope: `batch` where all weights are equal: the mean of all masks counts then, as in the
            authors' code.

    Returns:
        A scalar, >= 0.
    """
    distance = masks.mean(dim=(1, 2)) - weights
    if scope == "batch":
        distance = distance.mean()
    return (distance.abs() - TOLERANCE).clamp(min=0).mean()
