"""A batch that is mixed several times in one step."""

from __future__ import annotations

import pytest
import torch
from tests.methods.ground import ConvNet, images, make_setting, run, weights
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup, MixupParams


def quiet(outputs: int) -> nn.Module:
    """Without layers whose state or noise depends on how often it runs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, outputs))


def started(method: Supervised) -> tuple[Learner, Batch]:
    learner = method.start(make_setting(5, network=quiet))
    method.enter(learner, method.phases()[0], 5)
    return learner, images().batch(torch.arange(12), epoch=0)


def losses(repeat: int) -> list[Tensor]:
    """Of each of the mixtures of a batch, by a model that has not been trained."""
    method = Supervised(prepared=Mixup(), repeat=repeat)
    learner, batch = started(method)
    mixtures = [mixed for mixed, _ in method.repeated(learner, batch)]
    return [mixed.target.loss(learner.model(mixed.x)) for mixed in mixtures]  # type: ignore[union-attr]


def test_a_step_goes_along_the_mean_of_the_losses() -> None:
    method = Supervised(prepared=Mixup(), repeat=2)
    learner, batch = started(method)
    other, _ = started(method)
    mean = torch.stack(
        [mixed.target.loss(other.model(mixed.x)) for mixed, _ in method.repeated(other, batch)]  # type: ignore[union-attr]
    ).mean()
    other.update(mean)
    told = method.step(learner, {"train": batch})
    torch.testing.assert_close(told["loss"], mean.detach())
    torch.testing.assert_close(weights(learner.model), weights(other.model))
    assert learner.updates == {"model": 1}
    assert all(parameter.grad is None for parameter in learner.model.parameters())


def test_every_repetition_draws_partners_and_weights_anew() -> None:
    method = Supervised(prepared=Mixup(), repeat=3)
    learner, batch = started(method)
    found = [params for _, params in method.repeated(learner, batch)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        one, two = found[first], found[second]
        assert isinstance(one, MixupParams)
        assert isinstance(two, MixupParams)
        assert not torch.equal(one.kept, two.kept)
        assert not torch.equal(one.partner, two.partner)


def test_the_first_mixture_is_that_of_a_step_without_repetition() -> None:
    (once,), (first, _) = losses(1), losses(2)
    assert torch.equal(once, first)


def test_more_mixtures_make_the_loss_of_a_step_vary_less() -> None:
    def spread(repeat: int) -> Tensor:
        method = Supervised(prepared=Mixup(), repeat=repeat)
        learner, _ = started(method)
        found = []
        for epoch in range(200):
            batch = images().batch(torch.arange(12), epoch=epoch)
            mixtures = [mixed for mixed, _ in method.repeated(learner, batch)]
            with torch.no_grad():
                each = [mixed.target.loss(learner.model(mixed.x)) for mixed in mixtures]  # type: ignore[union-attr]
            found.append(torch.stack(each).mean())
        return torch.stack(found).std()

    # Independent ones: the standard deviation of the mean of four is half of one's.
    assert 0.35 < float(spread(4) / spread(1)) < 0.7


def test_it_trains_and_counts_one_step_for_all_repetitions() -> None:
    learner, progress = run(Supervised(prepared=Mixup(), repeat=2), network=ConvNet, epochs=2)
    assert learner.updates == {"model": 10}
    assert len(progress.curves["train loss"]) == 2


def test_repetitions_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="repeat must be at least 1, got 0"):
        Supervised(prepared=Mixup(), repeat=0)
    with pytest.raises(ValueError, match="nothing is"):
        Supervised(repeat=2)
