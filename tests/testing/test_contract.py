"""The checker as its users meet it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, Mixer, Params, Transform
from vicinal.core.probe import Saliency
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.testing import ContractError, check_augmentation, checks_for, make_batch, variants
from vicinal.transforms.image.flip import FlipParams, HorizontalFlip


class Darkens(HorizontalFlip):
    def apply(self, batch: Batch, params: FlipParams) -> Batch:
        batch.tensor.mul_(0)
        return batch


class Uncarded(Transform):
    def sample(self, batch: Batch, draws: Draws) -> Any: ...

    def apply(self, batch: Batch, params: Any) -> Batch:
        return batch


class SaliencyMask(Mixer):
    """Puts the partner where the own sample is not salient: an augmentation that asks a model."""

    probes = (Saliency(),)

    def sample(self, batch: Batch, draws: Draws) -> Any:
        (saliency,) = batch.evidence.values()
        own = saliency.flatten(1).mean(1) > saliency.mean()
        return SaliencyMaskParams(batch.index[draws.permutation("partner")], own)

    def apply(self, batch: Batch, params: Any) -> Batch:
        partner = batch.take(params.partner)
        shape = (-1,) + (1,) * (batch.tensor.dim() - 1)
        x = torch.where(params.own.view(shape), batch.tensor, partner.tensor)
        assert batch.target is not None
        assert partner.target is not None
        return batch.replace(x=x, target=batch.target.mix(partner.target, params.own.float()))


@dataclass(frozen=True)
class SaliencyMaskParams(Params):
    partner: Tensor
    own: Tensor


SaliencyMask.card = replace(
    Mixup.card,
    modality=("image",),
    dtypes=("float32", "float64"),
    parameters={},
    differentiable=False,
    compiles=False,
)


@dataclass(frozen=True)
class MaskParams(Params):
    masked: Tensor


class MaskTokens(Transform):
    """Works on a dictionary of token indices, for which the library has no samples."""

    def sample(self, batch: Batch, draws: Draws) -> MaskParams:
        tokens = batch.x["tokens"]
        return MaskParams(draws.bernoulli("masked", 0.3, shape=tokens.shape[1:]))

    def apply(self, batch: Batch, params: MaskParams) -> Batch:
        tokens = batch.x["tokens"].masked_fill(params.masked, 0)
        return batch.replace(x={**batch.x, "tokens": tokens})


MaskTokens.card = replace(
    HorizontalFlip.card,
    modality=("tokens",),
    parameters={},
    differentiable=False,
    dtypes=("int64",),
)


class MasksAndForgets(MaskTokens):
    def apply(self, batch: Batch, params: MaskParams) -> Batch:
        return super().apply(batch, params).replace(target=None)


def token_batch(size: int) -> Batch:
    """(size, 5) token indices with their positions."""
    tokens = torch.arange(1, 5 * size + 1).view(size, 5)
    places = torch.arange(5).expand(size, 5)
    x = {"tokens": tokens, "places": places}
    return Batch(x, ClassTarget(torch.arange(size)[:, None]), index=3 * torch.arange(size) + 50)


def test_components_in_order_pass() -> None:
    assert check_augmentation(HorizontalFlip(0.25), slow=False) is None
    assert check_augmentation(CutMix(), slow=False) is None


def test_a_failure_names_component_check_input_expectation_and_finding() -> None:
    with pytest.raises(ContractError) as caught:
        check_augmentation(Darkens(0.25), slow=False)
    error = caught.value
    assert isinstance(error, AssertionError)
    assert error.component == "Darkens(prob=0.25)"
    told = str(error)
    for part in (error.component, error.check, error.given, error.expected, error.found):
        assert part
        assert part in told
    assert "uint8 (7, 3, 13, 9)" in error.given


def test_a_failure_survives_the_way_between_processes() -> None:
    error = ContractError("Mixup()", "pickles", "a copy", "the same", "another")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.check == "pickles"


def test_every_check_has_a_readable_name_of_its_own() -> None:
    names = [str(check) for check in checks_for(Mixup())]
    assert len(set(names)) == len(names)
    assert "Mixup-tabular-same_params_give_the_same_result" in names
    assert "Mixup-image-bfloat16_as_declared" in names
    assert "Mixup-series-uint8_as_declared" in names


def test_slow_checks_are_told_apart_and_come_last() -> None:
    checks = checks_for(Mixup())
    slow = [check.name for check in checks if check.slow]
    assert slow == ["apply_compiles", "works_in_workers_by_fork", "works_in_workers_by_spawn"]
    assert not any(check.slow for check in checks[: -len(slow)])
    assert [str(check) for check in checks_for(Mixup(), slow=False)] == [
        str(check) for check in checks[: -len(slow)]
    ]


def test_the_card_decides_what_is_checked() -> None:
    def names(**changes: Any) -> set[str]:
        class Other(HorizontalFlip):
            pass

        Other.card = replace(HorizontalFlip.card, **changes)
        return {check.name for check in checks_for(Other())}

    assert "apply_compiles" in names()
    assert "apply_compiles" not in names(compiles=False)
    assert "gradients_flow_to_x" not in names(differentiable=False)
    assert {"float32_as_declared", "float64_is_refused_or_right"} <= names(dtypes=("float32",))
    assert {"soft_labels_as_declared", "regression_labels_are_refused"} <= names(targets=("soft",))


def test_an_augmentation_without_a_card_is_refused() -> None:
    with pytest.raises(TypeError, match="Uncarded needs a card"):
        checks_for(Uncarded())


def test_a_modality_without_samples_needs_batches() -> None:
    with pytest.raises(ValueError, match="no samples of tokens: pass batches"):
        checks_for(MaskTokens())


def test_own_batches_of_any_structure_are_checked() -> None:
    assert check_augmentation(MaskTokens(), batches=token_batch, slow=False) is None
    with pytest.raises(ContractError, match="labels_as_declared"):
        check_augmentation(MasksAndForgets(), batches=token_batch, slow=False)


def test_own_batches_of_floats_are_tried_in_every_floating_type() -> None:
    def batches(size: int) -> Batch:
        return make_batch("tabular", size)

    names = {check.name for check in checks_for(Mixup(), batches=batches, slow=False)}
    assert {"float16_as_declared", "bfloat16_as_declared"} <= names
    assert not [name for name in names if "uint8" in name]
    assert check_augmentation(Mixup(), batches=batches, slow=False) is None


def test_an_augmentation_that_asks_a_model_gets_its_evidence(broken: Any) -> None:
    assert broken(SaliencyMask()) == set()


def test_variants_move_one_parameter_at_a_time_to_its_ends_and_options() -> None:
    written = [repr(variant) for variant in variants(CutMix)]
    assert written == [
        "CutMix(alpha=1.0, prob=1.0, minmax=None, scope='sample', pairing=Permutation())",
        "CutMix(alpha=0.1, prob=1.0, minmax=None, scope='sample', pairing=Permutation())",
        "CutMix(alpha=4.0, prob=1.0, minmax=None, scope='sample', pairing=Permutation())",
        "CutMix(alpha=1.0, prob=0.0, minmax=None, scope='sample', pairing=Permutation())",
        "CutMix(alpha=1.0, prob=1.0, minmax=None, scope='batch', pairing=Permutation())",
    ]
