from __future__ import annotations

import pytest
import torch

from vicinal.evaluate.aggregate import aggregate


def outputs() -> torch.Tensor:
    return torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0)) * 3


def test_logits_are_averaged_as_they_are() -> None:
    assert torch.equal(aggregate(outputs()), outputs().mean(dim=1))


def test_probabilities_are_averaged_as_probabilities() -> None:
    mean = outputs().softmax(dim=2).mean(dim=1)
    torch.testing.assert_close(aggregate(outputs(), of="probabilities").softmax(dim=1), mean)


@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_equal_versions_say_what_one_of_them_says(of: str) -> None:
    one = outputs()[:, :1]
    together = aggregate(one.expand(-1, 4, -1), of=of)  # type: ignore[arg-type]
    torch.testing.assert_close(together.softmax(1), one[:, 0].softmax(1))


def test_one_version_that_is_certain_outweighs_the_others_in_logits_alone() -> None:
    versions = torch.tensor([[[30.0, 0.0], [0.0, 2.0], [0.0, 2.0]]])
    assert aggregate(versions).argmax(dim=1).item() == 0
    assert aggregate(versions, of="probabilities").argmax(dim=1).item() == 1


def test_nothing_else_is_averaged() -> None:
    with pytest.raises(ValueError, match="of must be logits or probabilities, got 'votes'"):
        aggregate(outputs(), of="votes")  # type: ignore[arg-type]
