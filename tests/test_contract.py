"""Every registered transform, policy and mixer keeps the contract: a new one is covered as it is.

The components come from the registry, with default settings under every check, and with each
parameter at its ends and other options under all fast checks at once.
"""

from __future__ import annotations

import pytest

from vicinal import Augmentation
from vicinal.core import registry
from vicinal.testing import Check, check_augmentation, checks_for, variants
from vicinal.testing.comparison import difference
from vicinal.testing.workers import Context, augmented_in_workers

COMPONENTS: list[type[Augmentation]] = [
    component
    for kind in ("transform", "policy", "mixer")
    for component in registry.components(kind)
    if component.__module__.startswith("vicinal.")
]
CHECKS = [check for component in COMPONENTS for check in checks_for(component())]
OTHER_SETTINGS = [variant for component in COMPONENTS for variant in list(variants(component))[1:]]


@pytest.mark.parametrize("check", [check for check in CHECKS if not check.slow], ids=str)
def test_component(check: Check) -> None:
    check()


@pytest.mark.parametrize("augmentation", OTHER_SETTINGS, ids=repr)
def test_component_with_other_settings(augmentation: Augmentation) -> None:
    check_augmentation(augmentation, slow=False)


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.name == "apply_compiles"], ids=str
)
def test_component_compiles(check: Check) -> None:
    check()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_all_components_give_in_workers_what_the_main_process_gives(context: Context) -> None:
    # In one pool: every spawned worker spends seconds on importing torch.
    subjects = {
        str(check.subject): check.subject
        for check in CHECKS
        if check.name == f"works_in_workers_by_{context}"
    }
    batches = [(subject, subject.batch()) for subject in subjects.values()]
    work = [(subject.ready(batch), batch) for subject, batch in batches]
    results = augmented_in_workers(work, context)
    for (name, subject), (_, batch), result in zip(subjects.items(), work, results, strict=True):
        assert difference(result, subject.result(batch), name=name) == ""
    assert len(results) == len(COMPONENTS)


def test_there_are_components_of_every_kind() -> None:
    assert {component.card.kind for component in COMPONENTS} == {"transform", "policy", "mixer"}
