from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.methods.ground import CLASSES, ConvNet, run
from torch import Tensor, nn

from vicinal import Batch, ClassTarget, Draws, SnapMix
from vicinal.core.activation import ClassActivation
from vicinal.core.params import Params
from vicinal.core.partner_share import PartnerShare
from vicinal.core.probe import ask
from vicinal.methods.supervised import Supervised
from vicinal.mixers.snapmix import SnapMixParams, label_weights, seen
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet

GOLDEN = Path(__file__).parent / "golden"
PROBE = ClassActivation()


def telling(
    maps: Tensor, *, labels: Tensor | None = None, channels: int = 1, index: Tensor | None = None
) -> Batch:
    """Image i holds 10 i plus a ramp below 1; every sample has a class of its own by default."""
    count, height, width = maps.shape
    ramp = torch.linspace(0, 0.9, height * width).view(height, width)
    x = 10 * torch.arange(count).float()[:, None, None, None] + ramp
    rows = torch.arange(count)
    return Batch(
        x=x.expand(-1, channels, -1, -1),
        target=ClassTarget((rows if labels is None else labels)[:, None]),
        index=rows if index is None else index,
        evidence={PROBE: maps / maps.sum(dim=(1, 2), keepdim=True)},
    )


def drawn(mix: SnapMix, batch: Batch, seed: int = 0) -> SnapMixParams:
    return mix.sample(batch, Draws(seed, batch.index))


def area(start: Tensor, stop: Tensor) -> Tensor:
    return (stop - start).prod(dim=1)


