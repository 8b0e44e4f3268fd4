"""In place of `timm.data.Mixup`: the same arguments, the same call, the same targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import ClassTarget, MultiLabelTarget, Target
from vicinal.mixers.choice import RandomChoice, Unmixed
from vicinal.mixers.interpolate import Mixup as Interpolation
from vicinal.mixers.pairing import Reversed
from vicinal.mixers.paste import CutMix

Mode = Literal["batch", "pair", "elem"]


class Mixup:
    """Mixup or CutMix of a batch and its labels, as timm's training script asks for it.

    Where timm is: `mixup_fn = Mixup(...)`, `x, target = mixup_fn(x, target)`, and
    `SoftTargetCrossEntropy` for the loss. It differs from timm's in three things: the input is left
    as it is unless `in_place`; batches may have an odd size; boxes have the even sides of the
    CutMix authors' code.

    Args:
        mixup_alpha: shape of Mixup's Beta distribution; 0 turns Mixup off.
        cutmix_alpha: shape of CutMix's Beta distribution; 0 turns CutMix off.
        cutmix_minmax: least and largest side of the box instead, as shares of the image's.
        prob: how often a batch, pair or sample is mixed, in [0, 1].
        switch_prob: how often by CutMix where both are on, in [0, 1].
        mode: what shares one draw: the `batch`, a `pair`, or nothing (`elem`).
        correct_lam: weigh labels by the box as it was clipped; vicinal knows no other way.
        label_smoothing: weight spread over all classes, in [0, 1).
        num_classes: length of the targets.
        multi_label: labels are (B, num_classes), each smoothed towards one half.
        in_place: write over the input, as timm does.
        generator: where numbers come from; torch's global generator by default.

    Raises:
        ValueError: neither Mixup nor CutMix is on, a value is out of range, the mode is unknown, or
            `correct_lam` is off.
    """

    def __init__(
        self,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        cutmix_minmax: Sequence[float] | None = None,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: Mode = "batch",
        correct_lam: bool = True,
        label_smoothing: float = 0.1,
        num_classes: int = 1000,
        multi_label: bool = False,
        *,
        in_place: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if mode not in ("batch", "pair", "elem"):
            raise ValueError(f"mode must be batch, pair or elem, got {mode!r}")
        if not correct_lam:
            raise ValueError("correct_lam=False would weigh labels by a box that is not there")
        for name, share in {"prob": prob, "switch_prob": switch_prob}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        minmax = None if cutmix_minmax is None else (cutmix_minmax[0], cutmix_minmax[1])
        mixers: list[Mixer] = []
        weights: list[float] = []
        both = mixup_alpha > 0 and (cutmix_alpha > 0 or minmax is not None)
        if mixup_alpha > 0:
            mixers.append(Interpolation(mixup_alpha, pairing=Reversed()))
            weights.append(1 - switch_prob if both else 1.0)
        if cutmix_alpha > 0 or minmax is not None:
            alpha = cutmix_alpha if minmax is None else 1.0
            mixers.append(CutMix(alpha, minmax=minmax, pairing=Reversed()))
            weights.append(switch_prob if both else 1.0)
        if not mixers:
            raise ValueError("one of mixup_alpha > 0, cutmix_alpha > 0 and cutmix_minmax is needed")
        chosen = [weight * prob for weight in weights]
        self.mixer = RandomChoice([*mixers, Unmixed()], [*chosen, 1 - prob])
        self.mode = mode
        self.label_smoothing = label_smoothing
        self.num_classes = num_classes
        self.multi_label = multi_label
        self.in_place = in_place
        self.generator = generator
        #: Set to false by timm's training script for the last epochs.
        self.mixup_enabled = True

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            x: (B, C, H, W) floats.
            target: (B,) classes, or (B, num_classes) if multi_label.

        Returns:
            x, new unless `in_place`, and (B, num_classes) float targets.
        """
        labels: Target
        if self.multi_label:
            smoothed = target.float() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            labels = MultiLabelTarget(smoothed)
        else:
            labels = ClassTarget(target.long()[:, None]).smooth(self.label_smoothing)
        batch = Batch.of(x, labels)
        if self.mixup_enabled:
            draws = Draws.from_generator(self.generator, batch.index)
            mixed, _ = self.mixer.augment(batch, self._scoped(draws))
            if self.in_place:
                mixed = mixed.replace(x=x.copy_(mixed.x))
            batch = mixed
        assert isinstance(batch.target, ClassTarget | MultiLabelTarget)
        return batch.tensor, batch.target.dense(self.num_classes)

    def _scoped(self, draws: Draws) -> Draws:
        if self.mode == "batch":
            return draws.shared()
        if self.mode == "pair":
            rows = torch.arange(len(draws))
            return draws.grouped(rows.minimum(rows.flip(0)))
        return draws
