"""Labels that mix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vicinal import ClassTarget, MultiLabelTarget, RegressionTarget, SoftTarget, Target

CLASSES = 7


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixture(seed: int, *, rows: int = 5, width: int = 3, smoothing: float = 0.0) -> ClassTarget:
    """Labels with repetitions and weights that sum to one."""
    labels = torch.randint(CLASSES, (rows, width), generator=numbers(seed))
    weights = torch.rand(rows, width, generator=numbers(seed + 1)).softmax(1)
    target = ClassTarget(labels, None if width == 1 else weights)
    return target.smooth(smoothing) if smoothing else target


def dense_by_loops(target: ClassTarget) -> Tensor:
    """Every class's weight, label by label."""
    dense = torch.zeros(len(target), CLASSES, dtype=torch.float64)
    for row in range(len(target)):
        for place in range(target.labels.shape[1]):
            weight = 1.0 if target.weights is None else float(target.weights[row, place])
            dense[row, target.labels[row, place]] += weight
        if target.uniform is not None:
            dense[row] += float(target.uniform[row]) / CLASSES
    return dense


MIXTURES = st.builds(
    mixture,
    st.integers(0, 10**6),
    width=st.integers(1, 6),
    smoothing=st.sampled_from([0.0, 0.1, 0.7]),
)
LOGITS = st.builds(
    lambda seed, scale: scale * torch.randn(5, CLASSES, generator=numbers(seed)),
    st.integers(0, 10**6),
    st.sampled_from([0.01, 1.0, 30.0]),
)


