"""Arms of a comparison: a name with parameters, as typed, and the method it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.core import registry
from vicinal.core.card import Card, FilePath
from vicinal.core.errors import InputError, nearest
from vicinal.core.method import Method
from vicinal.core.task import Task
from vicinal.methods.supervised import Supervised

#: The arm that all others are held against.
BASELINE = "none"
#: What a name on the command line may mean, the first that fits.
KINDS = ("method", "mixer", "policy", "transform")
#: Stands for every mixer, and every method that mixes samples and needs nothing named.
ALL_MIXERS = "all-mixers"
#: The kind of target that a kind of task has.
TARGETS = {"classification": "classes", "regression": "regression", "segmentation": "elements"}


@dataclass(frozen=True)
class Arm:
    """A component and its parameters.

    label: as typed, `cutmix:alpha=0.5`, with the parameters in order of their names and without
        those that are the default anyway.
    component: the registered class.
    parameters: those that were given.
    """

    label: str
    component: type[Any]
    parameters: dict[str, Any]

    @property
    def card(self) -> Card:
        """The component's card."""
        card: Card = self.component.card
        return card

    def settings(self) -> dict[str, Any]:
        """All parameters that the card names, those that were not given at their defaults."""
        defaults = {name: one.default for name, one in self.card.parameters.items()}
        return defaults | self.parameters

    def facts(self) -> dict[str, Any]:
        """All parameters, with a hash of what lies there beside every path."""
        facts = self.settings()
        for name, parameter in self.card.parameters.items():
            if isinstance(parameter, FilePath) and facts[name] is not None:
                facts[name] = (facts[name], parameter.fingerprint(facts[name]))
        return facts

    def build(self) -> Any:
        """The component itself."""
        return self.component(**self.parameters)

    def method(self) -> Method:
        """The method to train with: an augmentation alone is trained in the plain way."""
        built = self.build()
        if isinstance(built, Method):
            return built
        return Supervised(**{self.card.stage: built})

    def unfit(self, task: Task) -> str | None:
        """Why it cannot be trained on a task, or None if it can."""
        if not self.card.suits(task.modality):
            return f"it works on {' and '.join(self.card.modality)}, the data are {task.modality}"
        kind = TARGETS[task.kind]
        if kind not in self.card.targets:
            return f"it needs {' or '.join(self.card.targets)} as targets, the data have {kind}"
        return None


def parse_arms(text: str) -> list[Arm]:
    """Arms from a list as typed: `none,mixup,cutmix:alpha=0.5:prob=0.5`.

    Further parameters follow after a colon or a comma. `all-mixers` stands for all of them.

    Raises:
        InputError: a name or parameter is unknown, a value is refused, an arm is there twice, or
            there is no arm at all.
    """
    specs: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if "=" in part and ":" not in part and specs:
            specs[-1] += f":{part}"
        elif part:
            specs.append(part)
    if not specs:
        raise InputError("--methods is empty: name at least one, such as none,mixup")
    arms: list[Arm] = []
    for spec in specs:
        arms += _all_mixers() if spec == ALL_MIXERS else [parse_arm(spec)]
    labels = [arm.label for arm in arms]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"--methods has {label} more than once: leave one of them out")
    return arms


def parse_arm(spec: str) -> Arm:
    """One arm from its text: `cutmix:alpha=0.5`. Raises InputError where it is refused."""
    name, *settings = (part.strip() for part in spec.split(":"))
    component = registry.find(name, kinds=KINDS)
    card: Card = component.card
    parameters: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not value:
            raise InputError(f"{spec}: {setting!r} must be written name=value")
        if key in parameters:
            raise InputError(f"{spec}: {key} is given more than once: leave one of them out")
        if key not in card.parameters:
            tail = nearest(key, card.parameters) if card.parameters else "it has none"
            raise InputError(f"{name} has no parameter {key!r}: {tail}")
        try:
            parameters[key] = card.parameters[key].parse(value)
        except ValueError:
            raise InputError(f"{name}: {key} must be a number, got {value!r}") from None
    told = {key: v for key, v in parameters.items() if v != card.parameters[key].default}
    arm = Arm(_label(name, told), component, parameters)
    try:
        arm.build()
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {error}") from None
    return arm


def _all_mixers() -> list[Arm]:
    """Those that train without a parameter, a stored data set say, that has to be named."""
    arms = []
    for name in sorted({each.card.name for each in registry.components() if each.card.mixes}):
        try:
            arms.append(parse_arm(name))
        except InputError:
            continue
    return arms


def _label(name: str, parameters: dict[str, Any]) -> str:
    return ":".join(
        [name, *(f"{key}={_short(value)}" for key, value in sorted(parameters.items()))]
    )


def _short(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)


def with_controls(arms: Sequence[Arm]) -> list[Arm]:
    """The arms, and after them those that their cards name to unmask them."""
    found = {arm.label: arm for arm in arms}
    for arm in arms:
        for spec in arm.card.controls:
            control = parse_arm(spec)
            found.setdefault(control.label, control)
    return list(found.values())


def fitting_arms(arms: Sequence[Arm], task: Task) -> tuple[list[Arm], dict[str, str]]:
    """The arms that can be trained on a task, and why the others cannot, by label."""
    reasons = {arm.label: arm.unfit(task) for arm in arms}
    left_out = {label: reason for label, reason in reasons.items() if reason is not None}
    return [arm for arm in arms if arm.label not in left_out], left_out
