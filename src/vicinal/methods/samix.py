"""SAMix: AutoMix with masks that are told the weights, and asked to take sides."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range, Result
from vicinal.core.method import Learner
from vicinal.methods.adautomix import AdAutoMix
from vicinal.methods.automix import AutoMix, share_loss
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
from vicinal.models.mask_generator import JointMaskGenerator


class SAMix(MaskTraining):
    """Train on mixtures of two images whose masks a generator makes to be classified well.

    As AutoMix, with another generator: it reads both images together, scaled by their weights. Its
    masks are rewarded for their variance, so that they show one of the images or the other, and
    some of those that the model learns from are changed to show as much as the weight says.

    Source: Li et al., Boosting Discriminative Visual Representation Learning with Scenario-Agnostic
    Mixup, arXiv 2021, and the authors' recipe for CIFAR-100 in OpenMixup: automix.py,
    pmix_block.py.

    Args:
        alpha: both shapes of the Beta distribution of the weight; > 0.
        mask_weight: of the mask's loss in the generator's loss, >= 0: the distance between the mean
            of the own mask and the own weight, of which the first 0.1 are free, less the variance.
        variance: weight of the masks' variance in it, >= 0.
        matched: how often the means of the model's masks are made equal to the weights, in [0, 1].
        curvature: how little the weight is flattened around one half before it scales the features,
            >= 0; infinity takes it as it is, as the authors do on ImageNet.
        dropout: of the generator's values, in [0, 1).
        margin: a mixture whose own weight is within it of 0 or 1 is plain mixup for the model; in
            [0, 1/2].
        scope: `sample` draws a weight for every sample, `batch` one for all of them.
        upsampling: how masks become as large as the image.
        momentum: of the twin at the start, in [0, 1], from where it rises to 0.999999; by default
            0.999, and less in a training of less than 20,000 steps.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="samix",
        kind="method",
        family="learned",
        modality=("image",),
        summary="Mixes two images by learnt masks that are told how much of each to show.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "Boosting Discriminative Visual Representation Learning with Scenario-Agnostic Mixup",
            authors="Li, Liu, Wang, Wu, Liu, Li",
            venue="arXiv",
            year=2021,
            arxiv="2111.15454",
        ),
        parameters={
            "alpha": AutoMix.card.parameters["alpha"],
            "mask_weight": AutoMix.card.parameters["mask_weight"],
            "variance": Range(
                0.0, 4.0, default=2.0, valid="[0, inf)", meaning="of a mask's variance in its loss"
            ),
            "matched": Range(
                0.0,
                1.0,
                default=0.25,
                valid="[0, 1]",
                meaning="how often masks are changed to have the weights as their means; 0 on "
                "ImageNet",
            ),
            "curvature": Range(
                0.0,
                4.0,
                default=0.25,
                valid="[0, inf]",
                meaning="how little the weight is flattened around one half",
            ),
            "dropout": Range(
                0.0, 0.5, default=0.0, valid="[0, 1)", meaning="of values; 0.1 on ImageNet"
            ),
            "margin": AutoMix.card.parameters["margin"],
            "scope": KWayMixup.card.parameters["scope"],
            "upsampling": AdAutoMix.card.parameters["upsampling"],
            "momentum": FIRST_MOMENTUM,
        },
        needs=AutoMix.card.needs,
        cost=AutoMix.card.cost,
        targets=("classes",),
        agrees="with OpenMixup's code, to 1e-5, over two steps",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-100, ResNet-18, 800 epochs",
            metric="top-1 accuracy, %",
            baseline=78.04,
            value=82.30,
            note="median of the last 10 epochs; mixup 79.12, AutoMix 82.04",
        ),
        differs=(
            "the twin's momentum starts below 0.999 in a training of less than 20,000 steps",
            "one weight per sample, where the authors' code has one per batch; their masks' mean "
            "and variance are of the batch, with `scope=batch`",
            "masks are matched to the weight of the model's mixture, where theirs takes that of "
            "the generator's",
            "predicts with the mean of both heads of the model; theirs reports each, of model and "
            "twin",
            "the weight of the mask's loss stays, as in their CIFAR recipe; on ImageNet it decays",
            "the generator has the optimiser and schedule of the model",
            "the weight 0.5 of other classes in the generator's loss is left out: it changes "
            "nothing in a cross-entropy",
        ),
        controls=("mixup", "automix"),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.attention_mask import AttentionMask\n"
            "from vicinal.models import mixable_layers\n"
            "from vicinal.models.averaging import EMATwin\n"
            "from vicinal.models.feature_map import FeatureMap\n"
            "from vicinal.models.mask_generator import JointMaskGenerator\n"
            "\n"
            "# once: a twin that follows the model, and a generator that reads its features\n"
            "twin = EMATwin(model, statistics='own')\n"
            "features = FeatureMap(layer=mixable_layers(twin)[-1])\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "channels = features.answer(twin, batch).shape[1]\n"
            "generator = JointMaskGenerator(\n"
            "    channels, curvature={curvature}, dropout={dropout})\n"
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
        variance: float = 2.0,
        matched: float = 0.25,
        curvature: float = 0.25,
        dropout: float = 0.0,
        margin: float = 0.08,
        scope: Scope = "sample",
        upsampling: Upsampling = "bilinear",
        momentum: float | None = None,
    ) -> None:
        self.card.check(
            alpha=alpha,
            mask_weight=mask_weight,
            variance=variance,
            matched=matched,
            curvature=curvature,
            dropout=dropout,
            margin=margin,
            scope=scope,
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
        self.mask_weight = mask_weight
        self.variance = variance
        self.matched = matched
        self.curvature = curvature
        self.dropout = dropout

    def make_generator(self, channels: int) -> JointMaskGenerator:
        return JointMaskGenerator(channels, curvature=self.curvature, dropout=self.dropout)

    def shown(self, learner: Learner, batch: Batch) -> AttentionMaskParams:
        params = super().shown(learner, batch)
        draws = learner.draws(batch).within("masks of the model")
        source = draws.shared() if self.scope == "batch" else draws
        return replace(params, matched=source.bernoulli("matched", self.matched))

    def generator_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams, judged: Tensor
    ) -> Tensor:
        mixed = masks_of(learner).apply(batch, params)
        loss = target_of(mixed).loss(mixed_head(twin_of(learner)(mixed.x)))
        height, width = batch.tensor.shape[-2:]
        own = masks_of_scores(params.scores, height, width, upsampling=self.upsampling)[:, 0]
        distance = share_loss(own, params.weights[:, 0], self.scope)
        return loss + self.mask_weight * (distance - self.variance * spread(own, self.scope))


def spread(masks: Tensor, scope: Scope) -> Tensor:
    """The variance of masks over their places.

    Args:
        masks: (B, H, W) in [0, 1].
        scope: `sample` for the mean of each mask's own, `batch` for that of all together.

    Returns:
        A scalar in [0, 1/4].
    """
    if scope == "batch":
        return masks.var(correction=0)
    return masks.var(dim=(1, 2), correction=0).mean()
