"""RandAugment against torchvision's own, on torchvision's own draws."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor
from torchvision.transforms import v2

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.policies.randaugment import OperationParams, RandAugment
from vicinal.transforms.image.operations import NUMBER, OPERATIONS


class Recorded(v2.RandAugment):
    """torchvision's policy, which tells what it drew."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.drawn: list[tuple[int, float]] = []

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, magnitude: float, **options: Any
    ) -> Tensor:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", transform_id).lower()
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
    with pytest.raises(ValueError, match=r"num_ops must be in \[0, inf\), got -1"):
        RandAugment(-1)
    with pytest.raises(ValueError, match="magnitude must be below num_bins, 31, got 31"):
        RandAugment(2, 31)
    with pytest.raises(ValueError, match=r"magnitude must be a whole number, got 2\.5"):
        RandAugment(2, 2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"num_bins must be in \[2, inf\), got 1"):
        RandAugment(2, 0, num_bins=1)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        RandAugment()(torch.zeros(2, 4, 5, 5), generator=torch.Generator())
