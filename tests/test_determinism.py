"""One sequence of augmented samples: whatever the workers, the order, a resume, or a store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vicinal import (
    Batch,
    CutMix,
    Draws,
    HorizontalFlip,
    PadCrop,
    Params,
    RandAugment,
    RegressionTarget,
)
from vicinal.mixers.label_kernel import LabelKernel
from vicinal.mixers.with_partners import WithPartners
from vicinal.transforms.sequence import Sequence as Chain

ROWS, EPOCH, SEED = 48, 3, 7
SEVERAL = Chain([PadCrop(2), HorizontalFlip(), RandAugment()])


def data() -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (ROWS, 3, 12, 12), generator=generator).to(torch.uint8)
    return Batch.of(x, torch.arange(ROWS) % 5).replace(epoch=EPOCH)


class Augmented(Dataset[tuple[int, Tensor]]):
    """Rows as a loader takes them: some at a time, augmented where they are loaded."""

    def __len__(self) -> int:
        return ROWS

    def __getitems__(self, rows: list[int]) -> list[tuple[int, Tensor]]:
        batch = data()[torch.tensor(rows)]
        found, _ = SEVERAL.augment(batch, Draws(SEED, batch.index, batch.epoch))
        return list(zip(rows, found.tensor, strict=True))


def loaded(order: Sequence[int], workers: int) -> dict[int, Tensor]:
    loader: DataLoader[tuple[int, Tensor]] = DataLoader(
        Augmented(), batch_size=8, sampler=order, num_workers=workers, collate_fn=list
    )
    return {row: x for batch in loader for row, x in batch}


def same(found: dict[int, Tensor], wanted: dict[int, Tensor]) -> bool:
    return all(torch.equal(x, wanted[row]) for row, x in found.items())


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_rows_are_augmented_alike_with_any_workers_in_any_order_and_after_a_resume() -> None:
    wanted = loaded(range(ROWS), 0)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1)).tolist()
    for workers in (0, 1, 4):
        assert same(loaded(order, workers), wanted)
    resumed = loaded(order[20:], 1)  # in the middle of the epoch, in other batches than before
    assert len(resumed) == ROWS - 20
    assert same(resumed, wanted)
    assert not same(loaded(range(ROWS), 0) | {0: wanted[1]}, wanted)


def test_rows_that_were_stored_replay_in_any_order() -> None:
    batch = data()
    result, params = SEVERAL.augment(batch, Draws(SEED, batch.index, batch.epoch))
    stored = Params.from_arrow(params.to_arrow())
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    for rows in order.split(7):
        assert torch.equal(SEVERAL.apply(batch[rows], stored[rows]).tensor, result.tensor[rows])


def test_mixtures_with_partners_from_all_rows_are_one_sequence_too() -> None:
    whole = data().replace(target=RegressionTarget(torch.arange(ROWS) / 10))
    mixer = WithPartners(CutMix(pairing=LabelKernel(0.5).fit(whole)), SEVERAL)
    wanted = mixer.augment(whole, Draws(SEED, whole.index, EPOCH))[0].tensor
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))
    for rows in order.split(5):
        some = whole[rows]
        found, params = mixer.augment(some, Draws(SEED, some.index, EPOCH))
        assert torch.equal(found.tensor, wanted[rows])
        again = mixer.apply(some, Params.from_arrow(params.to_arrow()))
        assert torch.equal(again.tensor, wanted[rows])
