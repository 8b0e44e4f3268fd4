"""In the Trainer of Lightning: a callback that mixes training batches. Imports lightning."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.integrations.torchvision import dense


class MixCallback(Callback):  # type: ignore[misc]  # lightning's types are not followed
    """Mix every training batch on its device, before the module sees it.

    The batch is the list [x, y] that a loader collates; `training_step` gets it with mixed x, and
    (B, num_classes) float32 labels for `torch.nn.functional.cross_entropy`. Batches of validation
    and test stay as they are. The numbers depend on the seed, the epoch and the batch, so that a
    run that is resumed goes on as it would have gone.

    Args:
        mixer: an augmentation of x and y.
        num_classes: length of the labels.
        seed: of the numbers.
    """

    def __init__(self, mixer: Augmentation, *, num_classes: int, seed: int = 0) -> None:
        self.mixer = mixer
        self.num_classes = num_classes
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the mixed batch in place of the plain one.

        Raises:
            TypeError: the batch is not a list of inputs and labels.
        """
        if not isinstance(batch, list) or len(batch) != 2:
            raise TypeError(f"MixCallback needs batches [x, y], got a {type(batch).__name__}")
        plain = Batch.of(*batch)
        draws = Draws(self.seed, plain.index, trainer.current_epoch).within(f"batch {batch_idx}")
        mixed, _ = self.mixer.augment(plain, draws)
        assert mixed.target is not None
        batch[:] = mixed.x, dense(mixed.target, self.num_classes)
