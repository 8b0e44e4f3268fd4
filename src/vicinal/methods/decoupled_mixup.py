"""Decoupled mixup: any mixer, with a loss in which the classes that are mixed do not compete."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.method import Learner, Setting
from vicinal.methods.named_mixer import MIXERS, named_mixer
from vicinal.methods.supervised import Supervised
from vicinal.objectives.decoupled_mixup import DecoupledMixup, Kind, Rescale, Side


class DecoupledTraining(Supervised):
    """Train on mixtures, and ask of each of their classes to win against all that are not mixed.

    Source: Liu et al., Harnessing Hard Mixed Samples with Decoupled Regularizer, NeurIPS 2023,
    section 4, and the authors' recipes in OpenMixup. See `DecoupledMixup`, the objective.

    Args:
        mixer: what mixes, by its name in the catalogue.
        alpha: both shapes of the Beta distribution of the mixer's share, > 0, where it has one; the
            mixer's own default if none is given.
        eta: weight of the decoupled term, >= 0; 0 is the mixer with its own loss.
        kind: `ce`, or `bce` for binary cross-entropy of every class, which has no other term.
        side: whose terms are added: of `both` labels, of the one with `more` weight, or with
            `less`.
        power: how fast a label counts less for a lesser share, >= 0; by default 0 for `ce`, where
            all terms count alike, and 1 for `bce`.
        threshold: the share from which on a label counts whole, in (0, 1].
        negatives: weight of the classes that are not in a mixture, of `bce`, in [0, 1].

    Raises:
        ValueError: a value is unknown or out of range.
    """

    card = Card(
        name="decoupled_mixup",
        kind="method",
        family="objectives",
        modality=("any",),
        summary="Mixes samples, with a loss in which the mixed classes do not compete.",
        systems=("decoupled-mixup", "openmixup", "openmixup-mixers"),
        paper=Paper(
            "Harnessing Hard Mixed Samples with Decoupled Regularizer",
            authors="Liu, Li, Wang, Liu, Wu, Chen, Zang, Li",
            venue="NeurIPS",
            year=2023,
            arxiv="2203.10761",
        ),
        parameters={
            "mixer": Options(MIXERS, "mixup", meaning="what mixes"),
            "alpha": Range(
                0.1,
                4.0,
                default=None,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the mixer's share, its own "
                "default if none is given; the authors take 0.2 for CIFAR-100 and 1 for ImageNet",
            ),
            "eta": Range(
                0.01,
                1.0,
                default=0.1,
                scale="log",
                valid="[0, inf)",
                meaning="weight of the decoupled term; 0 leaves the mixer's own loss",
            ),
            "kind": Options(("ce", "bce"), "ce", meaning="softmax, or a sigmoid for every class"),
            "side": Options(
                ("both", "more", "less"), "both", meaning="the labels whose terms are added"
            ),
            "power": Range(
                0.0,
                2.0,
                default=None,
                valid="[0, inf)",
                meaning="how fast a label counts less for a lesser share; 0 for ce and 1 for bce "
                "if none is given",
            ),
            "threshold": Range(
                0.5,
                1.0,
                default=1.0,
                valid="(0, 1]",
                meaning="the share from which on a label counts whole",
            ),
            "negatives": Range(
                0.0,
                1.0,
                default=1.0,
                valid="[0, 1]",
                meaning="weight of the classes that are not in a mixture, of bce",
            ),
        },
        needs=("three classes or more, for ce",),
        targets=("classes",),
        agrees="with OpenMixup's code, to 2e-6 on losses and 1e-6 on gradients",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one share per sample, where the authors' code needs one for the whole batch",
            "shares of one half are decoupled too, which the authors' code leaves out",
            "the lesser or greater share is that of each sample; where both are equal, both count "
            "half",
            "with bce, the probabilities predicted are the sigmoids over their sum",
        ),
        controls=("decoupled_mixup:eta=0",),
        example=(
            "import vicinal\n"
            "\n"
            "method = vicinal.DecoupledTraining({settings})\n"
            "\n"
            "# in the training loop, on the batch as the model sees it\n"
            "mixed = method.prepared(vicinal.Batch.of(x, y))\n"
            "loss = method.objective(model(mixed.x), mixed, None, {})"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        mixer: str = "mixup",
        *,
        alpha: float | None = None,
        eta: float = 0.1,
        kind: Kind = "ce",
        side: Side = "both",
        power: float | None = None,
        threshold: float = 1.0,
        negatives: float = 1.0,
    ) -> None:
        self.card.check(
            mixer=mixer,
            alpha=alpha,
            eta=eta,
            kind=kind,
            side=side,
            power=power,
            threshold=threshold,
            negatives=negatives,
        )
        if power is None:
            power = 0.0 if kind == "ce" else 1.0
        super().__init__(
            prepared=named_mixer(mixer, alpha),
            objective=DecoupledMixup(
                eta, Rescale(threshold, power), kind=kind, side=side, negatives=negatives
            ),
        )
        self.kind = kind

    def start(self, setting: Setting) -> Learner:
        if self.kind == "ce" and setting.outputs < 3:
            raise ValueError(
                f"decoupled mixup of {setting.outputs} classes is the mixer alone: there is no "
                "class that is not mixed; take the mixer, or kind=bce"
            )
        assert self.prepared is not None
        mixer: Card = self.prepared.card
        if not mixer.suits(setting.modality):
            raise ValueError(
                f"{mixer.name} works on {' and '.join(mixer.modality)}, the data are "
                f"{setting.modality}: take another mixer"
            )
        return super().start(setting)

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        output = super().predict(learner, batch)
        # A softmax of these gives the sigmoids over their sum.
        return F.logsigmoid(output) if self.kind == "bce" else output
