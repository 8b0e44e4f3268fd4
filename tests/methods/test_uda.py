"""UDA and FixMatch: what a step computes, what it may not see, and what predicts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.methods.ground import BATCH, ConvNet, images, make_setting, prepare, run, weights
from torch import Tensor

from vicinal.compare.training import Examples
from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.methods.fixmatch import FixMatch
from vicinal.methods.two_views import AVERAGE, TwoViews
from vicinal.methods.uda import UDA
from vicinal.models.averaging import EMATwin
from vicinal.transforms.image.flip import HorizontalFlip

KNOWN, HIDDEN = torch.arange(24), torch.arange(24, 60)


def still(outputs: int) -> ConvNet:
    return ConvNet(outputs, dropout=0.0)


def trained(method: TwoViews, examples: Examples | None = None, **options: Any) -> Learner:
    learner, _ = run(
        method,
        examples=examples,
        rows=KNOWN,
        parts={"unlabelled": HIDDEN},
        network=still,
        **options,
    )
    return learner


def batches(ratio: int = 2) -> dict[str, Batch]:
    examples = images()
    return {
        "train": examples.batch(KNOWN[:BATCH], epoch=0),
        "unlabelled": examples.batch(HIDDEN[: ratio * BATCH], epoch=0, labelled=False),
    }


def by_hand(learner: Learner, method: TwoViews, some: dict[str, Batch], **settings: Any) -> Tensor:
    """The loss of a step, from the outputs for all three kinds of views."""
    strong = method.augmented(learner, some["unlabelled"])[0].tensor
    views = [prepare(some["train"].tensor), prepare(some["unlabelled"].tensor), strong]
    output, guess, other = learner.model(torch.cat(views)).split([len(view) for view in views])
    assert some["train"].target is not None
    p = guess.detach().softmax(dim=1)
    counted = (p.amax(dim=1) > settings["threshold"]).float()
    if settings.get("hard"):
        each = F.cross_entropy(other, p.argmax(dim=1), reduction="none")
    else:
        sharp = (guess.detach() / settings["temperature"]).softmax(dim=1)
        each = F.kl_div(other.log_softmax(dim=1), sharp, reduction="none").sum(dim=1)
    loss = some["train"].target.loss(output) + settings["weight"] * (counted * each).mean()
    if settings.get("entropy"):
        loss = (
            loss
            - settings["entropy"]
            * (guess.softmax(dim=1) * guess.log_softmax(dim=1)).sum(dim=1).mean()
        )
    return loss


@pytest.mark.parametrize(
    "method, settings",
    [
        (
            UDA(2, temperature=0.5, threshold=0.4, weight=3.0),
            {"temperature": 0.5, "threshold": 0.4, "weight": 3.0},
        ),
        (
            UDA(2, threshold=0.36, entropy=0.5),
            {"temperature": 0.4, "threshold": 0.36, "weight": 1.0, "entropy": 0.5},
        ),
        (
            FixMatch(2, threshold=0.4, weight=2.0),
            {"hard": True, "threshold": 0.4, "weight": 2.0},
        ),
    ],
    ids=["uda", "uda with entropy", "fixmatch"],
)
def test_a_step_goes_down_the_slope_of_the_papers_loss(
    method: TwoViews, settings: dict[str, Any]
) -> None:
    learner = method.start(make_setting(10, network=still, momentum=0.0))
    some = batches()
    loss = by_hand(learner, method, some, **settings)
    names, parameters = zip(*learner.model.named_parameters(), strict=True)
    slopes = torch.autograd.grad(loss, parameters)
    before = [parameter.detach().clone() for parameter in parameters]
    facts = method.step(learner, some)
    rate = 0.05
    assert 0 < facts["kept"] <= 1
    assert facts["consistency"] > 0
    torch.testing.assert_close(facts["loss"], loss.detach())
    for name, slope, start, parameter in zip(names, slopes, before, parameters, strict=True):
        torch.testing.assert_close(
            parameter.detach(), start - rate * slope, msg=name, atol=1e-6, rtol=1e-5
        )


def test_fixmatch_is_uda_with_guesses_that_are_sharpened_to_the_end() -> None:
    fixmatch = trained(FixMatch(2, threshold=0.5, decay=0.99))
    sharp = trained(UDA(2, temperature=1e-4, threshold=0.5, decay=0.99))
    soft = trained(UDA(2, threshold=0.5, decay=0.99))
    torch.testing.assert_close(weights(fixmatch.model), weights(sharp.model))
    assert not torch.allclose(weights(fixmatch.model), weights(soft.model))


def test_labels_of_unlabelled_rows_are_never_seen() -> None:
    plain = images()
    lies = plain.y.clone()
    lies[HIDDEN] = (lies[HIDDEN] + 1) % 3
    for method in (UDA(2, threshold=0.4, annealing="log"), FixMatch(2, threshold=0.4)):
        first, second = trained(method), trained(method, Examples(plain.x, lies))
        assert torch.equal(weights(first.model), weights(second.model))
        darker = plain.x.clone()
        darker[HIDDEN] //= 2
        other = trained(method, Examples(darker, plain.y))
        assert not torch.equal(weights(first.model), weights(other.model))


def test_where_no_rows_come_without_labels_the_labelled_ones_serve() -> None:
    method = UDA(2, threshold=0.0)
    with_it, progress = run(method, network=still)
    without, _ = run(UDA(2, threshold=1.0), network=still)
    assert progress.curves["train kept"] == [1.0] * 3
    assert not torch.equal(weights(with_it.model), weights(without.model))


def test_the_averaged_model_predicts_and_its_momentum_warms_up() -> None:
    method = UDA(2, decay=0.15)
    seen: list[dict[str, Tensor]] = []
    start = method.start(make_setting(3, network=still)).model.state_dict()
    learner, _ = run(
        method,
        rows=torch.arange(BATCH),
        parts={"unlabelled": HIDDEN},
        network=still,
        observe=lambda learner, _: seen.append(
            {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
        ),
    )
    assert learner.step == len(seen) == 3
    average = learner.networks[AVERAGE]
    assert isinstance(average, EMATwin)
    for name, found in average.network.state_dict().items():
        expected = start[name]
        for state, momentum in zip(seen, (0.1, 0.15, 0.15), strict=True):  # 1/10, 2/11 is above
            expected = momentum * expected + (1 - momentum) * state[name]
        if found.is_floating_point():
            torch.testing.assert_close(found, expected)
    batch = images().batch(torch.arange(8), epoch=0, labelled=False)
    with torch.no_grad(), learner.evaluating():
        predicted = method.predict(learner, batch)
        torch.testing.assert_close(predicted, average.network(prepare(batch.tensor)))
        assert not torch.allclose(predicted, learner.model(prepare(batch.tensor)))


def test_labels_that_are_known_count_again_as_the_threshold_rises() -> None:
    method = UDA(2, annealing="linear", threshold=1.0)
    learner = method.start(make_setting(100, network=still))
    head = learner.model.head
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))  # 0.58 for class 0, 0.21 for the others
    some = batches()
    labels = images().y[KNOWN[:BATCH]]
    shares = []
    for step in (0, 40, 100):
        learner.step = step
        output = head(torch.zeros(BATCH, 128))
        facts = method.labelled_loss(learner, output, some["train"])[1]
        shares.append(facts["labels counted"].item())
    zeros = (labels == 0).float().mean().item()
    assert shares == pytest.approx([1 - zeros, 1, 1])
    learner.step = 36  # a threshold of 0.573
    loss, _ = method.labelled_loss(learner, output, some["train"])
    torch.testing.assert_close(loss, F.cross_entropy(output[labels != 0], labels[labels != 0]))


def test_both_views_are_mirrored_and_each_by_a_draw_of_its_own() -> None:
    method = UDA(2, strong=HorizontalFlip(prob=0.0))
    flip = HorizontalFlip()
    learner = method.start(make_setting(5, network=still, baseline=flip))
    batch = images().batch(torch.arange(60), epoch=0, labelled=False)
    weak, strong = (
        method.ready(learner, batch)[0].tensor,
        method.augmented(learner, batch)[0].tensor,
    )
    plain = prepare(batch.tensor)
    mirrored = [(view != plain).flatten(1).any(dim=1) for view in (weak, strong)]
    assert all(15 < int(one.sum()) < 45 for one in mirrored)
    assert 15 < int((mirrored[0] == mirrored[1]).sum()) < 45


def test_data_that_the_strong_views_are_not_made_for_are_refused() -> None:
    setting = dataclasses.replace(make_setting(5), modality="tabular")
    with pytest.raises(ValueError, match="RandAugment makes strong views of image data, and these"):
        FixMatch().start(setting)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"ratio": 0.0}, r"ratio must be in \(0, inf\), got 0\.0"),
        ({"threshold": 1.1}, r"threshold must be in \[0, 1\], got 1\.1"),
        ({"annealing": "cosine"}, "annealing must be one of none, linear, exp, log, got 'cosine'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UDA(**settings)
