"""The policy, judged by the authors' code, by its probabilities and by its gradients."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import chisquare
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.models.penultimate import Penultimate
from vicinal.policies.model_adaptive import ModelAdaptive, ModelAdaptiveParams
from vicinal.testing import check_augmentation
from vicinal.transforms.image.graded import SEVENTEEN, Graded, mirror

GOLDEN = Path(__file__).parent / "golden" / "madaug.safetensors"
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
DEVIATION = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)
FEATURES = 5


def prepare(x: Tensor) -> Tensor:
    return (x / 255 - MEAN) / DEVIATION


def linear(outputs: int = 34, features: int = FEATURES, scale: float = 1.0) -> nn.Linear:
    layer = nn.Linear(features, outputs)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(outputs, features, generator=generator))
        layer.bias.zero_()
    return layer


def described(count: int, *, side: int = 9) -> Batch:
    """Images with features among their evidence, which are functions of the row."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (20, 3, side, side), dtype=torch.uint8, generator=generator)
    features = torch.randn(20, FEATURES, generator=generator)
    rows = torch.arange(count)
    batch = Batch(x=x[rows % 20], target=None, index=rows)
    return batch.replace(evidence={Penultimate(): features[rows % 20]})


def drawn(policy: ModelAdaptive, batch: Batch, seed: int = 0) -> ModelAdaptiveParams:
    return policy.sample(batch, Draws(seed, batch.index))


# Parity with the authors' adaptive_augmentor.py, on its images, features and head.


def explored() -> tuple[dict[str, Tensor], ModelAdaptive, Batch]:
    """Their case, with a bank that hands out the images that their operations made."""
    golden = load_file(GOLDEN)
    head = nn.Linear(3, 34)
    head.load_state_dict({name: golden[f"explore.head.{name}"] for name in ("weight", "bias")})
    each = golden["explore.each"].view(3, 17, *golden["explore.each"].shape[1:])
    bank = tuple(
        Graded(one.name, signed=one.signed, kernel=lambda x, argument, place, at=at: each[:, at])
        for at, one in enumerate(SEVENTEEN)
    )
    batch = Batch.of(golden["explore.images"]).replace(
        evidence={Penultimate(): golden["explore.features"]}
    )
    return golden, ModelAdaptive(head=head, bank=bank), batch


