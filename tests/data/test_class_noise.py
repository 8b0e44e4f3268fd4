"""Labels that are taken for one other class."""

from __future__ import annotations

import pytest
import torch

from vicinal.data.class_noise import ClassNoise


def test_a_share_of_every_class_goes_to_one_other_class() -> None:
    labels = torch.arange(20_000) % 10
    noise = ClassNoise.drawn(0.25, classes=10, seed=3)
    changed = noise(labels, seed=1)
    for one in range(10):
        found = changed[labels == one].bincount(minlength=10) / 2000
        assert found[one].item() == pytest.approx(0.75, abs=0.04)
        assert found[noise.wrong[one]].item() == pytest.approx(0.25, abs=0.04)
        assert found.sum().item() == pytest.approx(1.0)
        assert (found > 0).sum() == 2


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_are_changed(share: float) -> None:
    noise = ClassNoise(share, wrong=(2, 0, 1))
    labels = torch.tensor([0, 1, 2, 2])
    wanted = labels if share == 0 else torch.tensor([2, 0, 1, 1])
    assert torch.equal(noise(labels), wanted)


def test_a_row_has_its_label_whoever_asks() -> None:
    noise = ClassNoise.drawn(0.5, classes=4)
    labels = torch.arange(400) % 4
    whole = noise(labels, seed=5)
    rows = torch.randperm(400, generator=torch.Generator().manual_seed(0))[:50]
    assert torch.equal(noise(labels[rows], seed=5, rows=rows), whole[rows])
    assert not torch.equal(noise(labels, seed=6), whole)


def test_every_other_class_can_be_the_wrong_one() -> None:
    wrong = {ClassNoise.drawn(0.5, classes=4, seed=seed).wrong[1] for seed in range(60)}
    assert wrong == {0, 2, 3}
    assert ClassNoise.drawn(0.5, classes=2).wrong == (1, 0)


def test_what_is_no_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 1.5"):
        ClassNoise(1.5, wrong=(1, 0))
    with pytest.raises(ValueError, match="another class for every class"):
        ClassNoise(0.5, wrong=(0, 1))
    with pytest.raises(ValueError, match="another class for every class"):
        ClassNoise(0.5, wrong=(1, 2))
    with pytest.raises(ValueError, match="at least two classes, got 1"):
        ClassNoise.drawn(0.5, classes=1)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\)"):
        ClassNoise(0.5, wrong=(1, 0))(torch.tensor([0, 2]))
