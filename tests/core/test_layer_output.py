from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vicinal.core.errors import InputError
from vicinal.core.layer_output import replace_output


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2)
        self.shared = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.shared(self.second(self.shared(self.first(x))))
        return output


def double(output: Tensor) -> Tensor:
    return 2 * output


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_later_layers_see_what_the_function_returns_and_gradients_flow_through_it() -> None:
    model, x = Chain(), torch.randn(5, 3)
    with replace_output(model, "first", double):
        output = model(x)
    expected = model.second(model.shared(2 * model.first(x))).relu()
    assert torch.equal(output, expected)
    output.sum().backward()
    found = model.first.weight.grad
    model.zero_grad()
    expected.sum().backward()
    assert found is not None
    torch.testing.assert_close(found, model.first.weight.grad)


def test_outside_the_context_nothing_is_left() -> None:
    model, x = Chain(), torch.randn(5, 3)
    before = model(x)
    with replace_output(model, "second", double):
        model(x)
    assert torch.equal(model(x), before)
    assert hooks(model) == 0


def test_nothing_is_left_after_an_error_in_the_function_the_model_or_the_body() -> None:
    model, x = Chain(), torch.randn(5, 3)

    def fail(_output: Tensor) -> Tensor:
        raise KeyError

    with pytest.raises(KeyError), replace_output(model, "first", fail):
        model(x)
    with pytest.raises(RuntimeError), replace_output(model, "first", double):
        model(torch.randn(5, 7))
    with pytest.raises(ZeroDivisionError), replace_output(model, "first", double):
        raise ZeroDivisionError
    assert hooks(model) == 0


def test_every_pass_inside_the_context_is_changed_once() -> None:
    model, x = Chain(), torch.randn(5, 3)
    calls: list[Tensor] = []

    def count(output: Tensor) -> Tensor:
        calls.append(output)
        return output

    with replace_output(model, "first", count):
        model(x)
        model(x[:2])
    assert [len(output) for output in calls] == [5, 2]


def test_contexts_nest() -> None:
    model, x = Chain(), torch.randn(5, 3)
    with replace_output(model, "first", double), replace_output(model, "second", torch.neg):
        output = model(x)
    expected = (-model.second(model.shared(2 * model.first(x)))).relu()
    assert torch.equal(output, expected)


@pytest.mark.parametrize(("layer", "runs"), [("shared", 2), ("idle", 0)])
def test_a_layer_that_does_not_run_once_is_refused(layer: str, runs: int) -> None:
    model = Chain()
    with (
        pytest.raises(ValueError, match=f"layer '{layer}' runs {runs} times"),
        replace_output(model, layer, double),
    ):
        model(torch.randn(5, 3))


def test_a_layer_that_puts_out_no_tensor_is_refused() -> None:
    model = nn.Sequential(nn.LSTM(3, 4))
    with (
        pytest.raises(ValueError, match="layer '0' puts out a tuple"),
        replace_output(model, "0", double),
    ):
        model(torch.randn(5, 2, 3))


def test_an_unknown_layer_is_refused_with_the_nearest() -> None:
    for layer, message in [("frist", "no layer 'frist': did you mean first"), ("", "no layer ''")]:
        with pytest.raises(InputError, match=message), replace_output(Chain(), layer, double):
            pass


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_changed_too_and_is_compiled_again_afterwards(in_place: bool) -> None:
    model, x = Chain(), torch.randn(5, 3)
    graphs = 0

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return graph

    expected = model(x)
    doubled = model.second(model.shared(2 * model.first(x))).relu()
    if in_place:
        model.compile(backend=backend)
        compiled, prefix = model, ""
    else:
        compiled, prefix = torch.compile(model, backend=backend), "_orig_mod."
    assert torch.equal(compiled(x), expected)
    with replace_output(compiled, f"{prefix}first", double):
        assert torch.equal(compiled(x), doubled)
    assert torch.equal(compiled(x), expected)
    assert graphs == 1
