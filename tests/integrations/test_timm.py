"""In place of timm's own mixing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm.data.mixup as theirs
import torch
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor

from vicinal.integrations.timm import Mixup

CLASSES = 7


def batch(rows: int = 8, size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(rows, 3, size, size, generator=generator)
    return x, torch.randint(CLASSES, (rows,), generator=generator)


def seeded(**options: Any) -> Mixup:
    return Mixup(num_classes=CLASSES, generator=torch.Generator().manual_seed(3), **options)


def test_a_step_is_trained_as_in_timms_script() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 12 * 12, CLASSES))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[1].weight.detach().clone()
    mix = seeded(mixup_alpha=0.8, cutmix_alpha=1.0)
    x, target = mix(*batch())
    loss = SoftTargetCrossEntropy()(model(x), target)
    loss.backward()
    optimiser.step()
    assert loss.isfinite()
    assert not torch.equal(model[1].weight, before)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_targets_are_those_of_timm_for_the_same_weights(mode: Any) -> None:
    x, y = batch()
    mixed, target = seeded(mixup_alpha=0.8, mode=mode)(x, y)
    # The weight that was drawn, read off the pixels.
    other = x.flip(0)
    weights = ((mixed - other) / (x - other)).flatten(1).median(dim=1).values
    expected = theirs.mixup_target(y, CLASSES, weights[:, None], smoothing=0.1)
    torch.testing.assert_close(target, expected, atol=1e-4, rtol=0)
    drawn = {round(float(weight), 3) for weight in weights}
    assert len(drawn) == {"batch": 1, "pair": 4, "elem": 8}[mode]
    if mode == "pair":
        torch.testing.assert_close(weights, weights.flip(0), atol=1e-3, rtol=0)


def test_weights_are_distributed_as_timms_are() -> None:
    x, y = torch.zeros(2000, 1, 2, 2), torch.zeros(2000, dtype=torch.int64)
    x[1000:] = 1
    mixed, _ = seeded(mixup_alpha=0.3, prob=0.7, mode="elem")(x, y)
    own = torch.cat([1 - mixed[:1000, 0, 0, 0], mixed[1000:, 0, 0, 0]])
    assert abs((own == 1).float().mean() - 0.3) < 0.05
    reference = theirs.Mixup(mixup_alpha=0.3, prob=0.7, mode="elem")
    state = np.random.get_state()
    np.random.seed(0)
    expected, _ = reference._params_per_elem(2000)
    np.random.set_state(state)
    quantiles = np.linspace(0.05, 0.95, 10)
    observed = np.quantile(own.numpy(), quantiles)
    assert np.abs(observed - np.quantile(expected, quantiles)).max() < 0.08


def test_boxes_take_over_as_often_as_they_should() -> None:
    x = torch.arange(400.0).view(400, 1, 1, 1).expand(400, 1, 16, 16)
    y = torch.zeros(400, dtype=torch.int64)
    mixed, _ = seeded(mixup_alpha=1.0, cutmix_alpha=1.0, switch_prob=0.25, mode="elem")(x, y)
    whole = (mixed == mixed[:, :, :1, :1]).flatten(1).all(dim=1)
    # A box may be clipped to nothing, and then the sample looks whole as well.
    assert 0.15 < float((~whole).float().mean()) < 0.32


def test_minmax_boxes_lie_inside() -> None:
    x = torch.arange(200.0).view(200, 1, 1, 1).expand(200, 1, 20, 20).contiguous()
    y = torch.arange(200) % CLASSES
    mixed, target = seeded(
        mixup_alpha=0, cutmix_minmax=(0.2, 0.8), label_smoothing=0.0, mode="elem"
    )(x, y)
    pasted = (mixed != x).flatten(1).float().mean(dim=1)
    assert pasted.min() >= (4 / 20) ** 2
    assert pasted.max() <= (15 / 20) ** 2
    own = target.gather(1, y[:, None])[:, 0]
    different = y != y.flip(0)
    torch.testing.assert_close(own[different], 1 - pasted[different])


def test_several_labels_are_smoothed_towards_one_half() -> None:
    x, _ = batch()
    labels = torch.eye(8, CLASSES)
    mix = seeded(mixup_alpha=1.0, multi_label=True)
    mix.mixup_enabled = False
    same, target = mix(x, labels)
    assert torch.equal(same, x)
    torch.testing.assert_close(target, theirs.mixup_target(labels, CLASSES, 1.0, 0.1, True))


def test_the_input_is_kept_unless_it_may_be_written_over() -> None:
    x, y = batch()
    before = x.clone()
    expected, _ = seeded()(x, y)
    assert torch.equal(x, before)
    mixed, _ = seeded(in_place=True)(x, y)
    assert mixed is x
    assert torch.equal(x, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixup_alpha": 0}, "one of mixup_alpha"),
        ({"mode": "half"}, "mode must be"),
        ({"correct_lam": False}, "correct_lam"),
        ({"prob": 1.5}, "prob must be in"),
        ({"switch_prob": -0.1}, "switch_prob must be in"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in"),
        ({"cutmix_minmax": (0.5, 0.2)}, "minmax must be"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seeded(**options)
