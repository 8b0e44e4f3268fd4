"""Mixing across two groups of classes, and favouring the label of the rarer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.blend import need_shares
from vicinal.mixers.interpolate import Scope
from vicinal.mixers.masks import mix_by_mask
from vicinal.mixers.pairing import classes_of, from_another_group

if TYPE_CHECKING:
    from typing_extensions import Self

Rule = Literal["threshold", "smooth"]


@dataclass(frozen=True, eq=False)
class ClassGroups:
    """Two groups of classes, and how many samples there are of each class.

    rare: (C,) bool, the classes that need help: old ones of a stream, the tail of a distribution.
    counts: (C,) float, samples of each class; of what is seen of it, or kept in a memory.

    Raises:
        TypeError: the first is not bool.
        ValueError: the two are not of one length, or a count is negative.
    """

    rare: Tensor
    counts: Tensor

    def __post_init__(self) -> None:
        if self.rare.dtype != torch.bool:
            raise TypeError(f"rare must be (C,) bool, got {self.rare.dtype}")
        if self.rare.dim() != 1 or self.rare.shape != self.counts.shape:
            raise ValueError(
                f"rare and counts must be (C,), got {tuple(self.rare.shape)} and "
                f"{tuple(self.counts.shape)}"
            )
        if self.counts.device.type == "cpu" and bool((self.counts < 0).any()):
            raise ValueError("counts must not be negative")

    @classmethod
    def by_count(cls, classes: Tensor) -> Self:
        """The rarer half of the classes that are there against the others.

        Args:
            classes: (N,) int64, of all training rows.
        """
        counts = classes.bincount()
        rarest = counts.masked_fill(counts == 0, len(classes) + 1).argsort(stable=True)
        rare = torch.zeros(len(counts), dtype=torch.bool, device=counts.device)
        rare[rarest[: int((counts > 0).sum()) // 2]] = True
        return cls(rare, counts.float())


@dataclass(frozen=True)
class BalancedParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    kept: (B,) float32, the share of the own input, in [0, 1].
    own_weight: (B,) float32, the weight of the own label, in [0, 1].
    """

    partner: Tensor
    kept: Tensor
    own_weight: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """The same at every place, as `vicinal.core.partner_share` has it."""
        sizes = [len(along) for along in places]
        return (1 - self.kept).view(-1, *(1 for _ in sizes)).expand(-1, *sizes)


