"""The two ends of the scale: the baseline that every arm has, and nothing at all."""

from __future__ import annotations

from vicinal.core.card import Card, Paper, Range
from vicinal.methods.supervised import Supervised
from vicinal.objectives.smoothing import SmoothedLoss


class Plain(Supervised):
    """Train on the task's baseline alone: crop and flip where the modality has them."""

    card = Card(
        name="none",
        kind="method",
        family="baseline",
        modality=("any",),
        summary="The baseline of every arm: crop and flip where they make sense, nothing else.",
        targets=("classes", "soft", "multilabel", "regression", "elements"),
        example=(
            "import vicinal\n"
            "\n"
            "# in the training loop: what you do already, and nothing else\n"
            "loss = vicinal.Target.of(y).loss(model(x))"
        ),
    )

    def __init__(self) -> None:
        super().__init__()


class Bare(Supervised):
    """Train on the samples as they are, without even the baseline."""

    card = Card(
        name="bare",
        kind="method",
        family="baseline",
        modality=("any",),
        summary="No augmentation at all, not even crop and flip.",
        targets=("classes", "soft", "multilabel", "regression", "elements"),
        example=(
            "import vicinal\n"
            "\n"
            "# in the training loop: leave crop and flip out\n"
            "loss = vicinal.Target.of(y).loss(model(x))"
        ),
    )

    def __init__(self) -> None:
        super().__init__(baseline=False)


class LabelSmoothing(Supervised):
    """Train on the baseline with a share of every label spread over all classes.

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016,
    section 7.

    Args:
        smoothing: the share, in [0, 1).

    Raises:
        ValueError: the share is out of range.
    """

    card = Card(
        name="label_smoothing",
        kind="method",
        family="labels",
        modality=("any",),
        summary="Takes a share of every label and spreads it evenly over all classes.",
        paper=Paper(
            "Rethinking the Inception Architecture for Computer Vision",
            authors="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
            venue="CVPR",
            year=2016,
            arxiv="1512.00567",
        ),
        parameters={
            "smoothing": Range(
                0.0, 0.3, default=0.1, valid="[0, 1)", meaning="share spread over all classes"
            ),
        },
        targets=("classes",),
        labels="smoothed",
        example=(
            "import vicinal\n"
            "\n"
            "# in the training loop\n"
            "loss = vicinal.Target.of(y).smooth({settings}).loss(model(x))"
        ),
    )

    def __init__(self, smoothing: float = 0.1) -> None:
        self.card.check(smoothing=smoothing)
        super().__init__(objective=SmoothedLoss(smoothing))
        self.smoothing = smoothing
