from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.objectives.masked_consistency import MaskedConsistency, entropy

GOLDEN = json.loads((Path(__file__).parent / "golden" / "uda.json").read_text())["unlabelled"]


def golden(name: str) -> Tensor:
    return torch.tensor(GOLDEN[name])


def logits(seed: int, rows: int = 6, classes: int = 4, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=generator) * scale


@pytest.mark.parametrize("case", GOLDEN["uda"], ids=str)
def test_loss_and_mask_are_those_of_the_authors_of_uda(case: dict[str, Any]) -> None:
    consistency = MaskedConsistency(case["temperature"], threshold=case["threshold"])
    loss, kept = consistency(golden("guess"), golden("output"))
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    assert kept.item() == pytest.approx(case["kept"])


@pytest.mark.parametrize("case", GOLDEN["fixmatch"], ids=str)
def test_pseudo_labels_give_the_loss_of_the_authors_of_fixmatch(case: dict[str, Any]) -> None:
    consistency = MaskedConsistency(threshold=case["threshold"], divergence="pseudo_label")
    loss, kept = consistency(golden("guess"), golden("output"))
    assert loss.item() == pytest.approx(case["loss"], rel=1e-5)
    assert kept.item() == pytest.approx(case["kept"])


def test_entropy_is_that_of_the_authors_of_uda() -> None:
    assert entropy(golden("guess")).mean().item() == pytest.approx(GOLDEN["entropy"], rel=1e-5)


@given(seed=st.integers(0, 2**31 - 1), scale=st.floats(0.01, 1e4))
def test_equal_views_without_sharpening_agree_exactly(seed: int, scale: float) -> None:
    view = logits(seed, scale=scale)
    assert MaskedConsistency(1.0, threshold=0.0)(view, view)[0] == 0


def test_a_threshold_of_one_leaves_nothing_even_to_a_guess_that_is_certain() -> None:
    certain = torch.tensor([[200.0, 0.0, 0.0]])
    for reduce in ("all", "kept"):
        consistency = MaskedConsistency(threshold=1.0, reduce=reduce)  # type: ignore[arg-type]
        loss, kept = consistency(certain, certain.flip(1).requires_grad_())
        assert loss == 0
        assert kept == 0
        loss.backward()


@pytest.mark.parametrize("divergence", ["kl", "pseudo_label"])
def test_no_gradient_reaches_the_guess(divergence: Any) -> None:
    guess, output = logits(1).requires_grad_(), logits(2).requires_grad_()
    MaskedConsistency(threshold=0.5, divergence=divergence)(guess, output)[0].backward()
    assert guess.grad is None
    assert output.grad is not None
    assert output.grad.abs().sum() > 0


def by_hand(guess: Tensor, output: Tensor, temperature: float, threshold: float) -> list[float]:
    """The divergence of the samples that count."""
    counted = []
    for first, second in zip(guess.tolist(), output.tolist(), strict=True):
        total = sum(math.exp(value) for value in first)
        if max(math.exp(value) / total for value in first) > threshold:
            sharp = [math.exp(value / temperature) for value in first]
            p = [value / sum(sharp) for value in sharp]
            q = [math.exp(value) / sum(map(math.exp, second)) for value in second]
            counted.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return counted


def test_the_denominator_is_all_samples_or_the_kept_ones() -> None:
    guess, output = logits(3, rows=9), logits(4, rows=9)
    counted = by_hand(guess, output, 0.4, 0.8)
    assert 1 < len(counted) < 8
    over_all, share = MaskedConsistency(0.4, threshold=0.8)(guess, output)
    over_kept, _ = MaskedConsistency(0.4, threshold=0.8, reduce="kept")(guess, output)
    assert over_all.item() == pytest.approx(sum(counted) / 9, rel=1e-5)
    assert over_kept.item() == pytest.approx(sum(counted) / len(counted), rel=1e-5)
    assert share.item() == pytest.approx(len(counted) / 9)


def test_the_mask_asks_the_guess_before_it_is_sharpened() -> None:
    guess = torch.tensor([[1.0, 0.0]])  # 0.73, and 0.92 once it is sharpened
    assert MaskedConsistency(0.4, threshold=0.8)(guess, -guess)[1] == 0


def test_sharpening_to_the_limit_is_the_pseudo_label() -> None:
    guess, output = logits(5), logits(6)
    limit, _ = MaskedConsistency(1e-3, threshold=0.0)(guess, output)
    label, _ = MaskedConsistency(threshold=0.0, divergence="pseudo_label")(guess, output)
    torch.testing.assert_close(limit, label)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_large_logits_of_any_type_give_finite_losses(dtype: torch.dtype) -> None:
    guess = torch.tensor([[900.0, -900.0]], dtype=dtype)
    loss, _ = MaskedConsistency()(guess, -guess)
    assert loss.item() == pytest.approx(1800)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1\.5"),
        ({"divergence": "mse"}, "divergence must be kl or pseudo_label, got 'mse'"),
        ({"reduce": "sum"}, "reduce must be all or kept, got 'sum'"),
    ],
)
def test_bad_values_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedConsistency(**settings)
