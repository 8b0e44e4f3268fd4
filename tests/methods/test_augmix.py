from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from tests.methods.ground import ConvNet, images, make_setting, prepare
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.augmix import AugMixConsistency
from vicinal.policies.augmix import AugMix


class Listening(nn.Module):
    """A network that keeps what it was given."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.inner = ConvNet(outputs, dropout=0.0)
        self.given: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x.detach().clone())
        output: Tensor = self.inner(x)
        return output


def start(method: AugMixConsistency) -> Learner:
    return method.start(make_setting(5, network=Listening))


def batch(epoch: int = 0) -> Batch:
    return images().batch(torch.arange(12), epoch=epoch)


def step(method: AugMixConsistency) -> tuple[Tensor, Mapping[str, Tensor]]:
    """What went through the model in the first step, and what was reported."""
    learner = start(method)
    told = method.step(learner, {"train": batch()})
    (given,) = learner.model.given
    return given, told


def test_three_views_go_through_the_model_as_one_batch() -> None:
    given, _ = step(AugMixConsistency())
    assert given.shape == (36, 1, 8, 8)
    clean, first, second = given.split(12)
    assert torch.equal(clean, prepare(images().x[:12]))
    changed = [(view != clean).flatten(1).any(dim=1) for view in (first, second)]
    assert all(one.float().mean() > 0.8 for one in changed)
    assert ((first != second).flatten(1).any(dim=1)).float().mean() > 0.8


@pytest.mark.parametrize("consistency", [0.0, 3.0, 12.0])
def test_the_model_moves_by_the_clean_loss_plus_the_weighted_divergence(
    consistency: float,
) -> None:
    method = AugMixConsistency(consistency)
    trained, fresh = start(method), start(method)
    told = method.step(trained, {"train": batch()})
    (given,) = trained.model.given
    outputs = fresh.model(given).double().view(3, 12, 3)
    clean = F.cross_entropy(outputs[0], images().y[:12])
    divergence = torch.zeros(())
    for row in range(12):
        views = outputs[:, row].softmax(dim=-1)
        mean = views.mean(dim=0)
        divergence = divergence + sum((p * (p / mean).log()).sum() for p in views) / 3
    divergence = divergence / 12
    assert told["loss"].item() == pytest.approx(clean.item(), rel=1e-5)
    assert told["divergence"].item() == pytest.approx(divergence.item(), rel=1e-3)
    parameters = list(fresh.model.parameters())
    slopes = torch.autograd.grad(clean + consistency * divergence, parameters)
    for after, before, slope in zip(trained.model.parameters(), parameters, slopes, strict=True):
        torch.testing.assert_close(after, before - 0.05 * slope, atol=1e-5, rtol=1e-4)


def test_the_score_is_of_the_clean_view() -> None:
    method = AugMixConsistency()
    learner, fresh = start(method), start(method)
    told = method.step(learner, {"train": batch()})
    (given,) = learner.model.given
    # Batch normalisation saw all three views.
    guess = fresh.model(given)[:12].argmax(dim=1)
    assert told["score"].item() == pytest.approx((guess == images().y[:12]).float().mean().item())


def test_views_change_with_the_epoch_and_not_with_the_batch() -> None:
    method = AugMixConsistency()
    learner = start(method)
    shown, _ = method.augmented(learner, batch())
    again, _ = method.augmented(learner, batch())
    later, _ = method.augmented(learner, batch(epoch=1))
    alone, _ = method.augmented(learner, batch()[3:5])
    assert torch.equal(shown.x, again.x)
    assert not torch.equal(shown.x, later.x)
    assert torch.equal(shown.x[3:5], alone.x)


def test_what_is_shown_is_the_first_augmented_view() -> None:
    method = AugMixConsistency()
    given, _ = step(method)
    shown, _ = method.augmented(start(method), batch())
    assert torch.equal(shown.x, given[12:24])


def test_settings_reach_the_augmentation() -> None:
    method = AugMixConsistency(severity=5, width=2, depth=1, alpha=0.5)
    built = method.augmix
    assert isinstance(built, AugMix)
    assert (built.severity, built.width, built.depth, built.alpha) == (5, 2, 1, 0.5)
    assert set(method.card.parameters) == {"consistency", *AugMix.card.parameters}


@pytest.mark.parametrize(
    "settings, name", [({"consistency": -1.0}, "consistency"), ({"width": 0}, "width")]
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be in"):
        AugMixConsistency(**settings)
