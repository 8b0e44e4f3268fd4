"""What becomes of targets: their mass is kept, and what cannot be carried is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from vicinal.core.batch import Batch
from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.placed_target import BoxTarget, MaskTarget
from vicinal.core.target import (
    ClassTarget,
    MultiLabelTarget,
    RegressionTarget,
    SoftTarget,
)
from vicinal.testing.failure import Broken, expect, expect_same, given
from vicinal.testing.samples import CLASSES, make_target
from vicinal.testing.subject import Named, Subject, origin

KINDS = ("classes", "soft", "multilabel", "regression")
#: Of images; a transform's `__call__` refuses those that its card does not name.
PLACED = ("masks", "boxes")
#: Weights are float32, and are multiplied and added once a mixing.
ROUNDING = 1e-6


def labels_as_declared(subject: Subject, *, kind: str) -> None:
    batch = subject.batch(kind=kind)
    with given(f"targets of kind {kind}"):
        once = subject.result(batch)
        _expect_rule(subject, once, batch)
    with given(f"targets of kind {kind}, augmented before"):
        # Shapes may have changed, and evidence be out of date: only the targets are taken over.
        elements = isinstance(once.target, ElementTarget)  # which go with theirs
        other = len(once) != len(batch)
        again = once if elements or other else batch.replace(target=once.target)
        _expect_rule(subject, subject.result(again, seed=1), again)


def _expect_rule(subject: Subject, result: Batch, batch: Batch) -> None:
    found, given_one = result.target, batch.target
    elements = isinstance(given_one, ElementTarget)  # of which none is lost where samples join
    if given_one is not None and len(result) != len(batch) and not elements:
        given_one = given_one[origin(result, batch)]  # each row is held against its own sample
    if found is None or given_one is None:
        raise Broken("a target", "none")
    wanted = type(given_one)
    expect(isinstance(found, wanted), f"a {wanted.__name__}", f"a {type(found).__name__}")
    if isinstance(found, ElementTarget) and isinstance(given_one, ElementTarget):
        _expect_elements(found, given_one)
    elif subject.card.labels == "kept":
        expect_same(found, given_one, "the targets as they were: the card says labels are kept")
    elif isinstance(found, ClassTarget) and isinstance(given_one, ClassTarget):
        if subject.card.keeps_weight:
            expect_same(found.total(), given_one.total(), "the same weight in a row", atol=ROUNDING)
        if found.weights is not None:
            lowest = float(found.weights.min())
            expect(lowest >= 0, "no negative weight", f"a weight of {lowest}")
    elif isinstance(found, SoftTarget) and isinstance(given_one, SoftTarget):
        mass, wanted_mass = found.probabilities.sum(1), given_one.probabilities.sum(1)
        if subject.card.keeps_weight:
            expect_same(mass, wanted_mass, "the same sum of probabilities in a row", atol=ROUNDING)
    elif isinstance(found, MultiLabelTarget):
        low, high = float(found.values.min()), float(found.values.max())
        expect(-ROUNDING <= low <= high <= 1 + ROUNDING, "values in [0, 1]", f"{low} to {high}")
    elif isinstance(found, RegressionTarget) and isinstance(batch.target, RegressionTarget):
        _expect_between(found.values, batch.target.values)


def _expect_elements(found: ElementTarget, given_one: ElementTarget) -> None:
    """Elements go and come with their labels: no class has more of them than before."""
    counts, before = (
        torch.bincount(one.labels.values - IGNORED, minlength=1 + CLASSES)[1:]
        for one in (found, given_one)
    )
    more = (counts > before).nonzero()[:, 0].tolist()
    expect(not more, "no more elements of a class than there were", f"more of {more}")


def _expect_between(found: torch.Tensor, given_values: torch.Tensor) -> None:
    """A barycentre lies between the values it is of."""
    low, high = float(given_values.min()), float(given_values.max())
    slack = ROUNDING * max(1.0, abs(low), abs(high))
    inside = bool(((found >= low - slack) & (found <= high + slack)).all())
    came = f"{float(found.min())} to {float(found.max())}"
    expect(inside, f"values between {low} and {high}", came)


def _with_places(subject: Subject, kind: str) -> Batch:
    """Images with targets of places; what a model was asked, it was asked with classes."""
    batch = subject.batch(kind="classes")
    return batch.replace(target=make_target(kind, len(batch), batch.tensor.shape[2:]))


def masks_go_with_images(subject: Subject) -> None:
    batch = _with_places(subject, "masks")
    classes = torch.arange(len(batch)) % CLASSES
    x = classes.to(batch.tensor.dtype).view(-1, *(1,) * (batch.tensor.dim() - 1))
    batch = batch.replace(x=x.expand_as(batch.tensor).clone())
    with given("images that are their class at every pixel, and masks of these classes"):
        result = subject.result(batch)
        expect(isinstance(result.target, MaskTarget), "a MaskTarget", f"{type(result.target)}")
        assert isinstance(result.target, MaskTarget)
        dense = result.target.dense(CLASSES)
        expect_same(dense.sum(dim=1), torch.ones_like(dense[:, 0]), "weights of 1", atol=ROUNDING)
        mean = torch.einsum("bc...,c->b...", dense, torch.arange(float(CLASSES)))
        shown = result.tensor[:, 0].float()
        expect_same(shown, mean, "masks of what the images show", atol=1e-4)


def boxes_as_declared(subject: Subject) -> None:
    batch = _with_places(subject, "boxes")
    with given("images with boxes"):
        target = subject.result(batch).target
        expect(isinstance(target, BoxTarget), "a BoxTarget", f"{type(target)}")
        assert isinstance(target, BoxTarget)
        for name, shares in (("seen", target.seen.values), ("weights", target.weights.values)):
            inside = bool(((shares >= 0) & (shares <= 1 + ROUNDING)).all())
            expect(inside, f"{name} in [0, 1]", str(shares.tolist()))
        assert isinstance(batch.target, BoxTarget)
        known = set(batch.target.labels.values.tolist())
        found = set(target.labels.values.tolist())
        expect(found <= known, f"labels among {sorted(known)}", str(sorted(found)))


def undeclared_targets_are_refused(subject: Subject, *, kind: str) -> None:
    batch = subject.batch(kind=kind)
    asked = f"a TypeError or ValueError: the card does not declare targets of kind {kind}"
    with given(f"targets of kind {kind}", expected=asked):
        try:
            subject.result(batch)
        except (TypeError, ValueError):
            return
        raise Broken(asked, "a result")


def checks(subject: Subject) -> Iterator[Named]:
    """A check for each kind of target; a user's own batches have one kind."""
    if subject.batches is not None or subject.modality == "points":
        target = subject.batch().target
        if target is not None:
            yield "labels_as_declared", partial(labels_as_declared, kind=target.kind)
        return
    for kind in KINDS:
        if kind in subject.card.targets:
            yield f"{kind}_labels_as_declared", partial(labels_as_declared, kind=kind)
        else:
            check = partial(undeclared_targets_are_refused, kind=kind)
            yield f"{kind}_labels_are_refused", check
    if subject.modality == "image":
        if subject.augmentation.carries("masks"):
            yield "masks_go_with_images", masks_go_with_images
        if subject.augmentation.carries("boxes"):
            yield "boxes_as_declared", boxes_as_declared
