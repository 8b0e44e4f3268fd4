"""A model after a step that is not taken, as a function of whatever the step's loss depends on.

Bilevel methods ask: if the model took a step on this loss, how would it do on other samples? The
answer is differentiable in the loss, so that what shaped the loss (a policy, sample weights, a
mixer) can be moved by it. The model and its optimiser stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Adam, Optimizer

#: A step: (parameter, gradient, settings of its group, its state) -> the moved parameter.
Rule = Callable[[Tensor, Tensor, Mapping[str, Any], Mapping[str, Any]], Tensor]


@dataclass(frozen=True)
class Ahead:
    """A model with other weights; called as the model is, in its current mode.

    parameters: by name; those that are missing are the model's own.
    buffers: by name. Every call works on copies, so that statistics are written nowhere else.
    """

    model: nn.Module
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    def __call__(self, *inputs: Any) -> Any:
        copies = {name: buffer.clone() for name, buffer in self.buffers.items()}
        return functional_call(self.model, {**self.parameters, **copies}, inputs)


def look_ahead(
    model: nn.Module, loss: Callable[[Callable[..., Any]], Tensor], *, optimiser: Optimizer
) -> Ahead:
    """The model as one step of its optimiser on a loss would leave it.

    Learning rate, weight decay, momentum and other state are the optimiser's at this moment.
    Gradients flow from the result's outputs through the step to all that the loss was made from,
    which takes second derivatives: four to six times the work of an ordinary step.

        ahead = look_ahead(model, lambda f: target.loss(f(policy(x))), optimiser=optimiser)
        held_out.target.loss(ahead(held_out.x)).backward()  # the gradient of the policy

    Args:
        model: bare; left as it is, statistics of batch normalisation included.
        loss: called with a function that runs the model; returns a scalar.
        optimiser: SGD, Adam or AdamW, bare or set up by Fabric. Parameters that it does not move,
            or that the loss does not depend on, stay.

    Raises:
        ValueError: the optimiser is of another kind.
    """
    rule = differentiable_rule(optimiser)
    groups = {one: group for group in optimiser.param_groups for one in group["params"]}
    moved = {
        name: one for name, one in model.named_parameters() if one in groups and one.requires_grad
    }
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def forward(*inputs: Any) -> Any:
        return functional_call(model, {**moved, **buffers}, inputs)

    # Fused attention has no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        slopes = torch.autograd.grad(
            loss(forward), tuple(moved.values()), create_graph=True, allow_unused=True
        )
    stepped = {
        name: one if slope is None else rule(one, slope, groups[one], optimiser.state.get(one, {}))
        for (name, one), slope in zip(moved.items(), slopes, strict=True)
    }
    return Ahead(model, stepped, {name: buffer.detach() for name, buffer in buffers.items()})


def differentiable_rule(optimiser: Optimizer) -> Rule:
    """How an optimiser moves a parameter, out of place. Raises ValueError if it is not known."""
    if isinstance(optimiser, SGD):
        return sgd_step
    if isinstance(optimiser, Adam) and not any(g["amsgrad"] for g in optimiser.param_groups):
        return adam_step
    kind = type(getattr(optimiser, "optimizer", optimiser)).__name__
    raise ValueError(f"a look-ahead needs SGD, or Adam or AdamW without amsgrad, got {kind}")


def sgd_step(
    parameter: Tensor, slope: Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
) -> Tensor:
    """`torch.optim.SGD`, with momentum, Nesterov's included, and weight decay."""
    slope = -slope if group["maximize"] else slope
    slope = slope + group["weight_decay"] * parameter
    momentum = group["momentum"]
    if momentum:
        gathered = state.get("momentum_buffer")
        velocity = (
            slope if gathered is None else momentum * gathered + (1 - group["dampening"]) * slope
        )
        slope = slope + momentum * velocity if group["nesterov"] else velocity
    stepped: Tensor = parameter - group["lr"] * slope
    return stepped


def adam_step(
    parameter: Tensor, slope: Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
) -> Tensor:
    """`torch.optim.Adam` and `AdamW`."""
    slope = -slope if group["maximize"] else slope
    decay, rate = group["weight_decay"], group["lr"]
    if group["decoupled_weight_decay"]:
        parameter = parameter * (1 - rate * decay)
    else:
        slope = slope + decay * parameter
    first, second = group["betas"]
    step = float(state["step"]) + 1 if "step" in state else 1.0
    mean = (1 - first) * slope + first * state.get("exp_avg", 0.0)
    square = (1 - second) * slope.square() + second * state.get("exp_avg_sq", 0.0)
    # The root has no slope at zero, where nothing moves anyway.
    still = square == 0
    root = torch.where(still, 1.0, square).sqrt().masked_fill(still, 0.0)
    spread = root / math.sqrt(1 - second**step) + group["eps"]
    stepped: Tensor = parameter - rate / (1 - first**step) * mean / spread
    return stepped