@given(target=MIXTURES, output=LOGITS)
def test_the_loss_is_soft_label_cross_entropy(target: ClassTarget, output: Tensor) -> None:
    dense = dense_by_loops(target)
    torch.testing.assert_close(target.dense(CLASSES).double(), dense, atol=1e-6, rtol=0)
    exact = -(dense * output.double().log_softmax(1)).sum(1)
    found = target.loss(output, reduction="none")
    torch.testing.assert_close(found.double(), exact, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(target.loss(output), found.mean(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(
        target.loss(output), F.cross_entropy(output, dense.float()), atol=1e-5, rtol=1e-6
    )


@given(target=MIXTURES, output=LOGITS)
def test_gradients_are_those_of_soft_label_cross_entropy(
    target: ClassTarget, output: Tensor
) -> None:
    output.requires_grad_()
    (found,) = torch.autograd.grad(target.loss(output), output)
    (exact,) = torch.autograd.grad(F.cross_entropy(output, target.dense(CLASSES)), output)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=1e-5)


def test_weights_need_not_sum_to_one() -> None:
    target = ClassTarget(torch.tensor([[0, 3]]), torch.tensor([[0.2, 0.3]]))
    output = torch.randn(1, CLASSES, generator=numbers(0))
    exact = -(0.2 * output.log_softmax(1)[0, 0] + 0.3 * output.log_softmax(1)[0, 3])
    torch.testing.assert_close(target.loss(output), exact)
    torch.testing.assert_close(target.total(), torch.tensor([0.5]))


@given(
    first=MIXTURES,
    second=MIXTURES,
    third=MIXTURES,
    kept=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5).map(torch.tensor),
)
def test_mixing_a_mixture_is_a_mixture(
    first: ClassTarget, second: ClassTarget, third: ClassTarget, kept: Tensor
) -> None:
    mixed = first.mix(second, kept).mix(third, kept)
    share = kept.double()[:, None]
    exact = share * dense_by_loops(first) + (1 - share) * dense_by_loops(second)
    exact = share * exact + (1 - share) * dense_by_loops(third)
    torch.testing.assert_close(mixed.dense(CLASSES).double(), exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed.total(), torch.ones(5), atol=1e-6, rtol=0)


def test_both_weights_of_a_mix_may_be_given() -> None:
    one, other = Target.of(torch.tensor([0, 1])), Target.of(torch.tensor([2, 3]))
    mixed = one.mix(other, torch.tensor([0.5, 1.0]), torch.tensor([0.1, 0.7]))
    assert isinstance(mixed, ClassTarget)
    torch.testing.assert_close(mixed.total(), torch.tensor([0.6, 1.7]))


@given(target=MIXTURES)
def test_merging_counts_equal_labels_once_and_changes_nothing_else(target: ClassTarget) -> None:
    merged = target.merged()
    torch.testing.assert_close(merged.dense(CLASSES), target.dense(CLASSES), atol=1e-6, rtol=0)
    assert merged.weights is not None
    for labels, weights in zip(merged.labels.tolist(), merged.weights.tolist(), strict=True):
        counted = [label for label, weight in zip(labels, weights, strict=True) if weight > 0]
        assert len(counted) == len(set(counted))


@given(target=MIXTURES, output=LOGITS)
def test_the_score_is_the_accuracy_expected_under_the_mixture(
    target: ClassTarget, output: Tensor
) -> None:
    dense = dense_by_loops(target)
    exact = dense[torch.arange(5), output.argmax(1)] / dense.sum(1)
    torch.testing.assert_close(target.score(output).double(), exact, atol=1e-6, rtol=0)


def test_the_score_is_an_accuracy_whatever_the_weights_sum_to() -> None:
    labels = torch.tensor([[0, 0], [0, 1], [2, 1]])
    weights = torch.tensor([[1.3, 1.3], [1.5, 0.5], [0.0, 0.0]])
    output = torch.eye(CLASSES)[:1].expand(3, -1)
    assert ClassTarget(labels, weights).score(output).tolist() == [1.0, 0.75, 0.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_that_of_torch(smoothing: float) -> None:
    labels = torch.randint(CLASSES, (9,), generator=numbers(0))
    output = torch.randn(9, CLASSES, generator=numbers(1))
    smoothed = ClassTarget(labels[:, None]).smooth(smoothing)
    exact = F.cross_entropy(output, labels, label_smoothing=smoothing)
    torch.testing.assert_close(smoothed.loss(output), exact)
    torch.testing.assert_close(smoothed.total(), torch.ones(9))
    twice = smoothed.smooth(smoothing)
    share = 1 - (1 - smoothing) ** 2
    torch.testing.assert_close(
        twice.loss(output), F.cross_entropy(output, labels, label_smoothing=share)
    )


def test_a_smoothing_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got 1.0"):
        Target.of(torch.tensor([0])).smooth(1.0)  # type: ignore[attr-defined]


class Shapes(TorchDispatchMode):
    """Writes down the shape of everything that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.computed: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.computed.append(tuple(tensor.shape))
        return result


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_labels_over_all_classes_are_built(width: int, smoothing: float) -> None:
    rows, classes = 4, 100_003
    labels = torch.arange(rows * width).view(rows, width)
    weights = None if width == 1 else torch.full((rows, width), 1 / width)
    target = ClassTarget(labels, weights)
    target = target.smooth(smoothing) if smoothing else target
    output = torch.zeros(rows, classes)
    partner = torch.tensor([1, 0, 3, 2])
    with Shapes() as shapes:
        mixed = target.mix(target[partner], torch.full((rows,), 0.3))
        mixed.loss(output)
        mixed.score(output)
        mixed.merged()
    assert shapes.computed
    assert max(max(shape, default=0) for shape in shapes.computed) < classes
    with Shapes() as shapes:
        target.loss(output)
    # Plain labels go to torch's own cross-entropy, whose log_softmax is of the output.
    assert shapes.computed.count((rows, classes)) == int(width == 1 and not smoothing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_half_precision_outputs_is_summed_in_float32(dtype: torch.dtype) -> None:
    target, output = mixture(3), 20 * torch.randn(5, CLASSES, generator=numbers(3))
    output = output.to(dtype)
    exact = target.loss(output.float())
    assert target.loss(output).dtype == torch.float32
    torch.testing.assert_close(target.loss(output), exact)


# -- other kinds ---------------------------------------------------------------------------------


def test_soft_labels_mix_by_weight_and_give_cross_entropy() -> None:
    one, other = (
        SoftTarget(torch.rand(5, CLASSES, generator=numbers(seed)).softmax(1)) for seed in (0, 1)
    )
    kept = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])
    mixed = one.mix(other, kept)
    exact = kept[:, None] * one.probabilities + (1 - kept[:, None]) * other.probabilities
    torch.testing.assert_close(mixed.dense(CLASSES), exact)
    output = torch.randn(5, CLASSES, generator=numbers(2))
    torch.testing.assert_close(mixed.loss(output), F.cross_entropy(output, exact))
    expected = exact[torch.arange(5), output.argmax(1)]
    torch.testing.assert_close(mixed.score(output), expected)
    with pytest.raises(ValueError, match="the target has 7 classes, asked for 8"):
        mixed.dense(8)


@pytest.mark.parametrize(
    "rule, kept, expected",
    [
        ("weight", 0.25, [0.25, 0.75, 1.0, 0.0]),
        ("maximum", 0.25, [0.25, 0.75, 0.75, 0.0]),
        ("union", 0.25, [1.0, 1.0, 1.0, 0.0]),
        ("union", 1.0, [1.0, 0.0, 1.0, 0.0]),
        ("union", 0.0, [0.0, 1.0, 1.0, 0.0]),
    ],
)
def test_multi_label_targets_mix_by_their_rule(
    rule: Any, kept: float, expected: list[float]
) -> None:
    own = MultiLabelTarget(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), rule)
    partner = MultiLabelTarget(torch.tensor([[0.0, 1.0, 1.0, 0.0]]), rule)
    mixed = own.mix(partner, torch.tensor([kept]))
    assert mixed.values.tolist() == [expected]
    assert mixed.rule == rule


def test_multi_label_loss_and_score() -> None:
    target = MultiLabelTarget(torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=torch.bool))
    output = torch.tensor([[2.0, -1.0, -3.0], [0.5, -2.0, 4.0]])
    exact = F.binary_cross_entropy_with_logits(output, target.values)
    torch.testing.assert_close(target.loss(output), exact)
    torch.testing.assert_close(target.loss(output, reduction="none").mean(), exact)
    torch.testing.assert_close(target.score(output), torch.tensor([2 / 3, 2 / 3]))
    assert torch.equal(target.dense(3), target.values)


def test_regression_predicts_the_barycentre() -> None:
    own, partner = (
        RegressionTarget(torch.tensor([0.0, 10.0])),
        RegressionTarget(torch.tensor([4.0, 0.0])),
    )
    mixed = own.mix(partner, torch.tensor([0.25, 0.9]))
    assert mixed.barycentre.tolist() == pytest.approx([3.0, 9.0])
    output = torch.tensor([[2.0], [9.0]])
    torch.testing.assert_close(mixed.loss(output), torch.tensor(0.5))
    torch.testing.assert_close(mixed.loss(output[:, 0], reduction="none"), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(mixed.score(output), torch.tensor([-1.0, 0.0]))


def test_regression_of_several_values_mixes_each() -> None:
    own, partner = RegressionTarget(torch.zeros(2, 3)), RegressionTarget(torch.ones(2, 3))
    mixed = own.mix(partner, torch.tensor([0.25, 1.0]))
    torch.testing.assert_close(mixed.values, torch.tensor([[0.75] * 3, [0.0] * 3]))
    assert mixed.loss(torch.zeros(2, 3), reduction="none").tolist() == [0.5625, 0.0]


KINDS: dict[str, Target] = {
    "classes": mixture(0),
    "smoothed": mixture(0, smoothing=0.2),
    "plain": mixture(0, width=1),
    "soft": SoftTarget(torch.rand(5, 4, generator=numbers(0))),
    "multilabel": MultiLabelTarget(torch.rand(5, 4, generator=numbers(0)), "union"),
    "regression": RegressionTarget(torch.rand(5, generator=numbers(0))),
}


@pytest.mark.parametrize("name", KINDS)
def test_targets_are_taken_apart_and_joined(name: str) -> None:
    target = KINDS[name]
    assert len(target[1:3]) == 2
    parts = [target[:2], target[2:]]
    assert type(target).concatenate(parts).equal(target)
    order = torch.tensor([4, 2, 0, 1, 3])
    assert target[order][order.argsort()].equal(target)


def test_labels_of_different_numbers_are_joined() -> None:
    parts = [mixture(0, width=1), mixture(1, width=3), mixture(2, width=2, smoothing=0.3)]
    joined = ClassTarget.concatenate(parts)
    exact = torch.cat([dense_by_loops(part) for part in parts])
    torch.testing.assert_close(joined.dense(CLASSES).double(), exact, atol=1e-6, rtol=0)
    plain = ClassTarget.concatenate([mixture(0, width=1), mixture(1, width=1)])
    assert plain.weights is None


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_integers_can_only_mean_class_indices(dtype: torch.dtype) -> None:
    target = Target.of(torch.tensor([3, 1], dtype=dtype))
    assert isinstance(target, ClassTarget)
    assert target.labels.tolist() == [[3], [1]]
    assert Target.of(target) is target


@pytest.mark.parametrize(
    "labels", [torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 2).long(), torch.ones(3).bool()]
)
def test_what_could_mean_several_things_is_refused(labels: Tensor) -> None:
    with pytest.raises(TypeError, match="pass SoftTarget"):
        Target.of(labels)


@pytest.mark.parametrize(
    "build, error",
    [
        (lambda: ClassTarget(torch.zeros(3).long()), TypeError),
        (lambda: ClassTarget(torch.zeros(3, 1)), TypeError),
        (lambda: ClassTarget(torch.zeros(3, 2).long()), ValueError),
        (lambda: ClassTarget(torch.zeros(3, 2).long(), torch.ones(3, 1)), ValueError),
        (lambda: ClassTarget(torch.zeros(3, 1).long(), uniform=torch.ones(2)), ValueError),
        (lambda: SoftTarget(torch.zeros(3)), TypeError),
        (lambda: SoftTarget(torch.zeros(3, 2).long()), TypeError),
        (lambda: MultiLabelTarget(torch.zeros(3)), TypeError),
        (lambda: MultiLabelTarget(torch.zeros(3, 2), "both"), ValueError),  # type: ignore[arg-type]
        (lambda: RegressionTarget(torch.zeros(3).long()), TypeError),
    ],
)
def test_targets_of_the_wrong_form_are_refused(build: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        build()


def test_the_largest_weight_counts_equal_labels_once() -> None:
    labels = torch.tensor([[3, 3], [3, 1], [2, 0]])
    weights = torch.tensor([[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]])
    assert ClassTarget(labels, weights).top_weight().tolist() == pytest.approx([1.0, 0.6, 0.9])
    assert Target.of(torch.tensor([5, 0])).top_weight().tolist() == [1.0, 1.0]  # type: ignore[attr-defined]


def test_labels_of_class_and_member_can_be_told_apart_and_keep_their_weights() -> None:
    target = ClassTarget(torch.tensor([[3, 1], [0, 2]]), torch.tensor([[0.7, 0.3], [0.5, 0.5]]))
    pairs = target.expand(torch.tensor([1, 3]), 4)
    assert pairs.labels.tolist() == [[13, 5], [3, 11]]
    assert torch.equal(pairs.labels // 4, target.labels)
    assert torch.equal(pairs.labels % 4, torch.tensor([[1, 1], [3, 3]]))
    assert pairs.weights is target.weights


def test_other_weights_make_another_mixture_of_the_same_labels() -> None:
    target = ClassTarget(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    output = torch.tensor([[2.0, -1.0, 0.5]])
    again = target.reweight(torch.tensor([[1.0, 0.25]]))
    log = output.log_softmax(1)[0]
    assert again.loss(output).item() == pytest.approx(float(-log[0] - 0.25 * log[1]), abs=1e-6)
