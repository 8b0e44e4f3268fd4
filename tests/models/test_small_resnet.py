from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vicinal.models.rehearsal import rehearse
from vicinal.models.small_resnet import ResidualBlock, SmallResNet

STAGES = ("stem", "stage1", "stage2", "stage3")


def sides(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Height and width after the stem and each stage."""
    _, heard = rehearse(SmallResNet(shape, 2, width=8), shape, layers=STAGES)
    return [tuple(heard[stage][0].shape[2:]) for stage in STAGES]


@pytest.mark.parametrize(
    ("side", "left"),
    [
        (8, [8, 8, 4, 2]),
        (16, [16, 16, 8, 4]),
        (28, [14, 14, 7, 4]),
        (32, [16, 16, 8, 4]),
        (64, [16, 16, 8, 4]),
        (224, [14, 14, 7, 4]),
        (5, [5, 5, 3, 2]),
        (3, [3, 3, 2, 2]),
        (2, [2, 2, 2, 2]),
        (1, [1, 1, 1, 1]),
    ],
)
def test_images_shrink_to_16_in_the_stem_and_never_below_2(side: int, left: list[int]) -> None:
    assert sides((3, side, side)) == [(one, one) for one in left]


def test_the_shorter_side_decides_how_often_an_image_is_halved() -> None:
    assert sides((1, 8, 64)) == [(8, 64), (8, 64), (4, 32), (2, 16)]


@given(
    channels=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    outputs=st.integers(1, 5),
)
def test_any_image_gives_a_row_of_outputs(
    channels: int, height: int, width: int, outputs: int
) -> None:
    shape = (channels, height, width)
    output, _ = rehearse(SmallResNet(shape, outputs, width=8), shape)
    assert output.shape == (2, outputs)


def test_it_has_0_17_million_parameters_and_four_times_as_many_at_twice_the_width() -> None:
    def count(width: int) -> int:
        return sum(p.numel() for p in SmallResNet((3, 32, 32), 10, width=width).parameters())

    assert 0.17e6 < count(24) < 0.18e6
    assert 3.8 < count(48) / count(24) < 4


def test_every_parameter_is_trained_and_every_pixel_is_seen() -> None:
    torch.manual_seed(0)
    model = SmallResNet((3, 32, 32), 10, blocks=2)
    x = torch.randn(8, 3, 32, 32, requires_grad=True)
    model(x).square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in model.parameters())
    assert x.grad is not None
    assert bool((x.grad != 0).flatten(2).any(dim=1).all())


def test_in_evaluation_a_row_does_not_depend_on_its_neighbours() -> None:
    model = SmallResNet((1, 8, 8), 4).eval()
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


def test_a_block_is_its_shortcut_where_the_convolutions_give_nothing() -> None:
    block = ResidualBlock(2, 2, stride=1)
    nn.init.zeros_(block.second[1].weight)
    x = torch.rand(3, 2, 5, 5)
    torch.testing.assert_close(block(x), x)


def test_the_shortcut_of_an_odd_side_averages_what_is_there() -> None:
    pool = ResidualBlock(1, 2, stride=2).shortcut
    assert isinstance(pool, nn.Sequential)
    pooled: Tensor = pool[0](torch.arange(9.0).view(1, 1, 3, 3))
    assert pooled.flatten().tolist() == [2, 3.5, 6.5, 8]


def test_memory_format_of_the_input_changes_nothing_and_weights_have_channels_last() -> None:
    model = SmallResNet((3, 16, 16), 3).eval()
    assert model.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(x), model(x.to(memory_format=torch.channels_last)))


def test_it_survives_copying_and_pickling() -> None:
    model = SmallResNet((1, 8, 8), 3).eval()
    x = torch.randn(2, 1, 8, 8)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), model(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, r"width must be in \[1, inf\), got 0"),
        ({"width": 2.5}, "width must be a whole number, got 2.5"),
        ({"blocks": -1}, "blocks must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmallResNet((3, 8, 8), 2, **settings)


@pytest.mark.parametrize("shape", [(30,), (8, 8), (1, 0, 8), (1, 2, 8, 8)])
def test_shapes_of_no_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images of shape \(channels, height, width\)"):
        SmallResNet(shape, 2)
