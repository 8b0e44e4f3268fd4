"""RandAugment against torchvision's own, on torchvision's own draws."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor
from torchvision.transforms import v2

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.policies.randaugment import OperationParams, RandAugment
from vicinal.transforms.image.flavors import FLAVORS, Scale, all_arguments
from vicinal.transforms.image.operations import NUMBER, OPERATIONS


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Recorded(v2.RandAugment):
    """torchvision's policy, which tells what it drew."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.drawn: list[tuple[int, float]] = []

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, magnitude: float, **options: Any
    ) -> Tensor:
        name = snake(transform_id)
        # torchvision cuts translations off to whole pixels where it applies them.
        argument = int(magnitude) if "Translate" in transform_id else magnitude
        self.drawn.append((NUMBER[name], argument))
        return super()._apply_image_or_video_transform(image, transform_id, magnitude, **options)


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def sampled(policy: RandAugment, batch: Batch, seed: int = 0) -> OperationParams:
    return policy.sample(batch, Draws(seed, batch.index))


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("shape", [(3, 33, 47), (1, 32, 32)], ids=str)
def test_on_torchvisions_draws_the_composed_output_is_torchvisions(
    shape: tuple[int, int, int], magnitude: int
) -> None:
    images = noise(100, *shape)
    theirs = Recorded(num_ops=3, magnitude=magnitude)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.stack([theirs(image) for image in images])
    drawn = torch.tensor(theirs.drawn, dtype=torch.float64).view(100, 3, 2)
    assert len(drawn[..., 0].unique()) == len(OPERATIONS)
    params = OperationParams(drawn[..., 0].long(), drawn[..., 1].float())
    ours = RandAugment(3, magnitude).apply(Batch.of(images), params).tensor
    assert torch.equal(ours, expected)


def test_it_draws_what_torchvision_draws() -> None:
    batch = Batch.of(torch.zeros(4000, 3, 20, 30, dtype=torch.uint8))
    params = sampled(RandAugment(1, 17), batch)
    theirs = Recorded(num_ops=1, magnitude=17)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(2000):
            theirs(batch.tensor[0, :, :2, :3])
        theirs.drawn.clear()
        for _ in range(2000):
            theirs(batch.tensor[0])
    pairs = zip(params.operation[:, 0].tolist(), params.argument[:, 0].tolist(), strict=True)
    assert {(number, abs(a)) for number, a in pairs} == {(n, abs(a)) for n, a in theirs.drawn}


def test_operations_are_uniform_and_independent_and_signs_balanced() -> None:
    batch = Batch.of(torch.zeros(50_000, 1, 2, 2))
    params = sampled(RandAugment(2, 30), batch)
    number = params.operation
    assert chisquare(number.flatten().bincount(minlength=14)).pvalue > 1e-3
    pairs = number[:, 0] * 14 + number[:, 1]
    assert chisquare(pairs.bincount(minlength=196)).pvalue > 1e-3  # with replacement
    signed = torch.tensor([operation.signed for operation in OPERATIONS])[number]
    with_sign = params.argument[signed]
    moving = with_sign[with_sign != 0]
    assert binomtest(int((moving < 0).sum()), len(moving)).pvalue > 1e-3
    assert (params.argument[~signed] >= 0).all()
    # The sign belongs to the draw, not to the sample.
    both = signed.all(dim=1) & (params.argument != 0).all(dim=1)
    alike = (params.argument[both] < 0).diff(dim=1).eq(0).float().mean()
    assert alike == pytest.approx(0.5, abs=0.02)


def test_equal_seeds_draw_equal_params_and_others_others() -> None:
    batch = Batch.of(noise(50, 3, 8, 9))
    policy = RandAugment()
    assert sampled(policy, batch, seed=4).equal(sampled(policy, batch, seed=4))
    assert not sampled(policy, batch, seed=4).equal(sampled(policy, batch, seed=5))


