"""Early-stopped mixup: mixtures at first, the samples themselves in the end."""

from __future__ import annotations

from vicinal.core.augmentation import Mixer
from vicinal.core.card import Card, Paper, Range
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.label_weight import LabelWeight
from vicinal.policies.schedule import Until


class EarlyStoppedMixup(Supervised):
    """Train with mixup in the first part of training, and on plain samples and labels after it.

    Mixtures teach features that few samples have, and do so early; to the end they keep the loss on
    plain samples from falling and the model from being sure. The learning rate and all else go on
    as if nothing had changed.

    Source: Zou, Cao, Li, Gu, The Benefits of Mixup for Feature Learning, ICML 2023. No code of
    theirs is known; the weight is that of mixup, where their proofs fix one of at least one half.

    Args:
        fraction: share of training in which samples are mixed, in [0, 1].
        alpha: both shapes of the Beta distribution of the weight kept, > 0.
        label_weight: of the label of the sample that is kept the most, in [0, 1], whatever weight
            the sample has; as the samples are mixed by default.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="early_stopped_mixup",
        kind="method",
        family="interpolation",
        modality=("any",),
        summary="Mixes samples and labels in the first part of training, and stops then.",
        systems=("mixup-feature-learning",),
        paper=Paper(
            "The Benefits of Mixup for Feature Learning",
            authors="Zou, Cao, Li, Gu",
            venue="ICML",
            year=2023,
            arxiv="2303.08433",
        ),
        parameters={
            "fraction": Range(
                0.0, 1.0, default=0.6, valid="[0, 1]", meaning="share of training that is mixed"
            ),
            "alpha": Mixup.card.parameters["alpha"],
            "label_weight": Range(
                0.5,
                1.0,
                default=None,
                valid="[0, 1]",
                meaning="of the label of what is kept the most; as samples are mixed if not given",
            ),
        },
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=("no code of the authors is known to hold it against",),
        controls=("mixup",),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.label_weight import LabelWeight\n"
            "from vicinal.policies.schedule import Until\n"
            "\n"
            "weight = {label_weight}\n"
            "mixup = LabelWeight(vicinal.Mixup({alpha}), 'same' if weight is None else weight)\n"
            "schedule = Until(mixup, {fraction})\n"
            "step, steps = 0, 1000\n"
            "\n"
            "# in the training loop\n"
            "mixed, target = schedule.at(step / steps)(x, y)\n"
            "loss = target.loss(model(mixed))\n"
            "step += 1"
        ),
        stage="prepared",
    )

    def __init__(
        self, fraction: float = 0.6, *, alpha: float = 1.0, label_weight: float | None = None
    ) -> None:
        self.card.check(fraction=fraction, alpha=alpha, label_weight=label_weight)
        mixup: Mixer = Mixup(alpha)
        if label_weight is not None:
            mixup = LabelWeight(mixup, label_weight)
        super().__init__(prepared=Until(mixup, fraction))
        self.fraction = fraction
        self.alpha = alpha
        self.label_weight = label_weight
