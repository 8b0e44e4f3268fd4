"""What an augmentation is at a moment of training."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.ground import BATCH, images, run, weights
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, Sequence, Target
from vicinal.compare.training import Progress
from vicinal.core.augmentation import Augmentation
from vicinal.core.method import Learner
from vicinal.core.probe import Saliency
from vicinal.methods.plain import Plain
from vicinal.methods.supervised import Supervised
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.policies.schedule import Ramp, Until, at
from vicinal.policies.sometimes import Sometimes, SometimesMixer, Unchanged
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip

EPOCHS, STEPS_AN_EPOCH = 3, 60 // BATCH
STEPS = EPOCHS * STEPS_AN_EPOCH


class Watched(Supervised):
    """Keeps what goes into the model, step by step."""

    def __init__(self, **parts: Augmentation) -> None:
        super().__init__(**parts)
        self.seen: dict[int, Batch] = {}

    def augmented(self, learner: Learner, batch: Batch) -> Any:
        result = super().augmented(learner, batch)
        self.seen[learner.step] = result[0]
        return result


def mixed(batch: Batch) -> bool:
    assert isinstance(batch.target, ClassTarget)
    return batch.target.weights is not None


@given(steps=st.integers(1, 2000), hundredths=st.integers(0, 100))
def test_it_is_on_in_the_steps_below_the_fraction_rounded_up(steps: int, hundredths: int) -> None:
    schedule = Until(Mixup(), hundredths / 100)
    edge = math.ceil(Fraction(hundredths, 100) * steps)
    for step in {0, edge - 1, edge, steps - 1} & set(range(steps)):
        assert isinstance(schedule.at(step / steps), Mixup) == (step < edge)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.6, 0.85, 1.0])
def test_training_mixes_in_exactly_those_steps_and_then_has_the_samples_themselves(
    fraction: float,
) -> None:
    method, plain = Watched(prepared=Until(Mixup(), fraction)), Watched()
    run(method, epochs=EPOCHS)
    run(plain, epochs=EPOCHS)
    on = {step for step, batch in method.seen.items() if mixed(batch)}
    assert on == set(range(math.ceil(Fraction(str(fraction)) * STEPS)))
    for step in set(range(STEPS)) - on:
        assert torch.equal(method.seen[step].x, plain.seen[step].x)
        assert method.seen[step].target is not None
        assert method.seen[step].target.equal(plain.seen[step].target)


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_a_resumed_training_switches_in_the_same_step(epochs_before: int) -> None:
    saved: dict[str, Any] = {}

    def observe(learner: Learner, progress: Progress) -> None:
        if progress.epoch == epochs_before:
            saved.update(copy.deepcopy(learner.state_dict()))

    # With 15 steps the switch is in the second epoch, at step 7.
    whole, resumed = Watched(prepared=Until(Mixup(), 0.45)), Watched(prepared=Until(Mixup(), 0.45))
    first, _ = run(whole, epochs=EPOCHS, observe=observe)
    second, _ = run(resumed, epochs=EPOCHS, state=saved)
    left = range(epochs_before * STEPS_AN_EPOCH, STEPS)
    assert list(resumed.seen) == list(left)
    assert [mixed(resumed.seen[step]) for step in left] == [step < 7 for step in left]
    assert torch.equal(weights(first.model), weights(second.model))


def test_a_learner_taken_up_at_any_step_knows_what_is_due() -> None:
    method = Watched(prepared=Until(Mixup(), 0.6))
    learner, _ = run(method, epochs=EPOCHS)
    batch = images().batch(torch.arange(12), epoch=0)
    for step in range(STEPS):
        learner.load_state_dict(learner.state_dict() | {"step": step})
        assert mixed(method.augmented(learner, batch)[0]) == (step < 9)


def test_always_and_never_train_as_the_mixer_and_as_nothing_do() -> None:
    def trained(method: Supervised) -> Tensor:
        return weights(run(method)[0].model)

    assert torch.equal(
        trained(Supervised(prepared=Until(Mixup(), 1.0))), trained(Supervised(prepared=Mixup()))
    )
    assert torch.equal(trained(Supervised(prepared=Until(Mixup(), 0.0))), trained(Plain()))


def test_raw_inputs_are_scheduled_too() -> None:
    plain, method = Watched(), Watched(raw=Until(PadCrop(2), 0.4))
    run(plain, epochs=EPOCHS)
    run(method, epochs=EPOCHS)
    changed = [not torch.equal(method.seen[s].x, plain.seen[s].x) for s in range(STEPS)]
    assert changed == [step < 6 for step in range(STEPS)]


class AskingMixup(Mixup):
    """Asks for saliency, which costs a pass, and counts what it got."""

    probes = (Saliency(),)
    heard: list[bool] = []  # noqa: RUF012

    def sample(self, batch: Batch, draws: Draws) -> Any:
        self.heard.append(self.probes[0] in batch.evidence)
        return super().sample(batch, draws)


def test_the_model_is_asked_only_while_it_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    answer = Saliency.answer

    def counted(self: Saliency, model: torch.nn.Module, batch: Batch) -> Tensor:
        passes.append(len(batch))
        return answer(self, model, batch)

    monkeypatch.setattr(Saliency, "answer", counted)
    AskingMixup.heard.clear()
    run(Supervised(prepared=Until(AskingMixup(), 0.6)), epochs=EPOCHS)
    assert AskingMixup.heard == [True] * 9
    assert len(passes) == 9


def test_something_else_may_follow() -> None:
    schedule = Until(Mixup(), 0.5, then=CutMix())
    assert isinstance(schedule.at(0.49), Mixup)
    assert isinstance(schedule.at(0.5), CutMix)
    nested = Until(Mixup(), 0.5, then=Until(CutMix(), 0.8))
    assert isinstance(at(nested, 0.7), CutMix)
    assert isinstance(at(nested, 0.8), Unchanged)


def test_a_plain_loop_asks_for_the_moment() -> None:
    x, y = torch.randn(4, 3), torch.arange(4)
    schedule = Until(Mixup(), 0.5)
    with pytest.raises(ValueError, match=r"schedule.at\(step / steps\)"):
        schedule(x, y)
    generator = torch.Generator().manual_seed(0)
    early, target = schedule.at(1 / 10)(x, y, generator=generator)
    assert not torch.equal(early, x)
    late, target = schedule.at(5 / 10)(x, y, generator=generator)
    assert torch.equal(late, x)
    assert target.equal(Target.of(y))


def test_a_ramp_rises_on_a_straight_line() -> None:
    ramp = Ramp(Mixup(), 0.2, last=0.8, start=0.25, stop=0.75)
    moments = {0.0: 0.2, 0.2: 0.2, 0.25: 0.2, 0.5: 0.5, 0.6: 0.62, 0.75: 0.8, 1.0: 0.8}
    for done, wanted in moments.items():
        assert ramp.probability(done) == pytest.approx(wanted)
    switch = Ramp(Mixup(), start=0.8, stop=0.8)
    assert isinstance(switch.at(0.79), Unchanged)
    assert isinstance(switch.at(0.8), Mixup)


def test_a_ramp_augments_as_many_samples_as_it_says() -> None:
    x = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(x, torch.arange(3000))
    for done in (0.25, 0.75):
        moment = Ramp(Mixup()).at(done)
        assert isinstance(moment, SometimesMixer)
        result, _ = moment.augment(batch, Draws(0, batch.index))
        changed = (result.x != x).any(dim=1).double().mean().item()
        assert changed == pytest.approx(done, abs=0.03)


def test_schedules_inside_of_others_are_found() -> None:
    flip, crop = HorizontalFlip(), PadCrop(2)
    both = Sequence([flip, Until(crop, 0.5)])
    early, late = at(both, 0.2), at(both, 0.5)
    assert isinstance(early, Sequence)
    assert early.parts == (flip, crop)
    assert isinstance(late, Sequence)
    assert isinstance(late.parts[1], Unchanged)
    assert isinstance(at(Sometimes(Until(flip, 0.5), 0.5), 0.7), Sometimes)
    unscheduled = RandomChoice([Mixup(), CutMix()])
    assert at(unscheduled, 0.3) is unscheduled


class Fitted(HorizontalFlip):
    """Has to see the training rows, and remembers how many there were."""

    rows = 0

    @property
    def unfitted(self) -> bool:  # type: ignore[override]
        return not self.rows

    def fit(self, data: Batch) -> Fitted:
        fitted = copy.copy(self)
        fitted.rows = len(data)
        return fitted


@pytest.mark.parametrize(
    "schedule",
    [Until(Fitted(), 0.6), Until(HorizontalFlip(), 0.6, then=Fitted()), Ramp(Fitted())],
    ids=repr,
)
def test_what_is_scheduled_sees_the_training_rows(schedule: Until | Ramp) -> None:
    assert schedule.unfitted
    learner, _ = run(Supervised(raw=schedule), epochs=1)
    part = learner.fitted["raw"]
    assert not part.unfitted
    parts: Mapping[str, Any] = vars(part)
    assert any(getattr(one, "rows", 0) == 60 for one in parts.values())


def test_what_makes_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got 1.5"):
        Until(Mixup(), 1.5)
    with pytest.raises(TypeError, match="augmentation must be an augmentation"):
        Until(torch.nn.ReLU())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="then must be an augmentation"):
        Until(Mixup(), then="cutmix")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"stop must be at least start, which is 0.5, got 0.4"):
        Ramp(Mixup(), start=0.5, stop=0.4)
    with pytest.raises(ValueError, match=r"last must be in \[0, 1\], got nan"):
        Ramp(Mixup(), last=math.nan)
    with pytest.raises(ValueError, match="scope must be sample or batch"):
        Ramp(Mixup(), scope="group")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"done must be in \[0, 1\], got 12"):
        Until(Mixup()).at(12)
    with pytest.raises(ValueError, match=r"done must be in \[0, 1\], got -1"):
        Ramp(Mixup()).at(-1)