def test_the_mixture_and_its_gradients_are_those_of_the_authors_code() -> None:
    golden, policy, batch = explored()
    params = policy.sample_all(batch, Draws(0, batch.index))
    torch.testing.assert_close(params.magnitude, golden["explore.magnitude"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(params.weight, golden["explore.weight"], rtol=1e-5, atol=1e-6)
    mixed = policy.relaxed(batch, params, prepare=prepare).x
    torch.testing.assert_close(mixed, golden["explore.mixed"], rtol=1e-5, atol=1e-5)
    (mixed * golden["explore.cotangent"]).sum().backward()
    for name, parameter in policy.head.named_parameters():
        torch.testing.assert_close(
            parameter.grad, golden[f"explore.{name}.grad"], rtol=1e-4, atol=1e-5
        )


def test_with_our_own_operations_the_mixture_is_theirs_but_for_a_level() -> None:
    golden, theirs, batch = explored()
    policy = ModelAdaptive(head=theirs.head)
    params = policy.sample_all(batch, Draws(0, batch.index))
    params = ModelAdaptiveParams(
        params.operation,
        params.magnitude,
        torch.ones_like(params.sign),
        torch.full_like(params.place, 0.5),
        params.weight,
    )
    mixed = policy.relaxed(batch, params, prepare=prepare).x
    difference = (mixed - golden["explore.mixed"]).abs() * DEVIATION * 255
    assert difference.max() < 1


def test_what_is_exploited_is_theirs_but_for_a_level_an_operation() -> None:
    golden, theirs, batch = explored()
    policy = ModelAdaptive(2, 3.0, head=theirs.head)
    params = drawn(policy, batch)
    torch.testing.assert_close(params.weight, golden["exploit.weight"], rtol=1e-5, atol=1e-6)
    place = torch.tensor([0.2, 0.7]).expand(3, 2, 2)
    params = ModelAdaptiveParams(
        golden["exploit.operation"],
        golden["exploit.magnitude"],
        torch.ones(3, 2),
        place,
        params.weight.detach(),
    )
    ours = policy.apply(batch, params).tensor.int()
    assert (ours - golden["exploit.output"].int()).abs().max() <= 2


# Probabilities.


def test_operations_are_drawn_without_replacement_by_their_probabilities() -> None:
    bank = tuple(Graded(name, operation="identity") for name in "abcd")
    head = nn.Linear(FEATURES, 8)
    logits = torch.tensor([2.0, 0.5, -0.5, -1.0])
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.cat([torch.zeros(4), logits]))
    batch = described(40_000, side=1)
    for temperature in (1.0, 3.0):
        params = drawn(ModelAdaptive(2, temperature, head=head, bank=bank), batch)
        weight = (logits.double() / temperature).softmax(dim=0)
        torch.testing.assert_close(params.weight[0].double(), weight, rtol=1e-6, atol=0)
        pairs = list(permutations(range(4), 2))
        expected = [40_000 * float(weight[a] * weight[b] / (1 - weight[a])) for a, b in pairs]
        found = (params.operation[:, 0] * 4 + params.operation[:, 1]).bincount(minlength=16)
        assert sum(expected) == pytest.approx(40_000)
        assert chisquare([int(found[a * 4 + b]) for a, b in pairs], expected).pvalue > 1e-3


def test_without_a_head_the_choice_and_with_a_wide_jitter_the_magnitudes_are_uniform() -> None:
    params = drawn(ModelAdaptive(1, jitter=0.5), described(34_000, side=1))
    assert chisquare(params.operation[:, 0].bincount(minlength=17)).pvalue > 1e-3
    tenths = (params.magnitude[:, 0] * 10).long().clamp(max=9).bincount(minlength=10)
    assert chisquare(tenths).pvalue > 1e-3
    signed = torch.tensor([one.signed for one in SEVENTEEN])[params.operation]
    assert (params.sign[~signed] == 1).all()
    assert params.sign[signed].mean().abs() < 0.05


def test_magnitudes_are_moved_by_at_most_the_jitter_and_stay_inside() -> None:
    batch = described(2000, side=1)
    policy = ModelAdaptive(head=linear(scale=3))
    params = drawn(policy, batch)
    predicted = policy.predict(batch)[0].gather(1, params.operation)
    moved = params.magnitude - predicted
    assert moved.abs().max() <= 0.3 + 1e-6
    assert moved.abs().max() > 0.29
    assert params.magnitude.min() == 0
    assert params.magnitude.max() == 1
    still = drawn(ModelAdaptive(head=linear(scale=3), jitter=0), batch)
    torch.testing.assert_close(still.magnitude, policy.predict(batch)[0].gather(1, still.operation))


def test_features_of_an_image_decide_its_own_operations() -> None:
    batch = described(20)
    policy = ModelAdaptive(head=linear(scale=5), temperature=0.5, jitter=0)
    magnitude, logits = policy.predict(batch)
    told = policy.head(batch.evidence[Penultimate()])
    torch.testing.assert_close(magnitude, told[:, :17].sigmoid())
    torch.testing.assert_close(logits, told[:, 17:])
    assert len(logits.argmax(dim=1).unique()) > 5


# Gradients.


def test_the_gradient_of_a_magnitude_is_its_weight_times_the_sum_over_pixels() -> None:
    # Against finite differences of what straight-through stands for: each image plus its magnitude.
    batch = described(4)
    policy = ModelAdaptive(head=linear())
    params = policy.sample_all(batch, Draws(0, batch.index)).map(lambda t: t.detach().clone())
    params.magnitude.requires_grad_()
    params.weight.requires_grad_()
    outer = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    (policy.relaxed(batch, params, prepare=prepare).x * outer).sum().backward()
    by_hand = params.weight.detach() * outer.sum(dim=(1, 2, 3))[:, None]
    torch.testing.assert_close(params.magnitude.grad, by_hand, rtol=1e-4, atol=1e-5)

    images = prepare(policy._each(batch.x.repeat_interleave(17, 0), params, torch.arange(17)))
    images = images.view(4, 17, 3, 9, 9).double()

    def probe(magnitude: Tensor, weight: Tensor) -> Tensor:
        shifted = images + (magnitude - params.magnitude.detach().double())[:, :, None, None, None]
        return (torch.einsum("bk,bkchw->bchw", weight, shifted) * outer).sum()

    point = params.magnitude.detach().double(), params.weight.detach().double()
    for at in (0, 6, 14):
        step = torch.zeros(4, 17, dtype=torch.float64)
        step[1, at] = 1e-4
        slope = (probe(point[0] + step, point[1]) - probe(point[0] - step, point[1])) / 2e-4
        assert params.magnitude.grad[1, at].item() == pytest.approx(slope.item(), rel=1e-3)
        slope = (probe(point[0], point[1] + step) - probe(point[0], point[1] - step)) / 2e-4
        assert params.weight.grad[1, at].item() == pytest.approx(slope.item(), rel=1e-3)


def test_one_operation_of_weight_one_is_that_operation_bit_for_bit() -> None:
    batch = described(4)
    policy = ModelAdaptive(head=linear())
    params = policy.sample_all(batch, Draws(0, batch.index))
    for at in range(17):
        alone = torch.zeros(4, 17)
        alone[:, at] = 1
        mixed = policy.relaxed(
            batch,
            ModelAdaptiveParams(
                params.operation, params.magnitude, params.sign, params.place, alone
            ),
            prepare=prepare,
        )
        one = slice(at, at + 1)
        single = ModelAdaptiveParams(
            params.operation[:, one],
            params.magnitude[:, one],
            params.sign[:, one],
            params.place[:, one],
            alone,
        )
        assert torch.equal(mixed.x, prepare(policy.apply(batch, single).x))


def test_a_mixture_of_some_operations_is_refused() -> None:
    batch = described(3)
    policy = ModelAdaptive(head=linear())
    with pytest.raises(ValueError, match="relaxed mixes all 17 operations, got 2"):
        policy.relaxed(batch, drawn(policy, batch), prepare=prepare)


# As an augmentation.


def test_with_a_head_it_keeps_the_contract() -> None:
    head = linear().requires_grad_(False)
    check_augmentation(ModelAdaptive(head=head), batches=described, slow=False)


def test_an_own_bank_is_applied_in_the_order_drawn() -> None:
    def halve(x: Tensor, argument: Tensor, place: Tensor) -> Tensor:
        return x // 2

    def brighten(x: Tensor, argument: Tensor, place: Tensor) -> Tensor:
        return (x.int() + 50).clamp(max=255).to(torch.uint8)

    bank = (Graded("halve", kernel=halve), Graded("brighten", kernel=brighten))
    batch = described(40)
    params = drawn(ModelAdaptive(bank=bank), batch)
    first = params.operation[:, 0] == 0
    x = batch.tensor
    expected = torch.where(
        first[:, None, None, None],
        brighten(halve(x, x, x), x, x),
        halve(brighten(x, x, x), x, x),
    )
    assert 5 < first.sum() < 35
    assert torch.equal(ModelAdaptive(bank=bank).apply(batch, params).tensor, expected)


def test_more_operations_than_the_bank_has_are_refused() -> None:
    with pytest.raises(ValueError, match="num_ops must be at most the bank's 1, got 2"):
        ModelAdaptive(2, bank=(Graded("flip", kernel=mirror),))