class BalancedMixup(Mixer):
    """Mix samples of common classes with samples of rare ones, and favour the rare in the label.

    What a model has seen much of it predicts too often. So every sample meets one of the other
    group, and the label of the rare class gets more than its share of the input. In a batch of one
    group nothing is mixed. Groups are new and old classes of a stream, or what `fit` finds: the
    rarer half of the classes against the other.

    Source: DualMix, 2023, section on AdpMix. The rule that it adapts the label by could not be
    verified, so that there are two: the threshold of Chou et al., Remix: Rebalanced Mixup, ECCV
    Workshops 2020, equation 6, and a smooth one.

    Args:
        alpha: both shapes of the Beta distribution of the own input's share; > 0.
        rule: `threshold` gives the rare class the whole label where the common one has at least
            `kappa` times as many samples and a share of the input below `tau`; `smooth` divides
            the odds of the common class by the ratio of the counts, to the power `power`.
        kappa: ratio of the counts, > 0.
        tau: share of the input, in [0, 1].
        power: >= 0; at 0 the label has the input's shares.
        scope: `sample` draws a share for every sample, `batch` one for all of them.
        groups: the two groups; None leaves it to `fit`.

    Raises:
        ValueError: a value is out of range; when it samples: the groups are not known yet, or do
            not know a class; there are no targets.
        TypeError: when it samples: the targets are no classes.
    """

    card = Card(
        name="balanced_mixup",
        kind="mixer",
        family="interpolation",
        modality=("any",),
        summary="Interpolates samples of common and rare classes, and favours the rare label.",
        systems=("dualmix",),
        paper=Paper(
            "DualMix: Unleashing the Potential of Data Augmentation for Online Class-Incremental "
            "Learning",
            venue="arXiv",
            year=2023,
            arxiv="2303.07864",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the own input's share",
            ),
            "rule": Options(
                ("threshold", "smooth"), "threshold", meaning="what favours the rare label"
            ),
            "kappa": Range(
                1.0,
                10.0,
                default=3.0,
                valid="(0, inf)",
                meaning="threshold: ratio of the counts from which on the rare label is all",
            ),
            "tau": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, 1]",
                meaning="threshold: share of the common input below which it is",
            ),
            "power": Range(
                0.0,
                2.0,
                default=1.0,
                valid="[0, inf)",
                meaning="smooth: of the ratio of the counts; at 0 it is mixup across the groups",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one share"),
        },
        needs=("labels", "classes of unequal numbers to make a difference"),
        targets=("classes", "soft"),
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "no code of the authors is known, and their rule for the label could not be verified: "
            "threshold is that of Remix, smooth is its continuous twin",
        ),
        controls=("mixup", "balanced_mixup:rule=smooth:power=0"),
        example=(
            "data = vicinal.Batch.of(x, y)  # all training rows\n"
            "mix = vicinal.BalancedMixup().fit(data)\n"
            "x, target = mix(x, y)\n"
            "loss = target.loss(model(x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        rule: Rule = "threshold",
        kappa: float = 3.0,
        tau: float = 0.5,
        power: float = 1.0,
        scope: Scope = "sample",
        groups: ClassGroups | None = None,
    ) -> None:
        self.card.check(alpha=alpha, rule=rule, kappa=kappa, tau=tau, power=power, scope=scope)
        self.alpha = alpha
        self.rule = rule
        self.kappa = kappa
        self.tau = tau
        self.power = power
        self.scope = scope
        self.groups = groups
        self.unfitted = groups is None

    def fit(self, data: Batch) -> Self:
        groups = ClassGroups.by_count(classes_of(data))
        return type(self)(**self.settings() | {"groups": groups})

    def sample(self, batch: Batch, draws: Draws) -> BalancedParams:
        if self.groups is None:
            raise ValueError(
                "balanced mixup has to know which classes are rare: call fit(data) first, with a "
                "Batch of all training rows, or pass groups"
            )
        classes = classes_of(batch)
        known = len(self.groups.counts)
        if classes.device.type == "cpu" and len(classes) and int(classes.max()) >= known:
            raise ValueError(
                f"the groups are of {known} classes, the batch has class {classes.max()}"
            )
        rare = self.groups.rare.to(classes.device)[classes]
        place = from_another_group(
            rare.long(), torch.arange(len(batch), device=classes.device), draws
        )
        source = draws.shared() if self.scope == "batch" else draws
        drawn = source.beta("kept", self.alpha, self.alpha)
        kept = drawn.where(rare != rare[place], 1.0)  # where there is nobody to mix it with
        own, other = self.groups.counts.to(kept)[torch.stack([classes, classes[place]])]
        ratio = torch.where(rare, other / own.clamp(min=1), own / other.clamp(min=1))
        common = self.label_share(torch.where(rare, 1 - kept, kept), ratio)
        return BalancedParams(batch.index[place], kept, torch.where(rare, 1 - common, common))

    def label_share(self, share: Tensor, ratio: Tensor) -> Tensor:
        """What the label of the common class gets for its share of the input.

        Args:
            share: (B,) in [0, 1].
            ratio: (B,) samples of the common class to those of the rare one.

        Returns:
            (B,) in [0, 1].
        """
        if self.rule == "smooth":
            return smooth_share(share, ratio, power=self.power)
        return threshold_share(share, ratio, kappa=self.kappa, tau=self.tau)

    def apply(self, batch: Batch, params: BalancedParams) -> Batch:
        x = batch.tensor
        need_shares("the weight kept", params.kept)
        own = params.kept.view(-1, *(1,) * (x.dim() - 2)).expand(-1, *x.shape[2:])
        return mix_by_mask(batch, params.partner, own, kept=params.own_weight)


def threshold_share(share: Tensor, ratio: Tensor, *, kappa: float, tau: float) -> Tensor:
    """Nothing where the ratio is at least kappa and the share below tau; else the share itself."""
    return torch.where((ratio >= kappa) & (share < tau), 0.0, share)


def smooth_share(share: Tensor, ratio: Tensor, *, power: float) -> Tensor:
    """The share whose odds are those of the input's, divided by ratio ** power."""
    # As long as a share is not 0, its odds are not lost, however large the ratio.
    other = (1 - share) * ratio.double().pow(power)
    return (share / (share + other)).to(share.dtype)
