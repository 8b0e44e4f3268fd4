from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core import registry
from vicinal.core.card import Options, Range
from vicinal.core.errors import InputError
from vicinal.core.task import Task
from vicinal.methods.arms import KINDS, Arm, fitting_arms, parse_arm, parse_arms, with_controls
from vicinal.methods.augmix import AugMixConsistency
from vicinal.methods.plain import Bare, Plain
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.policies.augmix import AugMix
from vicinal.policies.randaugment import RandAugment


def table(*, classes: tuple[str, ...] = ("a", "b")) -> Task:
    y = torch.arange(6) % 2
    kind = "classification" if classes else "regression"
    return Task("table", "tabular", kind, torch.zeros(6, 2), y if classes else y.float(), classes)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_arms(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is understood.


def test_names_become_arms_in_their_order() -> None:
    arms = parse_arms("none,mixup,bare")
    assert [arm.label for arm in arms] == ["none", "mixup", "bare"]
    assert [arm.component for arm in arms] == [Plain, Mixup, Bare]


def test_all_mixers_are_those_that_can_be_built_without_being_told_more() -> None:
    labels = [arm.label for arm in parse_arms("none,all-mixers")]
    assert labels[0] == "none"
    assert {"mixup", "cutmix", "snapmix", "manifold_mixup", "transmix"} < set(labels)
    mixing = {one.card.name for one in registry.components() if one.card.mixes}
    assert set(labels[1:]) <= mixing
    for name in mixing - set(labels):
        with pytest.raises(InputError):
            parse_arm(name)
    assert "mixup more than once" in refusal("mixup,all-mixers")


@pytest.mark.parametrize(
    "text",
    [
        "cutmix:alpha=0.5:prob=0.25,none",
        "cutmix,alpha=0.5,prob=0.25,none",
        "cutmix:alpha=0.5,prob=0.25,none",
        "cutmix:prob=0.25:alpha=0.5,none",
        " cutmix : alpha = 0.5 , prob = 0.25 , none ,",
    ],
)
def test_parameters_follow_after_colons_or_commas_in_any_order(text: str) -> None:
    cutmix, none = parse_arms(text)
    assert cutmix.label == "cutmix:alpha=0.5:prob=0.25"
    assert cutmix.parameters == {"alpha": 0.5, "prob": 0.25}
    built = cutmix.build()
    assert isinstance(built, CutMix)
    assert (built.alpha, built.prob, built.scope) == (0.5, 0.25, "sample")
    assert none.label == "none"


def test_a_parameter_that_is_the_default_is_not_told() -> None:
    assert parse_arm("mixup:alpha=1").label == "mixup"
    assert parse_arm("mixup:alpha=1.0:scope=batch").label == "mixup:scope=batch"


def test_one_name_may_come_twice_with_other_parameters() -> None:
    arms = parse_arms("mixup,mixup:alpha=0.2,mixup:scope=batch")
    assert len({arm.label for arm in arms}) == 3


#: Those that a name on the command line can mean; a method hides the policy of its name.
NAMED = [
    component
    for component in registry.components()
    if registry.find(component.card.name, kinds=KINDS) is component
]


@pytest.mark.parametrize("component", NAMED, ids=lambda one: one.__name__)
def test_a_label_reads_as_the_arm_it_names(component: type) -> None:
    card = component.card
    settings = []
    for name, parameter in card.parameters.items():
        if isinstance(parameter, Range):
            settings.append(f"{name}={parameter.high:g}")
        elif isinstance(parameter, Options):
            settings.append(f"{name}={parameter.values[-1]}")
    for setting in ["", *settings]:  # one at a time: not every two go together
        arm = parse_arm(":".join(filter(None, [card.name, setting])))
        again = parse_arm(arm.label)
        assert again.label == arm.label
        assert again.parameters == {
            name: value
            for name, value in arm.parameters.items()
            if value != card.parameters[name].default
        }


@given(alpha=st.floats(1e-3, 1e3))
def test_numbers_survive_their_label(alpha: float) -> None:
    arm = parse_arm(f"mixup:alpha={alpha!r}")
    assert parse_arm(arm.label).build().alpha == alpha


# What it is trained with.


def test_an_augmentation_alone_is_trained_in_the_plain_way() -> None:
    mixer, policy = (parse_arm(name).method() for name in ("mixup", "randaugment"))
    assert isinstance(mixer, Supervised)
    assert isinstance(mixer.prepared, Mixup)
    assert mixer.raw is None
    assert isinstance(policy, Supervised)
    assert isinstance(policy.raw, RandAugment)
    assert policy.prepared is None
    assert mixer.baseline
    assert policy.baseline


def test_a_method_comes_before_the_policy_of_its_name() -> None:
    method = parse_arm("augmix:severity=5").method()
    assert isinstance(method, AugMixConsistency)
    assert isinstance(method.augmix, AugMix)
    assert method.augmix.severity == 5


# What does not fit the data.


def test_arms_that_cannot_be_trained_on_a_task_are_left_out_with_the_reason() -> None:
    arms = parse_arms("none,mixup,cutmix,label_smoothing")
    fitting, left_out = fitting_arms(arms, table())
    assert [arm.label for arm in fitting] == ["none", "mixup", "label_smoothing"]
    assert left_out == {
        "cutmix": "it works on image and series and audio and volume, the data are tabular"
    }
    fitting, left_out = fitting_arms(arms, table(classes=()))
    assert [arm.label for arm in fitting] == ["none", "mixup"]
    assert left_out["label_smoothing"] == "it needs classes as targets, the data have regression"


def test_an_arm_that_fits_has_no_reason_against_it() -> None:
    arm = parse_arm("mixup")
    assert isinstance(arm, Arm)
    assert arm.unfit(table()) is None


# What is refused.


@pytest.mark.parametrize("text", ["", "   ", ",", " , ,"])
def test_no_arm_at_all_is_refused(text: str) -> None:
    assert refusal(text) == "--methods is empty: name at least one, such as none,mixup"


@pytest.mark.parametrize("text", ["mixup,mixup", "mixup,none,mixup:alpha=1", "mixup:alpha=1,mixup"])
def test_one_arm_twice_is_refused(text: str) -> None:
    assert refusal(text) == "--methods has mixup more than once: leave one of them out"


@pytest.mark.parametrize(
    "text, meant", [("mixpu", "mixup"), ("Cut_Mix", "cutmix"), ("randaug", "randaugment")]
)
def test_an_unknown_name_is_met_with_the_nearest(text: str, meant: str) -> None:
    line = refusal(f"none,{text}")
    assert line.startswith(f"unknown method '{text}': did you mean ")
    assert meant in line


def test_a_name_like_no_other_is_met_with_all() -> None:
    line = refusal("zzzz")
    assert line.startswith("unknown method 'zzzz': known: ")
    for name in ("none", "mixup", "cutmix", "manifold_mixup", "label_smoothing"):
        assert name in line


@pytest.mark.parametrize(
    "text, line",
    [
        ("mixup:alphas=1", "mixup has no parameter 'alphas': did you mean alpha?"),
        ("cutmix,probability=1", "cutmix has no parameter 'probability': did you mean prob?"),
        ("none:alpha=1", "none has no parameter 'alpha': it has none"),
        ("mixup:alpha=-1", "mixup: alpha must be in (0, inf), got -1.0"),
        ("mixup:alpha=0", "mixup: alpha must be in (0, inf), got 0.0"),
        ("mixup:alpha=nan", "mixup: alpha must be in (0, inf), got nan"),
        ("mixup:alpha=inf", "mixup: alpha must be in (0, inf), got inf"),
        ("cutmix:prob=1.5", "cutmix: prob must be in [0, 1], got 1.5"),
        ("mixup:alpha=big", "mixup: alpha must be a number, got 'big'"),
        ("mixup:scope=bath", "mixup: scope must be one of sample, batch, got 'bath'"),
        ("randaugment:num_ops=2.5", "randaugment: num_ops must be a whole number, got 2.5"),
        ("augmix:depth=0", "augmix: depth must be -1 or at least 1, got 0"),
        ("label_smoothing:smoothing=1", "label_smoothing: smoothing must be in [0, 1), got 1.0"),
        ("mixup:alpha", "mixup:alpha: 'alpha' must be written name=value"),
        ("mixup:alpha=", "mixup:alpha=: 'alpha=' must be written name=value"),
        ("mixup:", "mixup:: '' must be written name=value"),
    ],
)
def test_a_refused_parameter_is_told_in_one_line(text: str, line: str) -> None:
    assert refusal(f"none,{text}") == line


@pytest.mark.parametrize("name", ["cutmix", "label_smoothing", "manifold_mixup", "augmix"])
def test_a_default_that_is_typed_asks_for_the_same(name: str) -> None:
    plain = parse_arm(name)
    typed = [f"{key}={one.default}" for key, one in plain.card.parameters.items()]
    spelled = parse_arm(":".join([name, *typed]))
    assert spelled.label == plain.label
    assert repr(sorted(spelled.settings().items())) == repr(sorted(plain.settings().items()))
    assert spelled.settings().keys() == plain.card.parameters.keys()


@pytest.mark.parametrize("component", NAMED, ids=lambda one: one.__name__)
def test_controls_are_arms_of_their_own_for_the_same_data(component: type) -> None:
    for spec in component.card.controls:
        control = parse_arm(spec)
        assert control.label != component.card.name
        own = set(component.card.modality)
        assert own <= set(control.card.modality) or "any" in control.card.modality


def test_controls_come_once_and_after_the_arms_they_unmask() -> None:
    arms = with_controls(parse_arms("none,mixup,uda,c_mixup,transmix"))
    labels = [arm.label for arm in arms]
    assert labels[:5] == ["none", "mixup", "uda", "c_mixup", "transmix"]
    assert labels[5:] == ["uda:weight=0", "transmix:area_share=1"]
