"""MixPro: which batches attention labels, and what becomes of the trust in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from tests.methods.digits_in_frames import accuracy_of, small_transformer
from tests.methods.ground import ConvNet, run
from torch import Tensor

from vicinal import Batch, ClassTarget, Draws, Params
from vicinal.core.learner import Learner
from vicinal.core.probe import listening
from vicinal.methods.mixpro import MixPro, ProgressiveLabels
from vicinal.methods.transmix import TransMix
from vicinal.mixers.choice import ChoiceParams
from vicinal.objectives.trust import CosineTrust


def images(rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch.of(torch.randn(rows, 1, 32, 32, generator=generator), torch.arange(rows))


def step(method: MixPro, seed: int) -> tuple[Batch, ChoiceParams, Tensor, Tensor, Tensor]:
    """Returns the mixed batch, its params, the output, the attention and the loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small_transformer(10)
    assert method.prepared is not None
    batch = images()
    mixed, params = method.prepared.augment(batch, Draws(seed, batch.index))
    with listening(method.probes, {"model": model}) as heard:
        output = model(mixed.x)
    assert isinstance(params, ChoiceParams)
    (attention,) = heard.values()
    return mixed, params, output, attention, method.objective(output, mixed, params, heard)


def test_half_of_the_batches_mix_cells_and_the_others_are_mixup_or_cutmix() -> None:
    method, batch = MixPro(), images()
    assert method.prepared is not None
    chosen = torch.stack(
        [method.prepared.sample(batch, Draws(seed, batch.index)).chosen for seed in range(1000)]
    )
    assert (chosen == chosen[:, :1]).all()
    shares = torch.bincount(chosen[:, 0], minlength=3) / 1000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.25, 0.25]), atol=0.05, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_cells_are_labelled_by_trusted_attention_with_hard_labels(seed: int) -> None:
    mixed, params, output, attention, loss = step(MixPro(cell_share=1.0), seed)
    own = params.parts[0].cells.repeat_interleave(2, 1).repeat_interleave(2, 2)
    attended = (attention * own).sum((1, 2)) / attention.sum((1, 2))
    assert isinstance(mixed.target, ClassTarget)
    area = own.float().mean((1, 2))
    dense = mixed.target.dense(10) * 0.9 + 0.01
    trust = F.cosine_similarity(dense, output.softmax(1))
    kept = (trust * attended + (1 - trust) * area).detach()
    first, second = mixed.target.labels.unbind(1)
    expected = kept * F.cross_entropy(output, first, reduction="none")
    expected += (1 - kept) * F.cross_entropy(output, second, reduction="none")
    torch.testing.assert_close(loss, expected.mean())


@pytest.mark.parametrize("seed", range(4))
def test_other_batches_have_smoothed_labels_by_area(seed: int) -> None:
    mixed, _, output, _, loss = step(MixPro(cell_share=0.0), seed)
    assert isinstance(mixed.target, ClassTarget)
    dense = mixed.target.dense(10) * 0.9 + 0.01
    torch.testing.assert_close(loss, F.cross_entropy(output, dense))


def test_by_sample_each_row_has_the_loss_of_its_own_mixer() -> None:
    mixed, params, output, attention, loss = step(MixPro(scope="sample"), 1)
    assert len(params.chosen.unique()) > 1
    objective = MixPro(scope="sample").objective
    assert isinstance(objective, ProgressiveLabels)
    heard = {objective.attended.probe: attention}
    rows = [
        objective(output[row], mixed[row], params[row], heard={p: a[row] for p, a in heard.items()})
        for row in torch.arange(6)[:, None]
    ]
    torch.testing.assert_close(loss, torch.stack(rows).mean())


def test_a_model_without_a_class_token_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="class attention needs a model with a class token"):
        run(MixPro(), network=ConvNet)


def test_labels_that_no_mixer_chose_are_refused() -> None:
    objective = MixPro().objective
    with pytest.raises(TypeError, match="class labels mixed by one of several"):
        objective(torch.zeros(6, 10), images(), None, {})


@pytest.mark.parametrize(
    "settings", [{"alpha": 0}, {"cells": 0}, {"cell_share": 1.1}, {"smoothing": 1.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        MixPro(**settings)


EPOCHS, SEEDS = 20, 3


class Watching(ProgressiveLabels):
    """Keeps the mean trust of the batches mixed by cells, and how far it moves their labels."""

    def __init__(self) -> None:
        super().__init__(CosineTrust(), 0.1)
        self.seen: list[tuple[float, float]] = []

    def __call__(self, output: Tensor, batch: Batch, params: Params | None, heard: Any) -> Tensor:
        assert isinstance(params, ChoiceParams)
        if bool((params.chosen == 0).all()):
            assert isinstance(batch.target, ClassTarget)
            attention = heard[self.attended.probe]
            target = self.attended.target(batch, params, attention, output=output)
            trust = CosineTrust()(output, batch.target, attention).mean().item()
            moved = target.weights - batch.target.weights
            self.seen.append((trust, moved.abs().mean().item()))
        return super().__call__(output, batch, params, heard)


@cache
def watched(seed: int) -> tuple[list[float], list[float], float]:
    """Trust and shift of labels, epoch by epoch, and accuracy."""
    method = MixPro()
    watching = Watching()
    method.objective = watching
    epochs: list[tuple[float, float]] = []

    def close(_learner: Learner, _progress: Any) -> None:
        trust, moved = (torch.tensor(watching.seen).mean(0)).tolist()
        epochs.append((trust, moved))
        watching.seen.clear()

    accuracy = accuracy_of(method, seed=seed, epochs=EPOCHS, observe=close)
    trusts, shifts = zip(*epochs, strict=True)
    return list(trusts), list(shifts), accuracy


@pytest.mark.slow
def test_trust_grows_and_attention_moves_the_labels_more_at_the_end() -> None:
    for seed in range(SEEDS):
        trust, shift, _ = watched(seed)
        thirds = [sum(trust[at : at + 4]) / 4 for at in (0, 8, 16)]
        assert thirds[0] < thirds[1] + 0.02
        assert thirds[1] < thirds[2] + 0.02
        assert thirds[2] > thirds[0] + 0.05
        assert sum(shift[-4:]) / 4 > 1.5 * shift[0]


@pytest.mark.slow
def test_accuracy_is_not_below_that_of_cutmix_and_mixup_beyond_noise() -> None:
    other = [
        accuracy_of(TransMix(1.0, cutmix_share=0.5), seed=seed, epochs=EPOCHS)
        for seed in range(SEEDS)
    ]
    gains = [watched(seed)[2] - other[seed] for seed in range(SEEDS)]
    assert stats.ttest_1samp(gains, 0, alternative="less").pvalue > 0.05
