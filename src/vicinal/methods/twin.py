"""A teacher where none is given: a network like the model, trained in the plain way."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from vicinal.core.batch import Batch
from vicinal.core.method import Setting
from vicinal.data.sampling import endless_batches
from vicinal.methods.supervised import Supervised

#: Rows of a step of the teacher that is trained where no store is given.
TEACHER_ROWS = 128


def trained_twin(setting: Setting, data: Batch, steps: int) -> nn.Module:
    """A network like the model, trained on hard labels with the task's baseline.

    Args:
        setting: of the trial.
        data: all training rows, raw.
        steps: of its optimiser.
    """
    plain = Supervised()
    # Layers that draw, dropout say, draw from the seed: a trial that is taken up trains it again.
    with setting.seeded("teacher"):
        learner = plain.start(dataclasses.replace(setting, steps=steps))
        learner.model.train()
        places = torch.arange(len(data))
        batches = endless_batches(places, min(TEACHER_ROWS, len(data)), seed=setting.seed)
        for step in range(steps):
            epoch, some = next(batches)
            plain.step(learner, {"train": data[some].replace(epoch=epoch, pool=None)})
            learner.step = step + 1
    return learner.model
