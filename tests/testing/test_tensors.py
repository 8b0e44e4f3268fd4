"""Augmentations that mind sizes, layouts and devices are found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vicinal import Batch, Draws
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip


class NeedsTwo(Mixup):
    """Squeezing loses the batch where it has one sample."""

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return super().sample(batch, draws).map(torch.squeeze)


class NeedsColour(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        red, green, blue = batch.tensor.unbind(1)
        return super().apply(batch.replace(x=torch.stack([red, green, blue], 1)), params)


class SaysSo(NeedsColour):
    """The same, and its card names the images that it takes."""


class NeedsContiguous(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        flat = batch.tensor.view(len(batch), -1)
        return super().apply(batch.replace(x=flat.view(batch.tensor.shape)), params)


class ReadsMemoryInOrder(HorizontalFlip):
    """Takes the numbers as they lie, whatever their strides say."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        x = batch.tensor
        lies = (
            x.as_strided(x.shape, torch.empty(x.shape).stride())
            if x.is_non_overlapping_and_dense()
            else x
        )
        return super().apply(batch.replace(x=lies), params)


class LosesTheFormat(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return super().apply(batch.replace(x=batch.tensor.contiguous()), params)


class LeavesTheDevice(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return super().apply(batch, params).replace(x=batch.tensor.to("meta"))


class CutsTheGradient(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return super().apply(batch.replace(x=batch.tensor.detach()), params)


class CutsPartOfTheWay(HorizontalFlip):
    """The result carries gradients, from something else than the input."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        x = batch.tensor.detach() + 0 * batch.tensor
        return super().apply(batch.replace(x=x), params)


class CoversAll(HorizontalFlip):
    """Nothing of the input is left: that no gradient flows is right."""

    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        return batch.replace(x=batch.tensor * 0)


def test_a_component_in_order_breaks_nothing(broken: Any) -> None:
    assert broken(HorizontalFlip()) == set()


def test_not_working_with_one_sample_is_found(broken: Any) -> None:
    assert broken(NeedsTwo()) == {"sizes_may_be_odd"}


def test_not_working_with_grey_images_is_found(broken: Any) -> None:
    # A channel that is expanded is still one of three.
    assert broken(NeedsColour()) == {"images_may_be_odd", "memory_format_is_kept"}


def test_a_card_may_say_which_images_it_takes(broken: Any) -> None:
    SaysSo.card = replace(HorizontalFlip.card, shapes={"image": (3, 6, 6)})
    assert broken(SaysSo()) == {"memory_format_is_kept"}


@pytest.mark.parametrize("component", [NeedsContiguous, ReadsMemoryInOrder])
def test_minding_the_layout_is_found(broken: Any, component: type[HorizontalFlip]) -> None:
    assert "layouts_do_not_matter" in broken(component())


def test_losing_the_memory_format_is_found(broken: Any) -> None:
    assert broken(LosesTheFormat()) == {"memory_format_is_kept"}


def test_a_result_on_another_device_is_found(broken: Any) -> None:
    assert "device_is_kept" in broken(LeavesTheDevice())


@pytest.mark.parametrize("component", [CutsTheGradient, CutsPartOfTheWay])
def test_a_missing_gradient_is_found(broken: Any, component: type[HorizontalFlip]) -> None:
    assert broken(component()) == {"gradients_flow_to_x"}


def test_a_gradient_is_asked_for_only_where_declared(broken: Any) -> None:
    class Modest(CutsTheGradient):
        pass

    Modest.card = replace(HorizontalFlip.card, differentiable=False)
    assert "gradients_flow_to_x" not in broken(Modest())


def test_no_gradient_is_asked_for_where_nothing_of_the_input_is_left(broken: Any) -> None:
    assert "gradients_flow_to_x" not in broken(CoversAll())
