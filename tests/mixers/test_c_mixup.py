"""C-Mixup: mixup of samples whose labels are close."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal import Batch, Draws, RegressionTarget
from vicinal.compare.plan import Recipe
from vicinal.compare.trial import Trial, run_trial
from vicinal.core.params import Params
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.latent.at_layer import AtLayer
from vicinal.methods.supervised import Supervised
from vicinal.mixers.c_mixup import CMixup
from vicinal.mixers.interpolate import Mixup, MixupParams

GOLDEN = json.loads((Path(__file__).parent / "golden" / "c_mixup_authors.json").read_text())


def some(count: int = 40) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=generator)
    y = torch.randn(count, generator=generator)
    return Batch(x=x, target=RegressionTarget(y), index=torch.randperm(count, generator=generator))


def values(batch: Batch) -> Tensor:
    assert isinstance(batch.target, RegressionTarget)
    return batch.target.values


def test_x_and_y_are_mixed_with_one_weight_and_the_partner_on_record() -> None:
    data = some()
    mix = CMixup().fit(data)
    batch = data[torch.arange(12)]
    params = mix.sample(batch, Draws(0, batch.index))
    mixed = mix.apply(batch, params)
    place = [data.index.tolist().index(row) for row in params.partner.tolist()]
    assert max(place) >= 12  # from all of the data, not from the batch
    kept = params.kept
    wanted = kept * values(batch) + (1 - kept) * values(data)[place]
    torch.testing.assert_close(values(mixed), wanted)
    rows = kept[:, None] * batch.x + (1 - kept)[:, None] * data.x[place]
    torch.testing.assert_close(mixed.x, rows)


def test_a_sample_that_keeps_all_its_weight_stays_bit_for_bit() -> None:
    data = some()
    mix = CMixup().fit(data)
    whole = MixupParams(data.index.roll(1), torch.ones(40))
    mixed = mix.apply(data, whole)
    assert torch.equal(mixed.x, data.x)
    assert torch.equal(values(mixed), values(data))


def test_params_from_disk_give_the_same_batch(tmp_path: Path) -> None:
    data = some()
    mix = CMixup().fit(data)
    batch = data[torch.arange(7)]
    mixed, params = mix.augment(batch, Draws(0, batch.index))
    params.save(tmp_path / "params")
    # Replaying takes no fitting: the partner is a row of the dataset.
    for stored in (Params.load(tmp_path / "params"), Params.from_arrow(params.to_arrow())):
        replayed = CMixup().apply(batch, stored)
        assert torch.equal(replayed.x, mixed.x)
        assert torch.equal(values(replayed), values(mixed))


def test_an_absolute_error_is_that_to_the_barycentre() -> None:
    mixed = CMixup().fit(some())(some(), draws=Draws(0, some().index))
    params = CMixup().fit(some()).sample(some(), Draws(0, some().index))
    own = values(some())
    theirs = own[some().partners(params.partner)[1]]
    output = torch.zeros(40)
    between = (params.kept * own + (1 - params.kept) * theirs).abs().mean()
    torch.testing.assert_close(F.l1_loss(output, mixed.target.barycentre), between)
    average = (params.kept * own.abs() + (1 - params.kept) * theirs.abs()).mean()
    assert average > between + 1e-3


def network(weights: dict[str, Any]) -> torch.nn.Sequential:
    """The authors' Learner: two blocks and a linear layer."""
    tensors = {name: torch.tensor(values) for name, values in weights.items()}
    hidden, inputs = tensors["block_1.0.weight"].shape
    net = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.LeakyReLU(0.1)),
        torch.nn.Sequential(torch.nn.Linear(hidden, hidden), torch.nn.LeakyReLU(0.1)),
        torch.nn.Sequential(torch.nn.Linear(hidden, 1)),
    )
    net.load_state_dict(dict(zip(net.state_dict(), tensors.values(), strict=True)))
    return net


def authors_step() -> tuple[torch.nn.Sequential, Batch, MixupParams]:
    """Their network, and their batch with its partners as a pool of its own."""
    step = GOLDEN["step"]
    x, y = torch.tensor(step["x"]), torch.tensor(step["y"])
    partners = Batch(
        torch.tensor(step["partner_x"]),
        RegressionTarget(torch.tensor(step["partner_y"])),
        torch.arange(5) + 10,
    )
    batch = Batch(x, RegressionTarget(y), torch.arange(5), pool=partners)
    return (
        network(step["weights"]),
        batch,
        MixupParams(partners.index, torch.full((5,), step["kept"])),
    )


def test_output_and_loss_are_those_of_the_authors_code() -> None:
    net, batch, params = authors_step()
    mixed = CMixup().apply(batch, params)
    output = net(mixed.x)
    wanted = torch.tensor(GOLDEN["step"]["input"])
    torch.testing.assert_close(output[:, 0], wanted, atol=1e-5, rtol=1e-5)
    assert mixed.target is not None
    loss = mixed.target.loss(output).item()
    assert loss == pytest.approx(GOLDEN["step"]["loss_input"], rel=1e-5)


