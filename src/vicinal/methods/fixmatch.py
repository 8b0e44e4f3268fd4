"""FixMatch: confident guesses are the labels of strong views."""

from __future__ import annotations

from vicinal.core.augmentation import Augmentation
from vicinal.core.card import Card, Paper, Range, Result
from vicinal.methods.two_views import RATIO, TwoViews
from vicinal.objectives.masked_consistency import MaskedConsistency


class FixMatch(TwoViews):
    """Train strong views of unlabelled rows on the class that is confidently predicted for them.

    Source: Sohn et al., FixMatch, NeurIPS 2020, equations 3 and 4, and fixmatch.py of the authors.

    Args:
        ratio: unlabelled rows to labelled ones in a step, > 0.
        threshold: guesses that are no more confident do not count, in [0, 1]; at 0 all do.
        weight: of the unlabelled rows, >= 0.
        decay: highest momentum of the averaged weights, which predict, in [0, 1].
        strong: makes strong views of raw rows; by default RandAugment as UDA has it, for images.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="fixmatch",
        kind="method",
        family="consistency",
        modality=("image", "text"),
        summary="Learns from unlabelled rows: confident guesses label their augmented versions.",
        systems=("uda",),
        paper=Paper(
            "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence",
            authors="Sohn, Berthelot, Li, Zhang, Carlini, Cubuk, Kurakin, Zhang, Raffel",
            venue="NeurIPS",
            year=2020,
            arxiv="2001.07685",
        ),
        parameters={
            "ratio": RATIO,
            "threshold": Range(
                0.5,
                0.99,
                default=0.95,
                valid="[0, 1]",
                meaning="confidence from which guesses count",
            ),
            "weight": Range(
                0.0, 10.0, default=1.0, valid="[0, inf)", meaning="weight of unlabelled rows"
            ),
            "decay": Range(
                0.9, 0.9999, default=0.999, valid="[0, 1]", meaning="momentum of the average"
            ),
        },
        needs=("unlabelled rows", "1 + 2 ratio times the forward and backward pass"),
        targets=("classes",),
        result=Result(
            task="CIFAR-10, 250 labels, WRN-28-2",
            metric="error, %",
            baseline=8.82,
            value=5.07,
            note="the baseline is UDA in the same code",
        ),
        differs=(
            "strong views are those of UDA, before flip and crop, where the authors have CTAugment "
            "or their own RandAugment after them",
            "a guess must be above the threshold, where the authors' code lets one at it count",
            "the average forgets its beginning while it is young, (1 + t) / (10 + t)",
            "labelled rows are not among the unlabelled ones, unless there are no others",
        ),
        controls=("fixmatch:weight=0",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.objectives.masked_consistency import MaskedConsistency\n"
            "\n"
            'strong = vicinal.RandAugment(flavor="uda")\n'
            'consistency = MaskedConsistency(threshold={threshold}, divergence="pseudo_label")\n'
            "\n"
            "# in the training loop, on uint8 images x with labels y; normalise is yours\n"
            "u = x  # put {ratio} times as many images without labels here\n"
            "outputs = model(normalise(torch.cat([x, u, strong(u)])))\n"
            "labelled, guess, output = outputs.split([len(x), len(u), len(u)])\n"
            "loss = vicinal.Target.of(y).loss(labelled)\n"
            "loss = loss + {weight} * consistency(guess, output)[0]"
        ),
    )

    def __init__(
        self,
        ratio: float = 7.0,
        *,
        threshold: float = 0.95,
        weight: float = 1.0,
        decay: float = 0.999,
        strong: Augmentation | None = None,
    ) -> None:
        self.card.check(ratio=ratio, threshold=threshold, weight=weight, decay=decay)
        super().__init__(
            MaskedConsistency(threshold=threshold, divergence="pseudo_label"),
            strong=strong,
            ratio=ratio,
            weight=weight,
            decay=decay,
        )
