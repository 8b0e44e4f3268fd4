"""EnMix: augment strongly, then mix."""

from __future__ import annotations

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.methods.supervised import Supervised
from vicinal.mixers.balanced_mixup import BalancedMixup
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.with_partners import WithPartners
from vicinal.policies.trivialaugment import TrivialAugment
from vicinal.transforms.sequence import Sequence

#: What EnMix and DualMix share.
ALPHA = Range(
    0.1,
    4.0,
    default=1.0,
    scale="log",
    valid="(0, inf)",
    meaning="both shapes of the Beta distribution of the weight kept",
)
STRONG = (
    "the strong augmentation is the task's baseline and TrivialAugment, where the paper has "
    "random resized crops, flips, colour jitter and grey"
)


class EnMix(Supervised):
    """Augment a sample and its partner strongly, each on its own, and mix the two and their labels.

    Strong augmentation takes a sample far from what the model has seen, and often from its label
    too; mixed with another, it is labelled by half anyway. A sample that meets itself is a mixture
    of two views.

    Source: DualMix, 2023, section on EnMix.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        strong: augments raw samples, after the task's baseline; TrivialAugment by default.

    Raises:
        ValueError: alpha is not positive; before training: strong is for other data.
    """

    card = Card(
        name="enmix",
        kind="method",
        family="interpolation",
        modality=("image",),
        summary="Augments two samples strongly, each on its own, then interpolates them.",
        systems=BalancedMixup.card.systems,
        paper=BalancedMixup.card.paper,
        parameters={"alpha": ALPHA},
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=("no code of the authors is known", STRONG),
        controls=("trivialaugment", "mixup"),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.with_partners import WithPartners\n"
            "\n"
            "mix = WithPartners(vicinal.Mixup(alpha={alpha}), vicinal.TrivialAugment())\n"
            "\n"
            "# in the training loop, on uint8 images x; normalise is yours\n"
            "x, target = mix(x, y)\n"
            "loss = target.loss(model(normalise(x)))"
        ),
    )

    def __init__(self, alpha: float = 1.0, *, strong: Augmentation | None = None) -> None:
        self.card.check(alpha=alpha)
        super().__init__()
        self.alpha = alpha
        self.strong = TrivialAugment() if strong is None else strong

    def start(self, setting: Setting) -> Learner:
        check_strong(self.strong, setting)
        return super().start(setting)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        mixer = enhanced(Mixup(self.alpha), self.strong, learner.setting.baseline)
        mixed, params = mixer.augment(batch, learner.draws(batch).within("enmix"))
        return mixed.replace(x=learner.setting.prepare(mixed.x)), params


def enhanced(mixer: Mixer, strong: Augmentation, baseline: Augmentation | None) -> WithPartners:
    """A mixer of raw samples that are augmented first, each on its own."""
    parts = [strong] if baseline is None else [baseline, strong]
    return WithPartners(mixer, Sequence(parts))


def check_strong(strong: Augmentation, setting: Setting) -> None:
    """Raise ValueError where an augmentation is not for the data of the task."""
    card = getattr(strong, "card", None)
    if card is not None and not card.suits(setting.modality):
        raise ValueError(
            f"{type(strong).__name__} augments {' and '.join(card.modality)} data, and these are "
            f"{setting.modality}: pass another augmentation as strong"
        )