class Golden(nn.Module):
    """The network that the authors' code was run with."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=4, padding=1)
        self.classifier = nn.Linear(6, 4)
        self.load_state_dict(under("before", stored))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.classifier(self.conv(x).mean(dim=(2, 3)))
        return output


def under(prefix: str, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: t for name, t in stored.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", ["snapmix", "snapmix_one_class"])
def test_a_step_is_the_authors_step(name: str) -> None:
    # Shaoli-Huang/SnapMix at 245bda4: get_spm, snapmix, and a step of SGD on the loss of
    # trainer/comm_train.py. In the second file two of the pairs are of one class.
    stored = load_file(GOLDEN / f"{name}.safetensors")
    model, partner = Golden(stored), stored["partner"]
    batch = ask([PROBE], {"model": model}, Batch.of(stored["x"], stored["y"]))
    maps = batch.evidence[PROBE]
    torch.testing.assert_close(maps, stored["maps"], atol=1e-6, rtol=1e-5)
    box = {
        name: stored[name].expand(len(batch), -1)
        for name in ("start", "stop", "source_start", "source_stop")
    }
    kept, given_weight = label_weights(
        1 - seen(maps, box["start"], box["stop"]),
        seen(maps[partner], box["source_start"], box["source_stop"]),
        same=stored["y"] == stored["y"][partner],
    )
    torch.testing.assert_close(kept, stored["kept"], atol=1e-5, rtol=0)
    torch.testing.assert_close(given_weight, stored["given"], atol=1e-5, rtol=0)
    params = SnapMixParams(partner=partner, kept=kept, given=given_weight, **box)
    mixed = SnapMix().apply(batch, params)
    torch.testing.assert_close(mixed.x, stored["mixed"], atol=1e-5, rtol=0)
    assert mixed.target is not None
    loss = mixed.target.loss(model(mixed.x))
    torch.testing.assert_close(loss, stored["loss"], atol=1e-5, rtol=0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss.backward()
    optimiser.step()
    for name, after in under("after", stored).items():
        torch.testing.assert_close(model.state_dict()[name], after, atol=1e-5, rtol=0)


@given(seed=st.integers(0, 2**31 - 1))
def test_with_even_maps_labels_weigh_as_the_areas_of_their_own_boxes(seed: int) -> None:
    batch = telling(torch.ones(6, 12, 10))
    params = drawn(SnapMix(alpha=1.0), batch, seed)
    other = params.partner != batch.index
    own, partner = area(params.start, params.stop), area(params.source_start, params.source_stop)
    mixed = other & (own > 0)
    torch.testing.assert_close(params.kept[mixed], 1 - own[mixed] / 120)
    torch.testing.assert_close(params.given[mixed], partner[mixed] / 120)


def test_boxes_and_weights_of_both_differ() -> None:
    params = drawn(SnapMix(alpha=1.0), telling(torch.ones(50, 12, 10)))
    own, partner = area(params.start, params.stop), area(params.source_start, params.source_stop)
    assert (own != partner).sum() > 20
    assert (params.start != params.source_start).any(dim=1).sum() > 20
    assert ((params.kept + params.given - 1).abs() > 0.1).sum() > 20


def test_nothing_is_left_of_a_class_that_lies_in_the_own_box_and_all_of_one_in_the_other() -> None:
    start, stop = torch.tensor([[1, 2]]), torch.tensor([[4, 6]])
    inside = torch.zeros(1, 6, 8)
    inside[:, 1:4, 2:6] = 1 / 12
    assert seen(inside, start, stop) == pytest.approx(1)
    assert seen(inside, torch.tensor([[4, 0]]), torch.tensor([[6, 8]])) == 0
    batch = telling(torch.zeros(40, 9, 9).index_fill(1, torch.tensor([4]), 1.0))
    params = drawn(SnapMix(alpha=1.0), batch)
    # All that is seen lies in row 4: in the box if that row is, across its columns.
    row = (params.start[:, 0] <= 4) & (params.stop[:, 0] > 4)
    across = (params.stop - params.start)[:, 1] / 9
    mixed = (params.stop > params.start).all(dim=1) & (params.partner != batch.index)
    torch.testing.assert_close(params.kept[mixed], (1 - row * across)[mixed])


def test_rows_are_rows_in_the_boxes_the_pasting_and_the_maps() -> None:
    # Seen in the left half alone of a wide image: with the axes of the maps exchanged, weights
    # would follow the rows of the boxes.
    maps = torch.zeros(30, 9, 16)
    maps[:, :, :8] = 1
    batch = telling(maps, channels=2)
    mix = SnapMix(alpha=1.0)
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    assert params.stop[:, 0].max() == 9
    assert params.stop[:, 1].max() == 16
    for row in range(30):
        at = int(params.partner[row])
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        expected = batch.x[row].clone()
        own, given_weight = 1.0, 0.0
        if bottom > top and right > left:
            first, begin = params.source_start[row].tolist()
            last, end = params.source_stop[row].tolist()
            expected[:, top:bottom, left:right] = F.interpolate(
                batch.x[at : at + 1, :, first:last, begin:end],
                size=(bottom - top, right - left),
                mode="bilinear",
                align_corners=True,
            )[0]
            own -= (bottom - top) * (min(right, 8) - min(left, 8)) / 72
            given_weight = (last - first) * (min(end, 8) - min(begin, 8)) / 72
        torch.testing.assert_close(mixed.x[row], expected, atol=1e-3, rtol=0)
        if at == row:  # of one class with itself
            own = given_weight = own + given_weight if bottom > top and right > left else 1.0
            given_weight = given_weight if bottom > top and right > left else 0.0
        assert params.kept[row] == pytest.approx(own, abs=1e-5)
        assert params.given[row] == pytest.approx(given_weight, abs=1e-5)


def test_each_label_is_weighed_on_the_map_of_its_own_sample() -> None:
    maps = torch.rand(20, 8, 10, generator=torch.Generator().manual_seed(2))
    batch = telling(maps)
    params = drawn(SnapMix(alpha=1.0), batch)
    maps = batch.evidence[PROBE]
    compared = 0
    for row, at in enumerate(params.partner.tolist()):
        (top, left), (bottom, right) = params.start[row].tolist(), params.stop[row].tolist()
        if at == row or top == bottom or left == right:
            continue
        first, begin = params.source_start[row].tolist()
        last, end = params.source_stop[row].tolist()
        own, partner = maps[row, top:bottom, left:right], maps[at, first:last, begin:end]
        torch.testing.assert_close(params.kept[row], 1 - own.sum())
        torch.testing.assert_close(params.given[row], partner.sum())
        compared += 1
    assert compared > 10


def test_both_labels_of_one_class_get_the_sum_of_what_is_seen() -> None:
    even = torch.ones(20, 8, 8)
    apart = drawn(SnapMix(), telling(even))
    together = drawn(SnapMix(), telling(even, labels=torch.zeros(20, dtype=torch.int64)))
    mixed = (apart.stop > apart.start).all(dim=1) & (apart.partner != torch.arange(20))
    assert mixed.sum() > 10
    total = (apart.kept + apart.given)[mixed]
    torch.testing.assert_close(together.kept[mixed], total)
    torch.testing.assert_close(together.given[mixed], total)


def test_an_empty_box_on_either_side_leaves_the_sample_alone() -> None:
    mix, batch = SnapMix(alpha=8.0), telling(torch.ones(200, 3, 3))
    params = drawn(mix, batch)
    empty = ~(params.stop > params.start).all(dim=1)
    assert 20 < empty.sum() < 200
    mixed = mix.apply(batch, params)
    assert torch.equal(mixed.x[empty], batch.x[empty])
    assert (params.kept[empty] == 1).all()
    assert (params.given[empty] == 0).all()
    source = area(params.source_start, params.source_stop)
    assert (source[~empty] > 0).all()


@pytest.mark.parametrize(("prob", "low", "high"), [(0.0, 0, 0), (0.5, 430, 570), (1.0, 980, 1000)])
def test_a_share_of_the_samples_is_mixed(prob: float, low: int, high: int) -> None:
    # Five standard deviations of a count of 1,000 are 79.
    params = drawn(SnapMix(alpha=1.0, prob=prob), telling(torch.ones(1000, 60, 60)))
    assert low <= (params.given > 0).sum() <= high


def test_a_batch_may_share_its_boxes_but_not_its_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = telling(torch.rand(12, 10, 10, generator=generator))
    params = drawn(SnapMix(alpha=1.0, scope="batch"), batch)
    for corner in (params.start, params.stop, params.source_start, params.source_stop):
        assert (corner == corner[0]).all()
    assert params.kept.unique().numel() > 6


def test_params_replay_without_the_model() -> None:
    batch, mix = (
        telling(torch.rand(7, 10, 8, generator=torch.Generator().manual_seed(1))),
        SnapMix(),
    )
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params)
    again = mix.apply(batch.replace(evidence={}), Params.from_arrow(params.to_arrow()))
    assert torch.equal(again.x, mixed.x)
    assert again.target is not None
    assert again.target.equal(mixed.target)


def test_params_say_where_the_partner_is() -> None:
    batch, mix = telling(torch.ones(5, 8, 6)), SnapMix(alpha=1.0)
    params = drawn(mix, batch)
    assert isinstance(params, PartnerShare)
    share = params.partner_share([torch.arange(8), torch.arange(6)])
    changed = (mix.apply(batch, params).x - batch.x).abs().amax(dim=1) >= 5
    other = params.partner != batch.index
    assert torch.equal(share.bool()[other], changed[other])


@pytest.mark.parametrize("levels", [1.0, 65535.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_and_sixteen_bits_are_mixed_alike(channels: int, levels: float) -> None:
    batch, mix = telling(torch.ones(6, 9, 7), channels=channels), SnapMix()
    params = drawn(mix, batch)
    mixed = mix.apply(batch, params).x
    scaled = mix.apply(batch.replace(x=batch.x * levels), params).x
    torch.testing.assert_close(scaled / levels, mixed, atol=1e-4, rtol=0)


def test_without_maps_or_classes_it_says_what_to_do() -> None:
    batch = telling(torch.ones(3, 5, 5))
    with pytest.raises(ValueError, match=r"ask\(mix\.probes, networks, batch\) first"):
        SnapMix()(batch.x, torch.arange(3))
    with pytest.raises(TypeError, match="needs class labels, the batch has none"):
        SnapMix()(batch.x)


def resnet(outputs: int) -> nn.Module:
    return SmallResNet((1, 8, 8), outputs, width=8)


def test_training_asks_the_model_before_it_mixes() -> None:
    learner, progress = run(Supervised(prepared=SnapMix(alpha=1.0)), network=resnet)
    assert learner.updates["model"] == 15
    assert all(0 < loss < 10 for loss in progress.curves["train loss"])
    assert all(0 <= score <= 1 for score in progress.curves["train score"])
    assert learner.model(torch.zeros(2, 1, 8, 8)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda outputs: MLP((1, 8, 8), outputs), "needs a convolutional network"),
        (ConvNet, "has to read the mean of a feature map"),
    ],
)
def test_a_model_without_class_activation_is_refused_in_one_line(network, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        run(Supervised(prepared=SnapMix()), network=network)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("setting", [{"alpha": 0.0}, {"prob": 1.5}, {"scope": "pixel"}])
def test_values_out_of_range_are_refused(setting) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be"):
        SnapMix(**setting)