class Given(CMixup):
    """Mixes by params that are given."""

    params: MixupParams

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        return self.params


def test_hidden_states_are_mixed_as_in_the_authors_code() -> None:
    net, batch, params = authors_step()
    mix = Given(1.0)
    mix.params = params
    output, mixed, _ = AtLayer(mix, "0").forward(net, batch, Draws(0, batch.index))
    step = GOLDEN["step"]
    torch.testing.assert_close(output[:, 0], torch.tensor(step["hidden"]), atol=1e-5, rtol=1e-5)
    assert mixed.target is not None
    loss = mixed.target.loss(output)
    assert loss.item() == pytest.approx(step["loss"], rel=1e-5)
    gradients = torch.autograd.grad(loss, tuple(net.parameters()))
    for gradient, wanted in zip(gradients, step["gradients"].values(), strict=True):
        torch.testing.assert_close(gradient, torch.tensor(wanted), atol=1e-5, rtol=1e-5)


def test_one_weight_a_sample_or_one_for_the_batch() -> None:
    data = some()
    each, shared = (
        CMixup(scope=scope).fit(data).sample(data, Draws(0, data.index))
        for scope in ("sample", "batch")
    )
    assert len(each.kept.unique()) == 40
    assert len(shared.kept.unique()) == 1
    assert torch.equal(each.partner, shared.partner)


def test_partners_of_the_batch_alone_need_no_pool() -> None:
    batch = some(9)
    mix = CMixup(bandwidth=0.5, pool="batch")
    assert not mix.pooled
    assert not mix.unfitted
    params = mix.sample(batch, Draws(0, batch.index))
    assert set(params.partner.tolist()) <= set(batch.index.tolist())
    # Without a bandwidth it has to know how far the training labels lie apart.
    assert CMixup(pool="batch").unfitted
    assert not CMixup(pool="batch").fit(batch).unfitted


def test_the_narrower_the_kernel_the_closer_the_labels() -> None:
    data = some(400)
    apart = []
    for bandwidth in (0.01, 0.1, 1.0, 100.0):
        params = CMixup(bandwidth=bandwidth).fit(data).sample(data, Draws(0, data.index))
        partner = values(data)[data.partners(params.partner)[1]]
        apart.append(float((partner - values(data)).square().mean().sqrt()))
    assert apart == sorted(apart)
    assert apart[1] == pytest.approx(0.1, rel=0.3)
    assert apart[3] == pytest.approx(math.sqrt(2) * float(values(data).std()), rel=0.1)


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.0}, {"bandwidth": 0.0}, {"kernel": "box"}, {"pool": "all"}, {"scope": "group"}],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        CMixup(**settings)


def rmse(task: Task, mixer: Mixup | None, *, train: int, model: str, epochs: int) -> list[float]:
    """Held-out errors of three seeds, with everything past the first rows held out."""
    recipe = Recipe(
        model=model,
        model_fingerprint="",
        epochs=epochs,
        batch_size=64,
        optimiser="adamw",
        learning_rate=2e-3,
        weight_decay=0.0,
        crop=0,
        flip=False,
        folds=None,
        holdout=0.2,
        device="cpu",
        precision="32-true",
        threads=1,
    )
    split = Split(torch.arange(train), torch.arange(train, len(task)))
    method = Supervised(prepared=mixer)
    return [
        run_trial(Trial("", "", seed, 0), method, task=task, split=split, recipe=recipe).metrics[
            "rmse"
        ]
        for seed in range(3)
    ]


def table(name: str, x: np.ndarray, y: np.ndarray) -> Task:
    columns = tuple(str(column) for column in range(x.shape[1]))
    numbers = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    return Task(name, "tabular", "regression", *numbers, columns=columns)


@pytest.mark.slow
def test_on_turned_digits_mixing_close_angles_beats_mixing_any() -> None:
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    images = load_digits().images
    angle = np.random.default_rng(0).uniform(0, 90, len(images))
    turned = [rotate(*one, reshape=False, order=1) for one in zip(images, angle, strict=True)]
    task = table("turned", np.stack(turned).reshape(-1, 64), angle / 90)
    unit = float(task.y[:600].std())  # a trial standardises the labels
    mixup, close, wide = (
        rmse(task, mixer, train=600, model="mlp", epochs=40)
        for mixer in (Mixup(2.0), CMixup(2.0, 0.1 / unit), CMixup(2.0, 50 / unit))
    )
    assert mean(close) <= 0.9 * mean(mixup)
    assert mean(wide) == pytest.approx(mean(mixup), abs=3 * max(stdev(mixup), stdev(wide)))


@pytest.mark.slow
def test_on_diabetes_mixing_close_targets_beats_not_mixing() -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    task = table("diabetes", data.data, data.target)
    plain, close = (
        rmse(task, mixer, train=300, model="mlp:width=512", epochs=60)
        for mixer in (None, CMixup(2.0, 0.5))
    )
    assert mean(close) <= 0.95 * mean(plain)
