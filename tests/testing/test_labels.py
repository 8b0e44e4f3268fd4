"""Augmentations that lose labels, or carry what they have no rule for, are found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vicinal import Batch, ClassTarget, RegressionTarget, SoftTarget, Target
from vicinal.core.placed_target import BoxTarget
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.paste import CutMix, PasteParams
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip
from vicinal.transforms.orbit import Orbit, OrbitParams

ALL = ("classes", "soft", "multilabel", "regression")


class LosesMass(Mixup):
    """Gives the partner's label a tenth less than it has to have."""

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        partner = batch.take(params.partner).target
        assert batch.target is not None
        assert partner is not None
        target = batch.target.mix(partner, params.kept, 0.9 * (1 - params.kept))
        return mixed.replace(target=target)


class SaysSo(LosesMass):
    """The same, and its card says that weights need not keep their sum."""


class AddsMass(LosesMass):
    """Sums to one only while the samples have one label each."""

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = Mixup.apply(self, batch, params)
        target = mixed.target
        if isinstance(target, ClassTarget) and target.labels.shape[1] > 2:
            assert target.weights is not None
            target = replace(target, weights=target.weights * 1.01)
        return mixed.replace(target=target)


class NegativeWeight(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        target = mixed.target
        if isinstance(target, ClassTarget) and target.weights is not None:
            shift = target.weights.new_tensor([2.0, -2.0] * (target.weights.shape[1] // 2))
            target = replace(target, weights=target.weights + shift)
        return mixed.replace(target=target)


class DropsTheTarget(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        return super().apply(batch, params).replace(target=None)


class ChangesTheKind(Mixup):
    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        if isinstance(mixed.target, ClassTarget):
            return mixed.replace(target=SoftTarget(mixed.target.dense(11)))
        return mixed


class Extrapolates(Mixup):
    """Regression values outside of those they were mixed from."""

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        mixed = super().apply(batch, params)
        if isinstance(mixed.target, RegressionTarget):
            return mixed.replace(target=RegressionTarget(mixed.target.values + 10))
        return mixed


class Relabels(HorizontalFlip):
    """Declares that labels are kept."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        result = super().apply(batch, params)
        if isinstance(batch.target, ClassTarget):
            return result.replace(target=Target.of(batch.target.labels[:, 0] + params.flipped))
        return result


class CarriesAll(HorizontalFlip):
    """Declares class labels, and takes whatever comes."""


class Refuses(HorizontalFlip):
    """Declares class labels, and refuses what else comes."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        if batch.target is not None and batch.target.kind != "classes":
            raise TypeError(f"no rule for targets of kind {batch.target.kind}")
        return super().apply(batch, params)


for modest in (CarriesAll, Refuses):
    modest.card = replace(HorizontalFlip.card, targets=("classes",))
SaysSo.card = replace(Mixup.card, keeps_weight=False)


def test_losing_mass_is_found_whatever_the_kind_of_label(broken: Any) -> None:
    found = broken(LosesMass())
    assert {"classes_labels_as_declared", "soft_labels_as_declared"} <= found


def test_losing_mass_is_fine_where_the_card_says_so(broken: Any) -> None:
    allowed = broken(LosesMass()) - broken(SaysSo())
    assert allowed == {"classes_labels_as_declared", "soft_labels_as_declared"}


def test_gaining_mass_in_mixing_a_mixture_is_found(broken: Any) -> None:
    assert broken(AddsMass()) == {"classes_labels_as_declared"}


def test_a_negative_weight_is_found(broken: Any) -> None:
    assert broken(NegativeWeight()) == {"classes_labels_as_declared"}


def test_a_lost_target_is_found(broken: Any) -> None:
    assert {f"{kind}_labels_as_declared" for kind in ALL} <= broken(DropsTheTarget())


def test_another_kind_of_target_is_found(broken: Any) -> None:
    assert broken(ChangesTheKind()) == {"classes_labels_as_declared"}


def test_values_beyond_those_that_were_mixed_are_found(broken: Any) -> None:
    assert broken(Extrapolates()) == {"regression_labels_as_declared"}


def test_changing_labels_that_are_declared_kept_is_found(broken: Any) -> None:
    assert broken(Relabels()) == {"classes_labels_as_declared"}


def test_carrying_an_undeclared_kind_in_silence_is_found(broken: Any) -> None:
    wrong = {f"{kind}_labels_are_refused" for kind in ("soft", "multilabel", "regression")}
    assert broken(CarriesAll()) == wrong


@pytest.mark.parametrize("component", [Refuses])
def test_refusing_an_undeclared_kind_is_fine(broken: Any, component: type[HorizontalFlip]) -> None:
    assert broken(component()) == set()


class LabelsByRound(Orbit):
    """The labels of the first versions of all samples, then of the second ones."""

    def apply(self, batch: Batch, params: OrbitParams) -> Batch:
        result = super().apply(batch, params)
        assert result.target is not None
        rounds = torch.arange(len(result)).view(-1, len(self)).T.flatten()
        return result.replace(target=result.target[rounds])


def test_versions_that_do_not_have_the_label_of_their_sample_are_found(broken: Any) -> None:
    assert {f"{kind}_labels_as_declared" for kind in ALL} <= broken(LabelsByRound())


class LeavesMasksBehind(CutMix):
    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        return super().apply(batch, params).replace(target=batch.target)


class ForgetsWhatIsHidden(CutMix):
    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        mixed = super().apply(batch, params)
        if isinstance(mixed.target, BoxTarget):
            doubled = mixed.target.seen.with_values(2 * mixed.target.seen.values)
            mixed = mixed.replace(target=replace(mixed.target, seen=doubled))
        return mixed


def test_targets_of_places_that_do_not_go_with_the_images_are_found(broken: Any) -> None:
    assert "masks_go_with_images" in broken(LeavesMasksBehind())
    assert broken(ForgetsWhatIsHidden()) == {"boxes_as_declared"}
