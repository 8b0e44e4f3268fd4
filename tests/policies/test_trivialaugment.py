"""TrivialAugment against torchvision's TrivialAugmentWide, on torchvision's own draws."""

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
from vicinal.policies.randaugment import OperationParams
from vicinal.policies.trivialaugment import TrivialAugment
from vicinal.transforms.image.operations import NUMBER, OPERATIONS


class Recorded(v2.TrivialAugmentWide):
    """torchvision's policy, which tells what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[int, float]] = []

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, magnitude: float, **options: Any
    ) -> Tensor:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", transform_id).lower()
        argument = int(magnitude) if "Translate" in transform_id else magnitude
        self.drawn.append((NUMBER[name], argument))
        return super()._apply_image_or_video_transform(image, transform_id, magnitude, **options)


def blank(count: int, height: int, width: int) -> Tensor:
    """Images of which only the size matters, in one pixel of memory."""
    return torch.zeros(1).expand(count, 1, height, width)


@pytest.mark.parametrize("shape", [(3, 33, 47), (1, 32, 32)], ids=str)
def test_on_torchvisions_draws_the_output_is_torchvisions(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (400, *shape), dtype=torch.uint8, generator=generator)
    theirs = Recorded()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.stack([theirs(image) for image in images])
    drawn = torch.tensor(theirs.drawn, dtype=torch.float64)[:, None]
    params = OperationParams(drawn[..., 0].long(), drawn[..., 1].float())
    ours = TrivialAugment().apply(Batch.of(images), params).tensor
    assert torch.equal(ours, expected)


def test_operations_and_strengths_are_uniform_and_independent_and_signs_balanced() -> None:
    batch = Batch.of(blank(50_000, 40, 40))
    params = TrivialAugment().sample(batch, Draws(0, batch.index))
    number, argument = params.operation[:, 0], params.argument[:, 0]
    assert params.operation.shape == (50_000, 1)
    assert chisquare(number.bincount(minlength=14)).pvalue > 1e-3
    for name, most in {"rotate": 135, "shear_x": 0.99, "sharpness": 0.99}.items():
        own = argument[number == NUMBER[name]]
        bins = (own.abs() / most * 30).round().long()
        assert chisquare(bins.bincount(minlength=31)).pvalue > 1e-3
        moving = own[own != 0]
        assert binomtest(int((moving < 0).sum()), len(moving)).pvalue > 1e-3
    posterize = argument[number == NUMBER["posterize"]]
    assert posterize.unique().tolist() == [2, 3, 4, 5, 6, 7, 8]
    solarize = argument[number == NUMBER["solarize"]]
    assert (solarize.min(), solarize.max()) == (0, 1)


def test_translations_reach_32_pixels_on_any_size() -> None:
    for size in (20, 224):
        batch = Batch.of(blank(20_000, size, 2 * size))
        params = TrivialAugment().sample(batch, Draws(0, batch.index))
        for name in ("translate_x", "translate_y"):
            assert params.argument[params.operation == NUMBER[name]].abs().max() == 32


def test_signed_operations_are_those_that_have_a_direction() -> None:
    batch = Batch.of(blank(20_000, 40, 40))
    params = TrivialAugment().sample(batch, Draws(0, batch.index))
    negative = params.operation[params.argument < 0].unique().tolist()
    assert negative == [n for n, operation in enumerate(OPERATIONS) if operation.signed]


def test_fewer_bins_are_coarser() -> None:
    batch = Batch.of(blank(5000, 40, 40))
    params = TrivialAugment(num_bins=3).sample(batch, Draws(0, batch.index))
    degrees = params.argument[params.operation == NUMBER["rotate"]].abs().unique()
    assert degrees.tolist() == [0, 67.5, 135]


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_bins must be in \[2, inf\), got 1"):
        TrivialAugment(num_bins=1)
