"""Augmentations that learn from the training rows first: they say so, and stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from vicinal.testing.failure import Broken, expect, expect_same, given
from vicinal.testing.subject import Named, Subject, described


def sampling_before_fitting_is_refused(subject: Subject) -> None:
    batch = subject.batch()
    asked = "a ValueError or RuntimeError that says to fit it first"
    with given(described(batch), expected=asked):
        try:
            subject.augmentation.sample(batch, subject.draws(batch))
        except (ValueError, RuntimeError) as refusal:
            expect("fit" in str(refusal), asked, str(refusal))
        else:
            raise Broken(asked, "params")


def fitting_gives_another_that_is_fitted(subject: Subject) -> None:
    batch = subject.batch()
    before = copy.deepcopy(vars(subject.augmentation))
    with given(f"{described(batch)}, to be fitted to"):
        fitted = subject.augmentation.fit(batch)
        expect(not fitted.unfitted, "unfitted to be false once it is fitted", "true")
        kind = type(subject.augmentation)
        expect(type(fitted) is kind, f"a {kind.__name__}", f"a {type(fitted).__name__}")
        expect_same(vars(subject.augmentation), before, "fit leaves the augmentation as it is")
        again = subject.augmentation.fit(batch)
        expect_same(again, fitted, "the same when it is fitted to the same samples again")


def checks(subject: Subject) -> Iterator[Named]:
    """All of them, where there is something to fit."""
    if subject.augmentation.unfitted:
        for check in (sampling_before_fitting_is_refused, fitting_gives_another_that_is_fitted):
            yield check.__name__, check
