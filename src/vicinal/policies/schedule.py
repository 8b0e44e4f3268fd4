"""Augmentations that change over training: on until a moment, from a moment on, more and more."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.policies.sometimes import Scope, Unchanged, sometimes

if TYPE_CHECKING:
    from typing_extensions import Self


class Schedule(Augmentation):
    """An augmentation for every moment of training.

    It does not count steps, and so has nothing to save: `at` says what it is when a share of
    training is over. `Supervised` asks in every step; so does a training loop of one's own:

        x, target = schedule.at(step / steps)(x, y)

    In step `s` of `S`, the first of which is 0, the share is s / S.
    """

    @abstractmethod
    def at(self, done: float) -> Augmentation:
        """What it is at a moment. done: share of training that is over, in [0, 1]."""

    def sample(self, batch: Batch, draws: Draws) -> Params:
        """Refused, since nothing says when it is. Raises ValueError."""
        raise ValueError(self._moment_is_needed())

    def apply(self, batch: Batch, params: Any) -> Batch:
        """Refused, since nothing says when it is. Raises ValueError."""
        raise ValueError(self._moment_is_needed())

    def _moment_is_needed(self) -> str:
        return (
            f"{type(self).__name__} changes over training: take what it is at a moment, "
            "schedule.at(step / steps)"
        )


class Until(Schedule):
    """Apply an augmentation in the first part of training, and another or none after it.

    With S steps it is applied in those below ceil(fraction * S). What comes after it costs what it
    costs alone: once mixing has ended, samples and labels are the very same as without it, and no
    model is asked for saliency.

    Source: Zou, Cao, Li, Gu, The Benefits of Mixup for Feature Learning, ICML 2023, for mixup
    that is stopped early. No code of theirs is known.

    Args:
        augmentation: applied at first.
        fraction: share of training after which it is not applied any more, in [0, 1]. At 1 it
            always is.
        then: applied afterwards; nothing by default.

    Raises:
        TypeError: one of the two is no augmentation.
        ValueError: the fraction is out of range.
    """

    def __init__(
        self, augmentation: Augmentation, fraction: float = 0.6, *, then: Augmentation | None = None
    ) -> None:
        _check_augmentation("augmentation", augmentation)
        if then is not None:
            _check_augmentation("then", then)
        _check_share("fraction", fraction)
        self.augmentation = augmentation
        self.fraction = fraction
        self.then = then
        parts = (augmentation,) if then is None else (augmentation, then)
        self.probes: tuple[Probe, ...] = tuple(
            dict.fromkeys(probe for part in parts for probe in part.probes)
        )
        self.pooled = any(part.pooled for part in parts)
        self.unfitted = any(part.unfitted for part in parts)

    def fit(self, data: Batch) -> Self:
        then = None if self.then is None else self.then.fit(data)
        return type(self)(self.augmentation.fit(data), self.fraction, then=then)

    def at(self, done: float) -> Augmentation:
        _check_share("done", done)
        # The quotient s / S is rounded once, fraction * S would be rounded again: 0.07 * 100 > 7.
        if done < self.fraction:
            return self.augmentation
        return Unchanged() if self.then is None else self.then


class Ramp(Schedule):
    """Apply an augmentation with a probability that changes over training.

    The probability is `first` before `start`, `last` from `stop` on, and on a straight line
    between them. Where `start` and `stop` are one moment it is switched there.

    Args:
        augmentation: applied at the times that the draws say.
        first: probability at first, in [0, 1].
        last: in the end, in [0, 1].
        start: share of training after which the probability begins to change, in [0, 1].
        stop: share after which it has changed, at least `start`.
        scope: `sample` decides for every sample, `batch` once for all of them.

    Raises:
        TypeError: the augmentation is none.
        ValueError: a value is out of range, or the scope is unknown.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        first: float = 0.0,
        *,
        last: float = 1.0,
        start: float = 0.0,
        stop: float = 1.0,
        scope: Scope = "sample",
    ) -> None:
        _check_augmentation("augmentation", augmentation)
        for name, share in {"first": first, "last": last, "start": start, "stop": stop}.items():
            _check_share(name, share)
        if stop < start:
            raise ValueError(f"stop must be at least start, which is {start}, got {stop}")
        if scope not in ("sample", "batch"):
            raise ValueError(f"scope must be sample or batch, got {scope!r}")
        self.augmentation = augmentation
        self.first = first
        self.last = last
        self.start = start
        self.stop = stop
        self.scope: Scope = scope
        self.probes = augmentation.probes
        self.pooled = augmentation.pooled
        self.unfitted = augmentation.unfitted

    def fit(self, data: Batch) -> Self:
        return type(self)(**self.settings() | {"augmentation": self.augmentation.fit(data)})

    def probability(self, done: float) -> float:
        """With which a sample is augmented. done: share of training that is over, in [0, 1]."""
        _check_share("done", done)
        if done < self.start:
            return self.first
        if done >= self.stop:
            return self.last
        passed = (done - self.start) / (self.stop - self.start)
        return self.first + passed * (self.last - self.first)

    def at(self, done: float) -> Augmentation:
        return sometimes(self.augmentation, self.probability(done), scope=self.scope)


def at(augmentation: Augmentation, done: float) -> Augmentation:
    """What an augmentation is at a moment, where it or a part of it is a schedule.

    Args:
        augmentation: any; without a schedule in it, it is returned as it is.
        done: share of training that is over, in [0, 1].
    """
    if isinstance(augmentation, Schedule):
        return at(augmentation.at(done), done)
    now = {name: _parts_at(value, done) for name, value in vars(augmentation).items()}
    changed = {name: new for name, new in now.items() if new is not vars(augmentation)[name]}
    return type(augmentation)(**augmentation.settings() | changed) if changed else augmentation


def _parts_at(value: Any, done: float) -> Any:
    """An attribute at a moment: itself, if no schedule is in it."""
    if isinstance(value, Augmentation):
        return at(value, done)
    if isinstance(value, tuple | list):
        parts = type(value)(_parts_at(part, done) for part in value)
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else parts
    return value


def _check_augmentation(name: str, value: Any) -> None:
    if not isinstance(value, Augmentation):
        raise TypeError(f"{name} must be an augmentation, got {value!r}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
