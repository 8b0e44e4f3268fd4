from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vicinal import Batch, Draws
from vicinal.mixers.history import PasteHistory
from vicinal.mixers.paste import PasteParams


def dark(count: int = 6, height: int = 8, width: int = 12, *, first: int = 100) -> Batch:
    """Images of zeros, whose rows in the dataset begin at `first`; all are of class 0."""
    index = torch.arange(first, first + count)
    batch = Batch.of(torch.zeros(count, 1, height, width), torch.zeros(count, dtype=torch.int64))
    return batch.replace(index=index)


def bright(count: int = 6, height: int = 8, width: int = 12) -> Batch:
    """An earlier batch: image i holds i + 1, and is of class i + 1."""
    rows = torch.arange(count)
    x = (rows + 1.0)[:, None, None, None].expand(-1, 1, height, width)
    return Batch.of(x, rows + 1)


def drawn(paste: PasteHistory, batch: Batch, seed: int = 0) -> PasteParams:
    return paste.sample(batch, Draws(seed, batch.index))


def test_an_image_gets_the_one_at_its_position_and_its_label_by_area() -> None:
    batch, paste = dark().replace(pool=bright()), PasteHistory(alpha=1.0)
    params = drawn(paste, batch)
    assert torch.equal(params.partner, torch.arange(6))
    mixed = paste.apply(batch, params)
    shares = torch.stack([(mixed.x == label).float().mean(dim=(1, 2, 3)) for label in range(7)], 1)
    assert mixed.target is not None
    torch.testing.assert_close(mixed.target.dense(7), shares)
    assert shares[torch.arange(6), torch.arange(1, 7)].count_nonzero() >= 4


def test_the_whole_image_is_seen_in_the_box() -> None:
    history = dark(1, first=0).replace(x=torch.rand(1, 1, 8, 12))
    params = PasteParams(torch.tensor([0]), torch.tensor([[1, 2]]), torch.tensor([[5, 8]]))
    mixed = PasteHistory().apply(dark(1).replace(pool=history), params)
    small = F.interpolate(history.x, size=(4, 6), mode="nearest")
    assert torch.equal(mixed.x[:, :, 1:5, 2:8], small)
    assert mixed.x.count_nonzero() == small.count_nonzero()


def test_a_shorter_batch_takes_the_first_of_the_earlier_one_and_a_longer_one_begins_anew() -> None:
    shorter, longer = dark(2).replace(pool=bright(3)), dark(5).replace(pool=bright(3))
    assert drawn(PasteHistory(), shorter).partner.tolist() == [0, 1]
    assert drawn(PasteHistory(), longer).partner.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_boxes_cover_any_share_up_to_the_largest(alpha: float) -> None:
    x = torch.zeros(1, 1, 1, 1).expand(4000, 1, 400, 400)
    params = drawn(PasteHistory(alpha=alpha), Batch.of(x))
    share = (params.stop - params.start).prod(dim=1) / 400**2
    assert 0.9 * alpha < share.max() <= alpha
    # Boxes are cut at the border: of a side s, s - s^2 / 4 is left on average, of a share u
    # therefore u (1 - sqrt(u) / 4)^2; and u is uniform up to alpha.
    expected = alpha / 2 - alpha**1.5 / 5 + alpha**2 / 48
    assert share.mean() == pytest.approx(expected, rel=0.05)
    inner = ((params.start > 0) & (params.stop < 400)).all(dim=1)
    sides = (params.stop - params.start)[inner]
    assert (sides[:, 0] == sides[:, 1]).all()


def test_a_batch_may_share_its_box() -> None:
    params = drawn(PasteHistory(scope="batch"), dark(20))
    assert (params.start == params.start[0]).all()
    assert (params.stop == params.stop[0]).all()
    apart = drawn(PasteHistory(), dark(20))
    assert len({tuple(one) for one in apart.stop.tolist()}) > 5
