from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.methods.ground import ConvNet, images, make_setting, prepare, run, weights
from torch import Tensor, nn

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method
from vicinal.methods.plain import Bare, LabelSmoothing, Plain
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.image.flip import HorizontalFlip


def quiet(outputs: int) -> nn.Module:
    return ConvNet(outputs, dropout=0.0)


def start(method: Method, *, baseline: Augmentation | None = None) -> Learner:
    return method.start(make_setting(5, network=quiet, baseline=baseline))


def batch(epoch: int = 0) -> Batch:
    return images().batch(torch.arange(12), epoch=epoch)


def test_plain_training_is_the_loop_anyone_would_write() -> None:
    seen: list[Tensor] = []

    class Listening(Plain):
        def step(self, learner: Learner, batches: dict[str, Batch]) -> dict[str, Tensor]:
            seen.append(batches["train"].index)
            return dict(super().step(learner, batches))

    trained, progress = run(Listening(), epochs=2, network=quiet)
    plain = images()
    setting = make_setting(10, network=quiet)
    model = setting.make_model(3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = setting.make_schedule(optimiser, 10)
    losses = []
    for rows in seen:
        output = model(prepare(plain.x[rows]))
        loss = F.cross_entropy(output, plain.y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    assert torch.equal(weights(trained.model), weights(model))
    assert progress.curves["train loss"][1] == pytest.approx(sum(losses[5:]) / 5)


def test_the_baseline_is_applied_to_raw_inputs_by_all_but_bare() -> None:
    baseline = PadCrop(2)
    seen, _ = Plain().augmented(start(Plain(), baseline=baseline), batch())
    still, _ = Bare().augmented(start(Bare(), baseline=baseline), batch())
    assert torch.equal(still.x, prepare(images().x[:12]))
    learner = start(Plain(), baseline=baseline)
    cropped, _ = baseline.augment(batch(), learner.draws(batch()).within("baseline"))
    assert torch.equal(seen.x, prepare(cropped.tensor))
    assert not torch.equal(seen.x, still.x)


@pytest.mark.parametrize("method", [Plain(), Supervised(prepared=Mixup()), LabelSmoothing()])
def test_every_arm_meets_the_same_baseline_on_the_same_sample(method: Supervised) -> None:
    baseline = HorizontalFlip()
    learner = start(method, baseline=baseline)
    expected = start(Plain(), baseline=baseline)
    assert torch.equal(
        method.based(learner, batch()).tensor, Plain().based(expected, batch()).tensor
    )


def test_the_baseline_changes_from_epoch_to_epoch() -> None:
    method, baseline = Plain(), HorizontalFlip()
    learner = start(method, baseline=baseline)
    seen = {
        method.augmented(learner, batch(epoch))[0].tensor.numpy().tobytes() for epoch in range(9)
    }
    assert len(seen) > 6


def test_label_smoothing_trains_on_torch_s_smoothed_loss() -> None:
    method = LabelSmoothing(0.3)
    learner = start(method)
    with torch.no_grad():
        output = learner.model(prepare(images().x[:12]))
    told = method.step(learner, {"train": batch()})
    expected = F.cross_entropy(output, images().y[:12], label_smoothing=0.3)
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_label_smoothing_of_nothing_is_plain_training() -> None:
    smoothed, _ = run(LabelSmoothing(0.0), network=quiet)
    plain, _ = run(Plain(), network=quiet)
    torch.testing.assert_close(weights(smoothed.model), weights(plain.model))


def test_label_smoothing_makes_predictions_less_sure() -> None:
    def confidence(method: Supervised) -> float:
        learner, _ = run(method, epochs=12)
        with torch.no_grad(), learner.evaluating():
            output = method.predict(learner, images().batch(torch.arange(60), epoch=0))
        return output.softmax(dim=1).amax(dim=1).mean().item()

    assert confidence(LabelSmoothing(0.4)) < confidence(Plain()) - 0.05


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0])
def test_a_share_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got"):
        LabelSmoothing(smoothing)


def test_training_scores_are_the_accuracy_expected_under_the_mixture() -> None:
    method = Supervised(prepared=CutMix())
    learner = start(method)
    mixed, _ = method.augmented(learner, batch())
    with torch.no_grad():
        guess = learner.model(mixed.x).argmax(dim=1)
    told = method.step(learner, {"train": batch()})
    assert mixed.target is not None
    dense = mixed.target.dense(3)
    assert told["score"].item() == pytest.approx(dense[torch.arange(12), guess].mean().item())


def test_raw_and_prepared_inputs_are_augmented_in_this_order() -> None:
    class Tell(HorizontalFlip):
        """Keeps the type of what it was given."""

        seen: list[torch.dtype] = []  # noqa: RUF012

        def apply(self, batch: Batch, params: object) -> Batch:
            self.seen.append(batch.tensor.dtype)
            return batch

    method = Supervised(raw=Tell(), prepared=Tell())
    method.augmented(start(method), batch())
    assert Tell.seen == [torch.uint8, torch.float32]
