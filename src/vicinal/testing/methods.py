"""The contract of methods as one function, and as a list of checks for a test runner."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.compare.training import Progress
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.method import Learner, Method
from vicinal.testing.failure import Broken, ContractError, expect, expect_same, given
from vicinal.testing.training import MODELS, Ground, everything, weights

#: How a card's kinds of target are called as tasks.
KINDS = {"classes": "classification", "regression": "regression"}
#: Logits of a sample may differ by rounding with the number of rows in a batch.
ROUNDING = 1e-4

Model = str | Callable[[int], nn.Module]


@dataclass(frozen=True)
class MethodCheck:
    """One clause of the contract, bound to a method and a task. Call it: it raises ContractError.

    name: of the clause.
    """

    method: Method
    ground: Ground
    name: str
    test: Callable[[Method, Ground], None]

    def __call__(self) -> None:
        """Raise ContractError unless the method keeps the clause."""
        try:
            with given(f"{self.ground.kind} of {self.ground.modality} rows, {self.ground.model}"):
                self.test(self.method, self.ground)
        except Broken as broken:
            raise ContractError(
                component=type(self.method).__name__,
                check=self.name,
                given=broken.given,
                expected=broken.expected,
                found=broken.found,
            ) from broken.__cause__

    def __str__(self) -> str:
        return f"{type(self.method).__name__}-{self.ground.modality}-{self.ground.kind}-{self.name}"


def checks_for_method(
    method: Method, *, models: Iterable[Model] | None = None
) -> list[MethodCheck]:
    """The checks that a method must pass, on a small task of every kind that its card claims.

    For `pytest.mark.parametrize("check", checks_for_method(Mine()), ids=str)`.

    Args:
        method: any instance.
        models: tried in turn until the method takes one: names as `vicinal compare --model` takes
            them, or functions of the number of outputs. By default small ones of the library, and a
            vision transformer of timm.

    Raises:
        TypeError: the method has no card.
        ValueError: there are no samples of its modalities, or it refuses every model.
    """
    card = getattr(method, "card", None)
    if not isinstance(card, Card):
        raise TypeError(f"{type(method).__name__} needs a card: it says what to check")
    grounds = [
        _ground(method, modality, kind, models)
        for modality in MODELS
        if card.suits(modality)
        for target, kind in KINDS.items()
        if target in card.targets
    ]
    if not grounds:
        raise ValueError(f"there are no small tasks of {', '.join(card.modality)}")
    return [
        MethodCheck(method, ground, name, test)
        for ground in grounds
        for name, test in CHECKS.items()
    ]


def check_method(method: Method, *, models: Iterable[Model] | None = None) -> None:
    """Hold a method, built in or your own, to the contract, on small tasks that its card claims.

    It trains for a few steps: the same seed gives the same losses, whatever torch's global
    generator is at; what is saved and taken up again ends as if it had never stopped; it moves the
    networks it says (`Method.moved`) and no other, leaves no gradient behind, and takes no more
    optimiser steps than every arm; a prediction has the right shape and does not depend on the
    company it comes in, nor does asking for one change anything; it trains in single and in mixed
    precision; a model that lacks what it needs is refused before training, in a line.

    Args:
        method: any instance.
        models: see `checks_for_method`.

    Raises:
        ContractError: a clause is broken; it names the method, the check, what was given, what
            was expected and what was found.
        TypeError: the method has no card.
        ValueError: there are no samples of its modalities, or it refuses every model.
    """
    for check in checks_for_method(method, models=models):
        check()


def _ground(method: Method, modality: str, kind: str, models: Iterable[Model] | None) -> Ground:
    """A task with the first model that the method takes."""
    refused = []
    for model in MODELS[modality] if models is None else models:
        ground = Ground(modality, kind, model)
        try:
            ground.run(method, epochs=1)
        except ValueError as error:
            refused.append(f"{model}: {error}")
        except Exception:  # the checks tell of it
            return ground
        else:
            return ground
    raise ValueError(f"{type(method).__name__} refuses every model: {'; '.join(refused)}")


def _trains(method: Method, ground: Ground) -> None:
    learner, progress, _ = ground.run(method)
    expect(progress.epoch == 2, "two epochs of training", f"{progress.epoch}")
    expect(bool(progress.curves), "a loss or score in what `step` reports", "nothing")
    told = [value for curve in progress.curves.values() for value in curve]
    expect(any(map(math.isfinite, told)), "finite numbers in what `step` reports", f"{told}")
    steps, taken = learner.step, learner.updates["model"]
    expect(taken <= steps, f"at most {steps} steps of the optimiser `model`", f"{taken}")


def _same_seed_same_result(method: Method, ground: Ground) -> None:
    (first, early, _), (second, late, _) = ground.run(method), ground.run(method)
    expect_same(everything(second), everything(first), "the same weights for the same seed")
    expect(
        repr(early.curves) == repr(late.curves),
        "the same losses for the same seed",
        f"{late.curves} after {early.curves}",
    )
    third, _, _ = ground.run(method, seed=1)
    other, own = weights(third.model), weights(first.model)
    expect(not torch.equal(other, own), "another result for another seed", "the same weights")


def _global_state_is_left_alone(method: Method, ground: Ground) -> None:
    before = torch.get_rng_state()
    first, _, _ = ground.run(method, global_seed=1)
    second, _, _ = ground.run(method, global_seed=2)
    expect(
        torch.equal(before, torch.get_rng_state()),
        "torch's global generator as it was",
        "another state",
    )
    expect_same(everything(second), everything(first), "the same under any global seed")


def _resumes(method: Method, ground: Ground) -> None:
    saved: list[dict[str, Any]] = []

    def save(learner: Learner, progress: Progress) -> None:
        if progress.epoch == 1:
            saved.append(copy.deepcopy(learner.state_dict()))

    whole, progress, _ = ground.run(method, observe=save)
    resumed, rest, _ = ground.run(method, state=saved[0], global_seed=5)
    expect_same(
        everything(resumed), everything(whole), "what is taken up again to end as without a stop"
    )
    for name, curve in progress.curves.items():
        later = rest.curves.get(name, [math.nan] * 2)[1]
        expect(repr(later) == repr(curve[1]), f"{name} of {curve[1]}", f"{later}")


def _moves_what_it_says(method: Method, ground: Ground) -> None:
    learner, _, _ = ground.run(method)
    untouched, _, _ = ground.run(_Idle(method))
    moved = {
        name
        for name, network in learner.networks.items()
        if not torch.equal(weights(network), weights(untouched.networks[name]))
    }
    expect(
        moved == method.moved,
        f"training to change {_named(method.moved)}, as `moved` says",
        f"it changes {_named(moved)}",
    )
    for name, network in learner.networks.items():
        left = [key for key, one in network.named_parameters() if one.grad is not None]
        expect(not left, "no gradient left behind", f"gradients in {name}: {', '.join(left[:3])}")


def _predicts(method: Method, ground: Ground) -> None:
    learner, _, arena = ground.run(method, epochs=1)
    before = {name: tensor.clone() for name, tensor in everything(learner).items()}
    batch = arena.examples.batch(arena.split.test, epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        together = method.predict(learner, batch)
        alone = torch.cat([method.predict(learner, _only(batch, at)) for at in range(len(batch))])
    shape = (len(batch), arena.task.outputs)
    expect(tuple(together.shape) == shape, f"predictions {shape}", f"{tuple(together.shape)}")
    expect_same(
        alone.float(),
        together.float(),
        "the same prediction in any company",
        atol=ROUNDING * max(1.0, together.abs().max().item()),
    )
    expect_same(everything(learner), before, "predicting to change nothing")


def _works_in_mixed_precision(method: Method, ground: Ground) -> None:
    with given(f"{ground.modality} rows, {ground.model}, bf16-mixed"):
        _, progress, _ = ground.run(method, epochs=1, precision="bf16-mixed")
        told = [curve[0] for curve in progress.curves.values()]
        expect(any(map(math.isfinite, told)), "finite losses", f"{progress.curves}")


def _refuses_in_a_line(method: Method, ground: Ground) -> None:
    bare = replace(ground, model=_Bare)
    try:
        bare.run(method, epochs=1)
    except ValueError as error:
        said = str(error)
        expect(bool(said) and "\n" not in said, "a refusal in one line", repr(said))
    except Exception as error:
        raise Broken(
            "a model without named layers to be trained, or refused with a ValueError",
            f"{type(error).__name__}: {error}",
        ) from error


CHECKS: dict[str, Callable[[Method, Ground], None]] = {
    "trains": _trains,
    "same_seed_same_result": _same_seed_same_result,
    "global_state_is_left_alone": _global_state_is_left_alone,
    "resumes": _resumes,
    "moves_what_it_says": _moves_what_it_says,
    "predicts": _predicts,
    "works_in_mixed_precision": _works_in_mixed_precision,
    "refuses_in_a_line": _refuses_in_a_line,
}


class _Idle(Method):
    """Starts as another method does, and neither enters a phase nor takes a step."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.apart = method.apart

    def phases(self) -> Any:
        return self.method.phases()

    def start(self, setting: Any) -> Learner:
        return self.method.start(setting)

    def step(self, learner: Learner, batches: Any) -> dict[str, Tensor]:
        return {}


class _Bare(nn.Module):
    """A model that does all in one layer, for inputs of any shape."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, 4) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        least, most = flat.amin(dim=1), flat.amax(dim=1)
        found = torch.stack([flat.mean(dim=1), flat.std(dim=1), least, most], dim=1)
        return found @ self.weight.to(found).T


def _only(batch: Batch, at: int) -> Batch:
    """One row, in a batch of its own."""
    return batch.map(lambda tensor: tensor[at : at + 1])


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
