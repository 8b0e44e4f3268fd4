"""The trainer of transformers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vicinal import CutMix

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainer, about loaders on a CPU

CLASSES = 4


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, rows: int = 12) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(rows, 3, 8, 8, generator=generator)
        self.y = torch.randint(CLASSES, (rows,), generator=generator)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"pixel_values": self.x[row], "labels": int(self.y[row])}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 64, CLASSES)
        self.seen: list[Tensor] = []

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        self.seen.append(pixel_values.detach().clone())
        return {"logits": self.layer(pixel_values.flatten(1))}


def trainer(folder: Path, **options: Any) -> Any:
    from vicinal.integrations.huggingface import MixingTrainer

    settings = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=6,
        per_device_eval_batch_size=6,
        max_steps=2,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        label_names=["labels"],
        **options,
    )
    return MixingTrainer(
        Model(),
        settings,
        train_dataset=Rows(),
        eval_dataset=Rows(),
        mixer=CutMix(),
        num_labels=CLASSES,
    )


@pytest.mark.parametrize("accumulated", [1, 2])
def test_steps_are_trained_on_mixed_batches_and_evaluated_on_plain_ones(
    tmp_path: Path, accumulated: int
) -> None:
    built = trainer(tmp_path, gradient_accumulation_steps=accumulated)
    before = built.model.layer.weight.detach().clone()
    result = built.train()
    assert 0 < result.training_loss < 5
    assert not torch.equal(built.model.layer.weight.cpu(), before)
    rows = Rows()
    plain = {x.numpy().tobytes() for x in rows.x}
    seen = torch.cat(built.model.seen)
    assert sum(x.numpy().tobytes() not in plain for x in seen) > len(seen) / 3
    built.model.seen.clear()
    metrics = built.evaluate()
    assert torch.equal(torch.cat(built.model.seen), rows.x)
    expected = F.cross_entropy(built.model(rows.x)["logits"], rows.y)
    assert metrics["eval_loss"] == pytest.approx(float(expected.detach()), rel=1e-4)


def test_the_loss_takes_both_kinds_of_labels_and_counts_rows() -> None:
    from vicinal.integrations.huggingface import soft_label_loss

    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0))
    y = torch.arange(6) % CLASSES
    outputs = SimpleNamespace(logits=logits)
    plain = F.cross_entropy(logits, y)
    one_hot = F.one_hot(y, CLASSES).float()
    for labels, items in ((y, None), (y, 6), (one_hot, None), (one_hot, 6 * CLASSES)):
        torch.testing.assert_close(soft_label_loss(outputs, labels, items), plain)
    torch.testing.assert_close(soft_label_loss({"logits": logits}, y, torch.tensor(12)), plain / 2)


def test_a_batch_without_what_is_mixed_is_refused() -> None:
    from vicinal.integrations.huggingface import MixingCollator

    collate = MixingCollator(CutMix(), num_labels=CLASSES, inputs="images")
    with pytest.raises(KeyError, match="no 'images', it has labels, pixel_values"):
        collate([Rows()[0], Rows()[1]])
