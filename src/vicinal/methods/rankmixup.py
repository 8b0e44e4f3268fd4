"""RankMixup: mixtures whose labels are not learnt, only how sure to be of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.method import Learner
from vicinal.core.target import ClassTarget
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.objectives.ranking import Kind, MixRank, Scale

#: How many mixtures of every sample the authors take.
MIXES = {"mrl": 1, "ndcg": 3}


class RankMixup(Supervised):
    """Train on clean samples, and be less sure of their mixtures, the less the more is mixed.

    Source: Noh et al., RankMixup: Ranking-Based Mixup Training for Network Calibration, ICCV 2023,
    section 3, and the authors' rankmixup.py and resnet_mixup.py: cross-entropy of the clean samples
    plus a ranking loss; the clean samples and all mixtures are two passes, so that batch
    normalisation sees them apart. One weight is drawn for each batch of mixtures.

    Args:
        kind: `ndcg` ranks several mixtures of a sample with each other, `mrl` asks for a margin
            between each of them and the sample.
        weight: of the ranking loss, >= 0.
        margin: of `mrl`, in units of `on`.
        on: the confidence that `mrl` compares, the largest `logit` or the largest `prob`.
        mixes: mixtures of every sample, >= 1; by default 3 for `ndcg` and 1 for `mrl`.
        mixer: what mixes, `mixup` or `cutmix`.
        alpha: both shapes of the Beta distribution of the mixer's weight, > 0.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="rankmixup",
        kind="method",
        family="interpolation",
        modality=("any",),
        summary="Learns from clean samples alone, and to be less sure of mixtures of them.",
        systems=("rankmixup",),
        paper=Paper(
            "RankMixup: Ranking-Based Mixup Training for Network Calibration",
            authors="Noh, Park, Lee, Ham",
            venue="ICCV",
            year=2023,
            arxiv="2308.11990",
        ),
        parameters={
            "kind": Options(("ndcg", "mrl"), "ndcg", meaning="the ranking loss"),
            "weight": Range(0.0, 1.0, default=0.1, valid="[0, inf)", meaning="of the ranking loss"),
            "margin": Range(
                0.0, 4.0, default=2.0, meaning="by how much confidence should fall, of mrl"
            ),
            "on": Options(("logit", "prob"), "logit", meaning="the confidence that mrl compares"),
            "mixes": Range(
                1,
                5,
                default=None,
                valid="[1, inf)",
                integer=True,
                meaning="mixtures of every sample; 3 for ndcg and 1 for mrl if none is given",
            ),
            "mixer": Options(("mixup", "cutmix"), "mixup", meaning="what mixes"),
            "alpha": Range(
                0.1,
                4.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the mixer's weight",
            ),
        },
        needs=("a forward and backward pass more for every mixture",),
        targets=("classes",),
        differs=(
            "mixtures of equal relevance are ranked by confidence, where the authors' code leaves "
            "their order to the sort",
            "a pair of one class costs nothing with mrl, as the paper has it; in the authors' code "
            "a mask that is broadcast to (B, B) scales the loss of the whole batch by the share of "
            "the other pairs",
            "mixing features after the last stage, an option of the authors' code that its "
            "configurations leave out, is not there",
        ),
        controls=("mixup",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.objectives.ranking import MixRank\n"
            "\n"
            "mixup = vicinal.Mixup(alpha={alpha}, scope='batch')\n"
            "rank = MixRank({kind}, weight={weight}, margin={margin}, on={on})\n"
            "\n"
            "count = {mixes} or (3 if rank.kind == 'ndcg' else 1)\n"
            "\n"
            "# in the training loop\n"
            "mixtures = [mixup(x, y) for _ in range(count)]\n"
            "output = model(x)\n"
            "mixed = model(torch.cat([mixture for mixture, _ in mixtures]))\n"
            "mixed = mixed.unflatten(0, (count, len(x)))\n"
            "loss = vicinal.Target.of(y).loss(output)\n"
            "loss = loss + rank(output, mixed, [target for _, target in mixtures])"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        kind: Kind = "ndcg",
        *,
        weight: float = 0.1,
        margin: float = 2.0,
        on: Scale = "logit",
        mixes: int | None = None,
        mixer: Literal["mixup", "cutmix"] = "mixup",
        alpha: float = 2.0,
    ) -> None:
        self.card.check(
            kind=kind, weight=weight, margin=margin, on=on, mixes=mixes, mixer=mixer, alpha=alpha
        )
        super().__init__()
        self.ranking = MixRank(kind, weight=weight, margin=margin, on=on)
        self.mixes = MIXES[kind] if mixes is None else mixes
        self.mixer: Mixer = {"mixup": Mixup, "cutmix": CutMix}[mixer](alpha, scope="batch")

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, _ = self.ready(learner, batches["train"])
        if not isinstance(batch.target, ClassTarget):
            raise ValueError("RankMixup trains on batches with class labels")
        mixtures = [self.mixture(learner, batch, at) for at in range(self.mixes)]
        targets = [one.target for one in mixtures if isinstance(one.target, ClassTarget)]
        with learner.setting.launcher.autocast():
            output = learner.model(batch.x)
            mixed = learner.model(torch.cat([one.tensor for one in mixtures]))
            loss = batch.target.loss(output)
            ranking = self.ranking(output, mixed.unflatten(0, (self.mixes, -1)), targets)
        learner.update(loss + ranking)
        return {**self.report(loss, output, batch), "ranking": ranking.detach()}

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, None]:
        """The first batch of mixtures, for those who want to see what the model sees."""
        batch, _ = self.ready(learner, batch)
        return self.mixture(learner, batch, 0), None

    def mixture(self, learner: Learner, batch: Batch, at: int) -> Batch:
        """One of the batches of mixtures. batch: as the model sees it."""
        draws = learner.draws(batch).within(f"mixture {at}")
        return self.mixer.augment(batch, draws)[0]
