"""DualMix: experience replay with two mixers, one for distance and one for balance."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.method import Learner, Setting
from vicinal.methods.en_mix import ALPHA, STRONG, check_strong, enhanced
from vicinal.methods.experience_replay import NEEDS, PARAMETERS, ExperienceReplay
from vicinal.mixers.balanced_mixup import BalancedMixup, ClassGroups, Rule
from vicinal.mixers.interpolate import Mixup
from vicinal.policies.trivialaugment import TrivialAugment


class DualMix(ExperienceReplay):
    """Replay, and train on two mixtures of every batch as well, in the same step.

    EnMix mixes strongly augmented samples, so that what is replayed does not look like what is
    stored. AdpMix, here `BalancedMixup`, mixes new classes with old ones and favours the old in the
    label, by how many rows of a new class have arrived to how many of an old one are kept; while
    there are no old classes it is left out.

    Source: DualMix: Unleashing the Potential of Data Augmentation for Online Class-Incremental
    Learning, 2023.

    Args:
        tasks: parts that the classes come in, >= 1.
        memory: rows kept, >= 1.
        replayed: rows from the memory to rows that arrive in a batch, >= 0.
        alpha: both shapes of the Beta distribution of both mixers; > 0.
        en_weight: of EnMix's loss, >= 0; 0 leaves it out.
        adp_weight: of AdpMix's loss, >= 0; 0 leaves it out.
        rule: of the label in AdpMix, see `BalancedMixup`.
        strong: augments raw samples for EnMix, after the task's baseline; TrivialAugment by
            default.

    Raises:
        ValueError: a value is out of range; before training: the task has no classes, or strong is
            for other data.
    """

    card = Card(
        name="dualmix",
        kind="method",
        family="class-incremental",
        modality=("image",),
        summary="Replays classes that arrive some at a time, with two mixtures of each batch.",
        systems=("dualmix",),
        paper=BalancedMixup.card.paper,
        parameters={
            **PARAMETERS,
            "alpha": ALPHA,
            "en_weight": Range(
                0.0, 2.0, default=1.0, valid="[0, inf)", meaning="of the strongly augmented mixture"
            ),
            "adp_weight": Range(
                0.0, 2.0, default=1.0, valid="[0, inf)", meaning="of the mixture of new and old"
            ),
            "rule": BalancedMixup.card.parameters["rule"],
        },
        needs=(*NEEDS,),
        cost="two more forward and backward passes",
        targets=("classes",),
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            *BalancedMixup.card.differs,
            STRONG,
            "one step for each batch that arrives, where the paper allows several rounds",
            "weights of the losses are not known from the paper",
        ),
        controls=(
            "experience_replay",
            "dualmix:adp_weight=0",
            "dualmix:en_weight=0",
        ),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.mixers.balanced_mixup import ClassGroups\n"
            "from vicinal.mixers.with_partners import WithPartners\n"
            "\n"
            "enmix = WithPartners(vicinal.Mixup({alpha}), vicinal.TrivialAugment())\n"
            "\n"
            "# in the training loop; x, y are what arrived and what is replayed; yours are which\n"
            "# classes are old, and rows seen of new and kept of old ones\n"
            "old, counts = torch.arange(5) < 2, torch.tensor([20.0, 20.0, 90.0, 90.0, 90.0])\n"
            "adp_mix = vicinal.BalancedMixup(\n"
            "    {alpha}, rule={rule}, groups=ClassGroups(old, counts)\n"
            ")\n"
            "far, far_target = enmix(x, y)\n"
            "balanced, balanced_target = adp_mix(normalise(x), y)\n"
            "loss = vicinal.Target.of(y).loss(model(normalise(x)))\n"
            "loss = loss + {en_weight} * far_target.loss(model(normalise(far)))\n"
            "loss = loss + {adp_weight} * balanced_target.loss(model(balanced))"
        ),
    )

    def __init__(
        self,
        tasks: int = 5,
        *,
        memory: int = 200,
        replayed: float = 1.0,
        alpha: float = 1.0,
        en_weight: float = 1.0,
        adp_weight: float = 1.0,
        rule: Rule = "threshold",
        strong: Augmentation | None = None,
    ) -> None:
        self.card.check(alpha=alpha, en_weight=en_weight, adp_weight=adp_weight, rule=rule)
        super().__init__(tasks, memory=memory, replayed=replayed)
        self.alpha = alpha
        self.en_weight = en_weight
        self.adp_weight = adp_weight
        self.rule: Rule = rule
        self.strong = TrivialAugment() if strong is None else strong

    def start(self, setting: Setting) -> Learner:
        check_strong(self.strong, setting)
        return super().start(setting)

    def losses(self, learner: Learner, union: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        total, report = super().losses(learner, union)
        if self.en_weight:
            far = self.far(learner, union)
            total = total + self.en_weight * _loss(learner, far)
        groups = self.groups(learner)
        if self.adp_weight and bool(groups.rare.any()):
            seen, _ = self.augmented(learner, union)
            mixer = BalancedMixup(self.alpha, rule=self.rule, groups=groups)
            balanced, _ = mixer.augment(seen, learner.draws(union).within("adp_mix"))
            total = total + self.adp_weight * _loss(learner, balanced)
        return total, report

    def far(self, learner: Learner, union: Batch) -> Batch:
        """Mixtures of strongly augmented samples, as the model sees them."""
        mixer = enhanced(Mixup(self.alpha), self.strong, learner.setting.baseline)
        mixed, _ = mixer.augment(union, learner.draws(union).within("enmix"))
        return mixed.replace(x=learner.setting.prepare(mixed.x))

    def groups(self, learner: Learner) -> ClassGroups:
        """Old classes against those of this task, by rows arrived of new ones and kept of old."""
        arrived, new = learner.memory["arrived"], learner.memory["new"]
        old = (arrived > 0) & ~new
        kept = learner.memory["kept"][old].sum() / old.sum().clamp(min=1)
        return ClassGroups(old, torch.where(old, kept, arrived.float()))


def _loss(learner: Learner, mixed: Batch) -> Tensor:
    assert mixed.target is not None
    return mixed.target.loss(learner.model(mixed.x))
