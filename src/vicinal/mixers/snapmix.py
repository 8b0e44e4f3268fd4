"""Mixing whose labels weigh as much as what is seen of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.activation import ClassActivation
from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask, inside_boxes, need_boxes_inside
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget
from vicinal.mixers.paste import Scope, boxes, image_sizes
from vicinal.mixers.resized import paste_resized


@dataclass(frozen=True)
class SnapMixParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset of which a box is pasted in.
    start, stop: (B, 2) int64, the own box, rows and columns; stop is exclusive. An empty box leaves
        the sample as it is.
    source_start, source_stop: (B, 2) int64, the partner's box, which is resized into the own one.
    kept, given: (B,) float32, weights of the own and the partner's label, which need not sum to 1.
    """

    partner: Tensor
    start: Tensor
    stop: Tensor
    source_start: Tensor
    source_stop: Tensor
    kept: Tensor
    given: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """1 inside the own boxes and 0 outside, as `vicinal.core.partner_share` has it."""
        return inside_boxes(self.start, self.stop, places).float()


class SnapMix(Mixer):
    """Paste a box of another image, resized, and weigh each label by what is seen of its class.

    What is seen of a class is the share of its class activation map: of the own one outside of the
    own box, of the partner's inside of the partner's box. The boxes differ in place and size, so
    that the two need not sum to one. Where both samples are of one class, each label gets their
    sum, as in the authors' code.

    Source: Huang, Wang and Tao, SnapMix, AAAI 2021, section 3, and the authors' utils/mixmethod.py.
    Boxes, partner and whether to mix at all are drawn per sample; the authors' code draws them once
    for the batch.

    Args:
        alpha: both shapes of the Beta distributions of the shares that the boxes leave; > 0.
        prob: how often a sample is mixed at all, in [0, 1]; with `scope="batch"`, how often a
            batch.
        scope: `sample` draws boxes for every sample, `batch` one pair for all of them.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="snapmix",
        kind="mixer",
        family="paste",
        modality=("image",),
        summary="Pastes a resized box and weighs the labels by what the model sees of each class.",
        systems=("openmixup-mixers", "openmixup", "mediaug"),
        paper=Paper(
            "SnapMix: Semantically Proportional Mixing for Augmenting Fine-grained Data",
            authors="Huang, Wang, Tao",
            venue="AAAI",
            year=2021,
            arxiv="2012.04846",
        ),
        parameters={
            "alpha": Range(
                0.5,
                8.0,
                default=5.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distributions of what the boxes leave; the "
                "authors take 5 to fine-tune, 1 from scratch",
            ),
            "prob": Range(
                0.0,
                1.0,
                default=1.0,
                valid="[0, 1]",
                meaning="how often a sample is mixed; the authors take 1 to fine-tune, 0.5 from "
                "scratch",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares its boxes"),
        },
        needs=(
            "labels",
            "class activation maps: a convolutional network whose linear classifier reads the mean "
            "of the last feature map",
        ),
        cost="one more forward pass",
        targets=("classes",),
        agrees="with the authors' code, to 1e-5",
        labels="mixed",
        keeps_meaning=False,
        keeps_weight=False,
        result=Result(
            task="CUB-200-2011, ResNet-50, fine-tuned",
            metric="accuracy, %",
            baseline=85.49,
            value=87.75,
            note="as in the authors' repository",
        ),
        differs=(
            "boxes per sample, where the authors' code has one pair per batch",
            "the model is asked in evaluation mode, where the authors' code asks it in training "
            "mode",
            "an even map gives both labels the area of their own box, where the authors' code "
            "falls back on the area of the own box for both",
        ),
        controls=("cutmix",),
        example=(
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.SnapMix()\n"
            'batch = ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y))\n'
            "mixed = mix(batch)\n"
            "loss = mixed.target.loss(model(mixed.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )
    probes = (ClassActivation(),)

    def __init__(self, alpha: float = 5.0, *, prob: float = 1.0, scope: Scope = "sample") -> None:
        self.card.check(alpha=alpha, prob=prob, scope=scope)
        self.alpha = alpha
        self.prob = prob
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> SnapMixParams:
        labels = _labels(batch)
        image_sizes(batch.tensor)
        maps = batch.evidence.get(self.probes[0])
        if maps is None:
            raise ValueError(
                "SnapMix needs class activation maps: batch = ask(mix.probes, networks, batch) "
                "first, from vicinal.core.probe"
            )
        sizes = tuple(maps.shape[1:])
        at = draws.permutation("partner")
        source = draws.shared() if self.scope == "batch" else draws
        (start, stop), (source_start, source_stop) = (
            boxes(
                source.beta(f"share left of {whose}", self.alpha, self.alpha),
                source.below(f"centre of {whose}", sizes, shape=(2,)),
                sizes,
            )
            for whose in ("own", "partner")
        )
        mixed = (stop > start).all(dim=1) & (source_stop > source_start).all(dim=1)
        if self.prob < 1:
            mixed &= source.bernoulli("active", self.prob)
        kept, given = label_weights(
            1 - seen(maps, start, stop),
            seen(maps[at], source_start, source_stop),
            same=(labels == labels[at]).all(dim=1),
        )
        return SnapMixParams(
            partner=batch.index[at],
            start=start,
            stop=torch.where(mixed[:, None], stop, start),
            source_start=source_start,
            source_stop=source_stop,
            kept=torch.where(mixed, kept, 1),
            given=torch.where(mixed, given, 0),
        )

    def apply(self, batch: Batch, params: SnapMixParams) -> Batch:
        x = batch.tensor
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point to be resized, got {x.dtype}")
        pool, at = batch.partners(params.partner)
        need_boxes_inside(params.start, params.stop, image_sizes(x))
        source_sizes = image_sizes(pool.tensor)
        need_boxes_inside(params.source_start, params.source_stop, source_sizes)
        target = batch.target
        if target is not None and pool.target is not None:
            target = target.mix(pool.target[at], params.kept, params.given)
        mixed = paste_resized(
            x,
            pool.tensor,
            at,
            start=params.start,
            stop=params.stop,
            source_start=params.source_start,
            source_stop=params.source_stop,
        )
        return batch.replace(x=mixed, target=target)


def _labels(batch: Batch) -> Tensor:
    if not isinstance(batch.target, ClassTarget):
        kind = "none" if batch.target is None else f"targets of kind {batch.target.kind}"
        raise TypeError(f"SnapMix needs class labels, the batch has {kind}")
    return batch.target.labels


def seen(maps: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """The share of each map that lies in a box.

    Args:
        maps: (B, H, W), at least 0 and of sum 1.
        start: (B, 2) int64, first row and column of the box.
        stop: (B, 2) int64, one after the last.

    Returns:
        (B,).
    """
    inside = box_mask(start, stop, maps.shape[1:])
    return (maps * inside).sum(dim=(1, 2)).clamp(0, 1)


def label_weights(own: Tensor, partner: Tensor, *, same: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of both labels: what is seen of them, or of both where they are the same.

    Args:
        own: (B,) share seen of the own class.
        partner: (B,) share seen of the partner's.
        same: (B,) bool, whether both are of one class.
    """
    both = own + partner
    return torch.where(same, both, own), torch.where(same, both, partner)
