"""A callback of Lightning's trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from vicinal import Mixup

pl = pytest.importorskip("lightning.pytorch")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on loaders and loggers

CLASSES = 4


class Linear(pl.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, CLASSES)
        self.seen: list[Any] = []
        self.validated: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, labels = batch
        self.seen.append((x.clone(), labels.clone()))
        return F.cross_entropy(self.layer(x), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(folder: Path, epochs: int = 2) -> Linear:
    from vicinal.integrations.lightning import MixCallback

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 6, generator=generator)
    rows = TensorDataset(x, torch.randint(CLASSES, (12,), generator=generator))
    loader = DataLoader(rows, batch_size=6)
    module = Linear()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[MixCallback(Mixup(), num_classes=CLASSES, seed=1)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, loader, loader)
    return module


def test_training_batches_are_mixed_and_validation_batches_are_not(tmp_path: Path) -> None:
    module = fitted(tmp_path)
    assert len(module.seen) == 4
    for x, labels in module.seen:
        assert x.shape == (6, 6)
        assert labels.shape == (6, CLASSES)
        torch.testing.assert_close(labels.sum(dim=1), torch.ones(6))
    mixed = torch.cat([labels for _, labels in module.seen])
    assert ((mixed > 0).sum(dim=1) == 2).any()
    assert all(labels.shape == (6,) for labels in module.validated)
    # Every epoch draws anew, and every run of one seed the same.
    assert not torch.equal(module.seen[0][0], module.seen[2][0])
    again = fitted(tmp_path)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(module.seen, again.seen, strict=True))


def test_other_batches_are_refused() -> None:
    from vicinal.integrations.lightning import MixCallback

    callback = MixCallback(Mixup(), num_classes=CLASSES)
    with pytest.raises(TypeError, match=r"needs batches \[x, y\], got a dict"):
        callback.on_train_batch_start(None, None, {"x": 1}, 0)