def test_a_slice_of_the_params_gives_the_slice_of_the_whole() -> None:
    batch = Batch.of(noise(60, 3, 13, 9))
    policy = RandAugment()
    params = sampled(policy, batch)
    whole = policy.apply(batch, params).tensor
    for rows in (slice(0, 60), slice(7, 8), slice(11, 40), slice(59, 60)):
        assert torch.equal(policy.apply(batch[rows], params[rows]).tensor, whole[rows])


def test_a_sample_meets_the_same_operations_in_whatever_batch() -> None:
    images, index = noise(40, 3, 13, 9), torch.arange(40) * 3
    policy = RandAugment()

    def result(rows: Tensor) -> Tensor:
        batch = Batch(x=images[rows], target=None, index=index[rows])
        return policy.augment(batch, Draws(1, batch.index))[0].tensor

    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(result(shuffled), result(torch.arange(40))[shuffled])
    assert torch.equal(result(torch.tensor([17])), result(torch.arange(40))[17:18])


def test_pixels_move_farther_on_wider_images() -> None:
    for width, pixels in ((100, 13), (331, 45), (32, 4)):
        params = sampled(RandAugment(1), Batch.of(torch.zeros(300, 1, 10, width)))
        moves = params.argument[params.operation == NUMBER["translate_x"]]
        assert moves.abs().unique().tolist() == [pixels]


def test_no_operations_leave_the_images() -> None:
    batch = Batch.of(noise(5, 3, 6, 7))
    policy = RandAugment(0)
    assert torch.equal(policy.apply(batch, sampled(policy, batch)).tensor, batch.tensor)


def test_global_random_state_is_neither_read_nor_touched() -> None:
    batch = Batch.of(noise(20, 3, 8, 9))
    policy = RandAugment()
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            results.append(policy.augment(batch, Draws(0, batch.index))[0].tensor)
            assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


