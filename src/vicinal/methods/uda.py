"""UDA: consistency under strong noise, for rows without labels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.method import Learner
from vicinal.core.target import ClassTarget
from vicinal.methods.two_views import RATIO, TwoViews
from vicinal.objectives.masked_consistency import MaskedConsistency, entropy
from vicinal.objectives.signal_annealing import SignalAnnealing

Annealing = Literal["none", "linear", "exp", "log"]


class UDA(TwoViews):
    """Pull the prediction for a strongly augmented unlabelled row to the one for the row itself.

    Source: Xie et al., Unsupervised Data Augmentation for Consistency Training, NeurIPS 2020, and
    image/main.py of the authors. What counts is the quality of the noise: RandAugment for images,
    `TfIdfReplace` for texts.

    Args:
        ratio: unlabelled rows to labelled ones in a step, > 0.
        temperature: sharpens the guesses; > 0, 1 leaves them as they are.
        threshold: guesses that are no more confident do not count, in [0, 1]; at 0 all do.
        weight: of the consistency, >= 0.
        annealing: whether labelled rows that are known already count: `none` counts all, the others
            name the schedule by which the threshold rises.
        entropy: weight of the entropy of the guesses, >= 0; 0 leaves it out.
        decay: highest momentum of the averaged weights, which predict, in [0, 1].
        strong: makes strong views of raw rows; by default RandAugment as UDA has it, for images.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="uda",
        kind="method",
        family="consistency",
        modality=("image", "text"),
        summary="Learns from unlabelled rows: noise must not change a confident prediction.",
        systems=("uda",),
        paper=Paper(
            "Unsupervised Data Augmentation for Consistency Training",
            authors="Xie, Dai, Hovy, Luong, Le",
            venue="NeurIPS",
            year=2020,
            arxiv="1904.12848",
        ),
        parameters={
            "ratio": RATIO,
            "temperature": Range(
                0.1, 1.0, default=0.4, valid="(0, inf)", meaning="sharpens guesses below 1"
            ),
            "threshold": Range(
                0.0,
                0.95,
                default=0.8,
                valid="[0, 1]",
                meaning="confidence from which guesses count",
            ),
            "weight": Range(
                0.0, 10.0, default=1.0, valid="[0, inf)", meaning="weight of the consistency"
            ),
            "annealing": Options(
                ("none", "linear", "exp", "log"),
                default="none",
                meaning="how labelled rows that are known already come to count",
            ),
            "entropy": Range(
                0.0, 1.0, default=0.0, valid="[0, inf)", meaning="weight of the guesses' entropy"
            ),
            "decay": Range(
                0.9, 0.9999, default=0.9999, valid="[0, 1]", meaning="momentum of the average"
            ),
        },
        needs=("unlabelled rows", "1 + 2 ratio times the forward and backward pass"),
        targets=("classes",),
        result=Result(
            task="ImageNet-1k, 10 % of the labels, ResNet-50",
            metric="top-1 accuracy, %",
            baseline=55.09,
            value=68.78,
        ),
        differs=(
            "strong views are drawn anew for every pass, where the authors prepare 100 of each row",
            "RandAugment's squares and outside are black, where the authors have the mean colour",
            "the average forgets its beginning while it is young, (1 + t) / (10 + t), where the "
            "authors' 500,000 steps need no such thing",
            "the learning rate follows the schedule of all arms, not cos(7 pi t / 16 T)",
            "labelled rows are not among the unlabelled ones, unless there are no others",
        ),
        controls=("uda:weight=0",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.objectives.masked_consistency import MaskedConsistency\n"
            "\n"
            'strong = vicinal.RandAugment(flavor="uda")\n'
            "consistency = MaskedConsistency({temperature}, threshold={threshold})\n"
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
        temperature: float = 0.4,
        threshold: float = 0.8,
        weight: float = 1.0,
        annealing: Annealing = "none",
        entropy: float = 0.0,
        decay: float = 0.9999,
        strong: Augmentation | None = None,
    ) -> None:
        self.card.check(
            ratio=ratio,
            temperature=temperature,
            threshold=threshold,
            weight=weight,
            annealing=annealing,
            entropy=entropy,
            decay=decay,
        )
        super().__init__(
            MaskedConsistency(temperature, threshold=threshold),
            strong=strong,
            ratio=ratio,
            weight=weight,
            decay=decay,
        )
        self.annealing = None if annealing == "none" else SignalAnnealing(annealing)
        self.entropy = entropy

    def labelled_loss(
        self, learner: Learner, output: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.annealing is None or not isinstance(batch.target, ClassTarget):
            return super().labelled_loss(learner, output, batch)
        done = learner.step / learner.setting.steps
        loss, counted = self.annealing(output, batch.target, done)
        return loss, {"labels counted": counted}

    def unlabelled_loss(self, output: Tensor) -> Tensor:
        if not self.entropy:
            return super().unlabelled_loss(output)
        return self.entropy * entropy(output).mean()
