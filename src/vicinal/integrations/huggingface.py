"""In the `Trainer` of transformers: a data collator that mixes, and the loss for its labels.

Imports transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Trainer, default_data_collator

from vicinal.core.augmentation import Augmentation
from vicinal.integrations.torchvision import dense

Collator = Callable[[Sequence[Any]], Mapping[str, Any]]


class MixingCollator:
    """Collate, then mix the inputs and the labels. For training: `MixingTrainer` keeps it there.

    Args:
        mixer: which is called as `mixer(x, y)`.
        num_labels: length of the labels.
        collator: makes a dict of tensors of samples.
        inputs: the name of what is mixed.
        labels: the name of the classes, (B,) int64; they become (B, num_labels) float32.
    """

    def __init__(
        self,
        mixer: Augmentation,
        *,
        num_labels: int,
        collator: Collator = default_data_collator,
        inputs: str = "pixel_values",
        labels: str = "labels",
    ) -> None:
        self.mixer = mixer
        self.num_labels = num_labels
        self.collator = collator
        self.inputs = inputs
        self.labels = labels

    def __call__(self, samples: Sequence[Any]) -> dict[str, Any]:
        batch = dict(self.collator(samples))
        for name in (self.inputs, self.labels):
            if name not in batch:
                raise KeyError(f"the batch has no {name!r}, it has {', '.join(sorted(batch))}")
        mixed, target = self.mixer(batch[self.inputs], batch[self.labels])
        return batch | {self.inputs: mixed, self.labels: dense(target, self.num_labels)}


def soft_label_loss(
    outputs: Any, labels: Tensor, num_items_in_batch: int | Tensor | None = None
) -> Tensor:
    """Cross-entropy for mixed and for plain labels: `Trainer(compute_loss_func=soft_label_loss)`.

    Args:
        outputs: of the model, with (B, C) `logits`.
        labels: (B, C) float, or (B,) int64 in evaluation.
        num_items_in_batch: rows of all batches whose gradients are summed up; of this one by
            default.
    """
    logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
    if num_items_in_batch is None:
        return F.cross_entropy(logits.float(), labels)
    summed = F.cross_entropy(logits.float(), labels, reduction="sum")
    rows = torch.as_tensor(num_items_in_batch, device=summed.device)
    # The trainer counts items of labels, which are C a row where they are mixed.
    return summed / (rows / labels.shape[1] if labels.dim() == 2 else rows)


class MixingTrainer(Trainer):  # type: ignore[misc]  # transformers' types are not followed
    """A Trainer whose training batches are mixed, and whose evaluation batches are not.

    Args:
        mixer: which is called as `mixer(x, y)`.
        num_labels: length of the labels.
        inputs: the name of what is mixed.
        *args, **options: of `Trainer`. The loss is `soft_label_loss` unless another is given.
    """

    data_collator: Any

    def __init__(
        self,
        *args: Any,
        mixer: Augmentation,
        num_labels: int,
        inputs: str = "pixel_values",
        **options: Any,
    ) -> None:
        options.setdefault("compute_loss_func", soft_label_loss)
        super().__init__(*args, **options)
        self.mixer = mixer
        self.num_labels = num_labels
        self.inputs = inputs

    def get_train_dataloader(self) -> Any:
        """The loader, whose collator mixes what the trainer's own has collated."""
        plain = self.data_collator
        self.data_collator = MixingCollator(
            self.mixer, num_labels=self.num_labels, collator=plain, inputs=self.inputs
        )
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain
