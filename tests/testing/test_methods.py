"""The checker of methods lets good ones pass, and tells of broken ones what is broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.method import Learner, Method, Setting
from vicinal.methods.supervised import Supervised
from vicinal.testing import ContractError, check_method, checks_for_method


class Mine(Supervised):
    """A method of a user's own, which is right. It is not registered: it has a card for a test."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Leave broken ones out of the registry."""

    def __init__(self) -> None:
        super().__init__()


Mine.card = Card(
    name="mine",
    kind="method",
    family="plain",
    modality=("tabular",),
    summary="Plain training.",
    targets=("classes",),
)


class GlobalDraws(Mine):
    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch = batches["train"]
        return super().step(learner, {"train": batch.replace(x=batch.x + torch.rand(()))})


class Forgets(Mine):
    """Counts on itself instead of in the learner."""

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        count = learner.__dict__["count"] = learner.__dict__.get("count", 0) + 1
        batch = batches["train"]
        return super().step(learner, {"train": batch.replace(x=batch.x * (1 + 0.1 * count))})


class MovesMore(Mine):
    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        with setting.seeded("friend"):
            learner.networks["friend"] = nn.Linear(2, 2)
        return learner

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        with torch.no_grad():
            next(learner.networks["friend"].parameters()).add_(0.1)
        return super().step(learner, batches)


class LeavesGradients(MovesMore):
    moved = frozenset({"model", "friend"})

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        sum(one.sum() for one in learner.networks["friend"].parameters()).backward()
        return super().step(learner, batches)


class Companionable(Mine):
    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        x = learner.setting.prepare(batch.tensor)
        output: Tensor = learner.model(x - x.mean(dim=0))
        return output


class Flat(Mine):
    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        return super().predict(learner, batch).argmax(dim=1)


class LearnsFromPredicting(Mine):
    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        learner.memory["seen"] = learner.memory.get("seen", torch.zeros(())) + 1
        return super().predict(learner, batch)


class SinglePrecision(Mine):
    def report(self, loss: Tensor, output: Tensor, batch: Batch) -> dict[str, Any]:
        output.detach().numpy()  # which has no bfloat16
        return super().report(loss, output, batch)


class BreaksDown(Mine):
    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        dict(learner.model.named_children())["net"]
        return super().step(learner, batches)


class Silent(Mine):
    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        super().step(learner, batches)
        return {}


def test_a_method_that_is_right_passes() -> None:
    check_method(Mine())


@pytest.mark.parametrize(
    ("broken", "check", "told"),
    [
        (GlobalDraws, "global_state_is_left_alone", "the same under any global seed"),
        (Forgets, "resumes", "taken up again"),
        (MovesMore, "moves_what_it_says", "it changes friend, model"),
        (LeavesGradients, "moves_what_it_says", "gradients in friend"),
        (Companionable, "predicts", "the same prediction in any company"),
        (Flat, "predicts", "(8, 3)"),
        (LearnsFromPredicting, "predicts", "predicting to change nothing"),
        (SinglePrecision, "works_in_mixed_precision", "bf16-mixed"),
        (BreaksDown, "refuses_in_a_line", "KeyError"),
        (Silent, "trains", "in what `step` reports"),
    ],
)
def test_a_method_that_is_broken_is_caught(broken: type[Method], check: str, told: str) -> None:
    checks = {one.name: one for one in checks_for_method(broken())}
    with pytest.raises(ContractError) as caught:
        checks[check]()
    assert told in str(caught.value)
    assert broken.__name__ in str(caught.value)


def test_a_method_that_refuses_every_model_is_named_with_the_reasons() -> None:
    class Choosy(Mine):
        def start(self, setting: Setting) -> Learner:
            raise ValueError("choosy needs a model with a soul")

    with pytest.raises(ValueError, match="Choosy refuses every model: mlp: choosy needs a model"):
        check_method(Choosy())


def test_a_model_of_ones_own_is_taken() -> None:
    class Wide(nn.Module):
        built: ClassVar[list[int]] = []

        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.built.append(outputs)
            self.layer = nn.Linear(6, outputs)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.layer(x)
            return found

    check_method(Mine(), models=[Wide])
    assert set(Wide.built) == {3}


def test_a_method_without_a_card_is_refused() -> None:
    with pytest.raises(TypeError, match="Supervised needs a card"):
        check_method(Supervised())