def test_the_target_and_the_rows_are_kept() -> None:
    x, y = noise(4, 3, 6, 7), torch.arange(4)
    result = RandAugment()(Batch.of(x, y), generator=torch.Generator().manual_seed(0))
    assert result.target.equal(Batch.of(x, y).target)
    assert torch.equal(result.index, y)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_ops must be in \[0, 100\], got -1"):
        RandAugment(-1)
    with pytest.raises(ValueError, match=r"num_ops must be in \[0, 100\]"):
        RandAugment(10**9)
    with pytest.raises(ValueError, match="magnitude must be below num_bins, 31, got 31"):
        RandAugment(2, 31)
    with pytest.raises(ValueError, match=r"magnitude must be a whole number, got 2\.5"):
        RandAugment(2, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num_bins must be in \[2, inf\), got 1"):
        RandAugment(2, 0, num_bins=1)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        RandAugment()(torch.zeros(2, 4, 5, 5), generator=torch.Generator())


# The flavor of UDA.

UDA = RandAugment(flavor="uda")
SQUARE, TIMES = 32, 20_000


def test_magnitudes_mean_what_they_mean_to_the_authors_of_uda() -> None:
    golden = json.loads((Path(__file__).parent / "golden" / "uda.json").read_text())
    assert list(FLAVORS["uda"]) == [snake(name) for name in golden]
    table = all_arguments("uda", Scale(11, 32, 32))
    for row, (name, theirs) in zip(table, golden.items(), strict=True):
        ours: list[float] = row[1:10].tolist()
        if name in ("Brightness", "Color", "Contrast", "Sharpness"):
            ours = [1 + change for change in ours]
        if name == "Solarize":  # a whole threshold, which the share must fall below
            ours = [math.ceil(share * 255) for share in ours]
        if name == "Cutout":  # a square reaches as far to both sides
            ours = [side // 2 * 2 for side in ours]
        if theirs[0] is not None:
            assert ours == pytest.approx(theirs), name


def blank_params(size: int = SQUARE) -> OperationParams:
    return sampled(UDA, Batch.of(torch.zeros(TIMES, 1, 1, 1).expand(-1, 1, size, size)))


def test_uda_applies_half_of_the_operations_it_draws_and_all_are_alike() -> None:
    params = blank_params()
    assert params.start is not None
    assert params.stop is not None
    side = (params.stop - params.start).amax(dim=2)[:, :2]
    number = torch.where(side > 0, len(OPERATIONS), params.operation)  # cutouts apart
    drawn = number[number != NUMBER["identity"]]
    assert len(drawn) / (2 * TIMES) == pytest.approx(0.5, abs=0.01)
    counts = drawn.bincount(minlength=len(OPERATIONS) + 1)
    inverted = (params.operation == NUMBER["solarize"]) & (params.argument == 0)
    counts[NUMBER["solarize"]] -= inverted.sum()
    counts[NUMBER["identity"]] = inverted.sum()
    assert len(counts) == 15
    assert chisquare(counts).pvalue > 1e-3


def test_uda_draws_a_magnitude_from_one_to_nine_for_each_operation() -> None:
    params = blank_params()
    degrees = params.argument[params.operation == NUMBER["rotate"]]
    assert set(degrees.tolist()) == {3.0 * m for m in range(-9, 10) if m}
    assert chisquare((degrees.abs() / 3).long().bincount(minlength=10)[1:]).pvalue > 1e-3
    # Factors have no sign to draw: as many lie above 1 as below, and 1.9 is never reached.
    change = params.argument[params.operation == NUMBER["brightness"]]
    assert (change.min().item(), change.max().item()) == pytest.approx((-0.72, 0.72))


def test_uda_covers_a_square_of_half_the_side_in_the_end_wherever_it_falls() -> None:
    for size in (8, 32):
        params = blank_params(size)
        assert params.start is not None
        assert params.stop is not None
        sides = params.stop[:, -1] - params.start[:, -1]
        assert sides.amax() == size // 2
        assert sides.amin() == size // 4  # what hangs over the border is lost
        assert params.start[:, -1].amin() == 0
        assert params.stop[:, -1].amax() == size


def test_uda_shows_black_squares_and_inverted_images() -> None:
    images = noise(2, 3, 8, 8)
    nowhere = torch.zeros(2, 3, 2, dtype=torch.int64)
    stop = nowhere.clone()
    stop[0, 1] = torch.tensor([3, 5])
    params = OperationParams(
        operation=torch.tensor([[NUMBER["identity"]] * 2, [NUMBER["solarize"]] * 2]),
        argument=torch.tensor([[0.0, 0.0], [0.0, 2.0]]),
        start=nowhere,
        stop=stop,
    )
    result = UDA.apply(Batch.of(images), params).tensor
    assert (result[0, :, :3, :5] == 0).all()
    assert torch.equal(result[0, :, 3:], images[0, :, 3:])
    assert torch.equal(result[0, :, :, 5:], images[0, :, :, 5:])
    assert torch.equal(result[1], 255 - images[1])


def test_a_square_of_an_operation_is_moved_by_the_next_one() -> None:
    bright = torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)
    stop = torch.zeros(1, 3, 2, dtype=torch.int64)
    stop[0, 0] = torch.tensor([8, 1])  # the first column
    params = OperationParams(
        operation=torch.tensor([[NUMBER["identity"], NUMBER["solarize"]]]),
        argument=torch.zeros(1, 2),
        start=torch.zeros_like(stop),
        stop=stop,
    )
    result = UDA.apply(Batch.of(bright), params).tensor[0, 0]
    assert result[0].tolist() == [255, *[55] * 7]


def test_bad_settings_of_uda_are_refused() -> None:
    with pytest.raises(ValueError, match="magnitude of uda must be from 1 to 10, got 11"):
        RandAugment(magnitude=11, flavor="uda")
    with pytest.raises(ValueError, match="num_bins does not apply to uda, got 11"):
        RandAugment(num_bins=11, flavor="uda")
    with pytest.raises(ValueError, match="flavor must be one of torchvision, uda, got 'timm'"):
        RandAugment(flavor="timm")  # type: ignore[arg-type]
