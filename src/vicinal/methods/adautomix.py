"""Adversarial AutoMixup: mixing masks that make images hard for the model's own average."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Range, Result
from vicinal.core.method import Learner
from vicinal.methods.mask_training import (
    FIRST_MOMENTUM,
    MaskTraining,
    clean_head,
    masks_of,
    mixed_head,
    target_of,
    twin_of,
)
from vicinal.mixers.attention_mask import AttentionMaskParams, Upsampling
from vicinal.mixers.k_way import KWayMixup, Scope, mix_many
from vicinal.models.mask_generator import MaskGenerator


class AdAutoMix(MaskTraining):
    """Train on mixtures of images whose masks a generator makes hard for an average of the model.

    The model learns from mixtures by the generator's masks, from plain mixtures of the same images
    by the same weights, and from clean images. The generator learns from the model's twin: in every
    `interval`-th step, beginning with the first, to raise its loss on the mixtures, and in the
    others to lower it.

    Source: Qin et al., Adversarial AutoMixup, ICLR 2024, section 3, and the authors' AdAutoMix.py.
    In the adversarial steps it adds the similarity of the twin's logits for a mixture and for its
    sources to the loss that is minimised, so that mixtures come to look unlike them; the text
    presents it as what keeps them alike. `similarity_sign` chooses.

    Args:
        images: in a mixture, >= 2.
        alpha: both shapes of the Beta distribution of the weights; > 0.
        beta: weight of the twin's loss in an adversarial step, in [0, 1]; the similarity has the
            rest.
        mixup: weight of plain mixtures against clean images in the model's loss, in [0, 1].
        interval: steps from one adversarial step to the next, >= 1; 1 makes all adversarial.
        similarity_sign: 1 lowers the similarity, as released, -1 raises it, 0 leaves it alone.
        margin: a mixture whose own weight is within it of 0 or 1 is plain mixup for the model; in
            [0, 1/2].
        scope: `sample` draws weights for every sample, `batch` one set for all of them.
        embed_weights: whether the generator is told the weights of the images.
        upsampling: how masks become as large as the image.
        momentum: of the twin at the start, in [0, 1], from where it rises to 0.999999; by default
            0.999, and less in a training of less than 20,000 steps.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="adautomix",
        kind="method",
        family="learned",
        modality=("image",),
        summary="Mixes images by masks of a network that learns to make them hard.",
        systems=("adautomix", "openmixup", "openmixup-mixers"),
        paper=KWayMixup.card.paper,
        parameters={
            "images": KWayMixup.card.parameters["images"],
            "alpha": KWayMixup.card.parameters["alpha"],
            "beta": Range(
                0.0,
                1.0,
                default=0.3,
                valid="[0, 1]",
                meaning="weight of the twin's loss in an adversarial step, against the similarity",
            ),
            "mixup": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, 1]",
                meaning="weight of plain mixtures against clean images in the model's loss",
            ),
            "interval": Range(
                1,
                8,
                default=2,
                valid="[1, inf)",
                integer=True,
                meaning="steps from one adversarial step to the next",
            ),
            "similarity_sign": Range(
                -1,
                1,
                default=1,
                valid="[-1, 1]",
                integer=True,
                meaning="1 lowers the similarity of mixture and sources, -1 raises it",
            ),
            "margin": Range(
                0.0,
                0.2,
                default=0.03,
                valid="[0, 0.5]",
                meaning="distance of the own weight from 0 and 1 below which it is plain mixup",
            ),
            "scope": KWayMixup.card.parameters["scope"],
            "embed_weights": Options(
                (False, True), False, meaning="whether the generator is told the weights"
            ),
            "upsampling": Options(
                ("bilinear", "nearest"), "bilinear", meaning="how masks become as large as images"
            ),
            "momentum": FIRST_MOMENTUM,
        },
        needs=("a model whose hidden layers are maps, or patches on a grid",),
        cost="three more forward and backward passes",
        targets=("classes",),
        agrees="with the authors' code, to 1e-5, over whole steps",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-100, ResNet-18, 800 epochs",
            metric="top-1 accuracy, %",
            baseline=78.04,
            value=82.32,
            note="median of the last 10 epochs, best of four heads; mixup 79.12, AutoMix 82.04",
        ),
        differs=(
            "the twin's momentum starts below 0.999 in a training of less than 20,000 steps",
            "one set of weights per sample, where the authors' code has one per batch",
            "predicts with the mean of both heads of the model; theirs reports each, of model and "
            "twin",
            "the own image is the first of a mixture; theirs permutes all, which comes to the same",
            "the twin's logits for the sources are looked up; theirs runs it once for each",
            "queries and keys are rectified, as released; the paper does not say so",
            "no batch normalisation in the generator, which theirs has on ImageNet",
        ),
        controls=("k_way_mixup",),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.attention_mask import AttentionMask\n"
            "from vicinal.models import mixable_layers\n"
            "from vicinal.models.averaging import EMATwin\n"
            "from vicinal.models.feature_map import FeatureMap\n"
            "from vicinal.models.mask_generator import MaskGenerator\n"
            "\n"
            "# once: a twin that follows the model, and a generator that reads its features\n"
            "twin = EMATwin(model, statistics='own')\n"
            "features = FeatureMap(layer=mixable_layers(twin)[-1])\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "generator = MaskGenerator(features.answer(twin, batch).shape[1])\n"
            "masks = AttentionMask(generator, features, images={images}, alpha={alpha})\n"
            "\n"
            "# in the training loop\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "batch = batch.replace(evidence={features: features.answer(twin, batch)})\n"
            "mixed = masks(batch)\n"
            "hard = -mixed.target.loss(twin(mixed.x))  # for the generator's own optimiser\n"
            "loss = batch.target.loss(model(batch.x))\n"
            "loss = loss + mixed.target.loss(model(mixed.x.detach()))\n"
            "# and once the optimisers have stepped\n"
            "twin.update(model, 0.999)"
        ),
    )

    def __init__(
        self,
        images: int = 3,
        *,
        alpha: float = 1.0,
        beta: float = 0.3,
        mixup: float = 0.5,
        interval: int = 2,
        similarity_sign: int = 1,
        margin: float = 0.03,
        scope: Scope = "sample",
        embed_weights: bool = False,
        upsampling: Upsampling = "bilinear",
        momentum: float | None = None,
    ) -> None:
        self.card.check(
            images=images,
            alpha=alpha,
            beta=beta,
            mixup=mixup,
            interval=interval,
            similarity_sign=similarity_sign,
            margin=margin,
            scope=scope,
            embed_weights=embed_weights,
            upsampling=upsampling,
            momentum=momentum,
        )
        super().__init__(
            images=int(images),
            alpha=alpha,
            margin=margin,
            scope=scope,
            upsampling=upsampling,
            momentum=momentum,
        )
        self.embed_weights = embed_weights
        self.beta = beta
        self.mixup = mixup
        self.interval = int(interval)
        self.similarity_sign = int(similarity_sign)

    def make_generator(self, channels: int) -> MaskGenerator:
        return MaskGenerator(channels, embed_weights=self.embed_weights)

    def model_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams
    ) -> tuple[Tensor, Tensor]:
        clean = clean_head(learner.model(batch.x))
        plain = mix_many(batch, params.partner, weights=params.weights)
        masked = masks_of(learner).apply(batch, params)
        loss = (1 - self.mixup) * target_of(batch).loss(clean)
        loss = loss + self.mixup * target_of(plain).loss(mixed_head(learner.model(plain.x)))
        loss = loss + target_of(masked).loss(mixed_head(learner.model(masked.x)))
        return loss, clean

    def generator_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams, judged: Tensor
    ) -> Tensor:
        mixed = masks_of(learner).apply(batch, params)
        output = mixed_head(twin_of(learner)(mixed.x))
        loss = target_of(mixed).loss(output)
        if learner.step % self.interval:
            return loss
        _, at = batch.partners(params.partner.reshape(-1))
        sources = torch.cat([judged[:, None], judged[at.view_as(params.partner)]], dim=1)
        alike = similarity(output, sources, params.weights)
        return -self.beta * loss + (1 - self.beta) * self.similarity_sign * alike


def similarity(output: Tensor, sources: Tensor, weights: Tensor) -> Tensor:
    """How much the logits of mixtures point where those of their sources do.

    Args:
        output: (B, C), of the mixtures.
        sources: (B, N, C), of the images in each.
        weights: (B, N), of the images.

    Returns:
        A scalar in [-1, 1], the weighted mean of cosines.
    """
    cosines = functional.cosine_similarity(output[:, None].float(), sources.float(), dim=2)
    return (weights * cosines).sum(dim=1).mean()
