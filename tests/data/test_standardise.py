from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.data.standardise import Scale, Standardise


@given(
    rows=st.integers(2, 20),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_training_images_have_mean_zero_and_deviation_one_in_each_channel(rows, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (rows, channels, 5, 7), generator=generator).to(torch.uint8)
    out = Standardise.fit(x)(x).double()
    assert out.shape == x.shape
    assert out.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (out.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_statistics_agree_with_numpy_over_more_rows_than_a_piece():
    x = torch.randint(0, 200, (700, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    rows = torch.arange(0, 700, 2)
    fitted = Standardise.fit(x, rows)
    values = x[rows].numpy().astype(np.float64)
    np.testing.assert_allclose(fitted.mean.flatten(), values.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(1 / fitted.scale.flatten(), values.std((0, 2, 3)), rtol=1e-6)


def test_rows_outside_the_training_part_have_no_say():
    x = torch.randint(0, 256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    rows = torch.arange(10)
    before = Standardise.fit(x, rows)
    x[10:] = 255
    after = Standardise.fit(x, rows)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.scale, after.scale)
    assert torch.equal(Standardise.fit(x[rows]).mean, after.mean)


def test_bytes_and_the_floats_between_them_share_one_scale():
    x = torch.randint(0, 256, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    standardise = Standardise.fit(x)
    assert torch.equal(standardise(x), standardise(x.float()))
    mixed = 0.25 * x[:1].float() + 0.75 * x[1:2].float()
    expected = 0.25 * standardise(x[:1]) + 0.75 * standardise(x[1:2])
    torch.testing.assert_close(standardise(mixed), expected)


def test_the_input_is_left_alone_and_the_memory_format_kept():
    x = torch.randint(0, 256, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8).contiguous(memory_format=torch.channels_last)
    copy = x.clone()
    out = Standardise.fit(x)(x)
    assert torch.equal(x, copy)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    table = torch.tensor([[1.0, torch.nan], [3.0, 4.0]])
    Standardise.fit(table)(table)
    assert table[0, 0] == 1
    assert table[0, 1].isnan()


def test_missing_values_become_the_training_mean():
    nan = torch.nan
    x = torch.tensor([[1.0, 10.0], [3.0, nan], [nan, 30.0], [100.0, 100.0]])
    standardise = Standardise.fit(x, torch.arange(3))
    assert standardise.mean.tolist() == [2, 20]
    filled = torch.tensor([[1.0, 10.0], [3.0, 20.0], [2.0, 30.0], [100.0, 100.0]])
    assert torch.equal(standardise(x), standardise(filled))
    assert standardise(x)[1, 1] == 0


def test_constant_and_empty_columns_stay_finite():
    nan = torch.nan
    x = torch.tensor([[0.1, nan, 5.0], [0.1, nan, nan], [0.1, nan, 5.0]])
    standardise = Standardise.fit(x)
    assert standardise.scale.tolist() == [1, 1, 1]
    assert torch.equal(standardise(x), torch.zeros(3, 3))
    shifted = standardise(torch.tensor([[1.1, 2.0, 6.0]]))
    torch.testing.assert_close(shifted, torch.tensor([[1.0, 2.0, 1.0]]))
    black = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
    assert torch.equal(Standardise.fit(black)(black), torch.zeros(2, 1, 3, 3))


def test_a_constant_far_from_zero_is_constant_in_spite_of_rounding():
    x = torch.tensor([[0.3], [0.3], [0.3]])
    x[1] = x[1].nextafter(torch.tensor(1.0))
    assert Standardise.fit(x).scale.tolist() == [1]


def test_a_small_spread_far_from_zero_is_kept():
    x = torch.tensor([[4_000_000.0], [4_000_001.0], [4_000_002.0]])
    out = Standardise.fit(x)(x)
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, 0.0, 1.0]) * 1.5**0.5)


def test_gradients_pass_to_what_was_given():
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    standardise = Standardise.fit(x)
    given = x.clone().requires_grad_()
    standardise(given).sum().backward()
    assert torch.equal(given.grad, standardise.scale.expand(2, 2))


def test_statistics_move_to_a_device():
    moved = Standardise.fit(torch.eye(3)).to("meta")
    assert moved.mean.device.type == moved.scale.device.type == "meta"
    assert Scale.fit(torch.arange(3.0)).to("meta").mean.device.type == "meta"


@pytest.mark.parametrize("x", [torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)])
def test_other_inputs_are_programming_errors(x):
    with pytest.raises(TypeError, match="x must be"):
        Standardise.fit(x)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30))
def test_targets_come_back_as_they_were(values):
    y = torch.tensor(values)
    scale = Scale.fit(y)
    applied = scale.apply(y)
    assert applied.isfinite().all()
    back = scale.invert(applied)
    torch.testing.assert_close(back, y, rtol=1e-5, atol=1e-5 * float(y.abs().max()) + 1e-30)


def test_training_targets_have_mean_zero_and_deviation_one():
    y = torch.tensor([150.0, 75.0, 300.0, 180.0])
    applied = Scale.fit(y).apply(y)
    assert applied.mean().abs() < 1e-6
    assert applied.std(correction=0) == pytest.approx(1)
    assert Scale.fit(torch.full((3,), 7.0)).apply(torch.tensor([8.0])) == 1
