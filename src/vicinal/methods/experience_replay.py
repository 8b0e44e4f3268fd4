"""Experience replay: classes arrive some at a time, and a few of their samples are kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Parameter, Range
from vicinal.core.method import Learner, Phase, Setting, Stream
from vicinal.core.target import ClassTarget, Target
from vicinal.data.class_incremental import ClassIncrementalStream, OneTask, ReplayMemory
from vicinal.methods.supervised import Supervised

#: What all that replay share.
PARAMETERS: dict[str, Parameter] = {
    "tasks": Range(
        1, 10, default=5, valid="[1, inf)", integer=True, meaning="parts that classes come in"
    ),
    "memory": Range(
        10, 1000, default=200, scale="log", valid="[1, inf)", integer=True, meaning="rows kept"
    ),
    "replayed": Range(
        0.0, 6.0, default=1.0, valid="[0, inf)", meaning="rows replayed to rows that arrive"
    ),
}
NEEDS = (
    "classes, which it lets arrive some at a time: train it beside arms that do the same, and with "
    "--epochs 1 for a single pass",
)


class ExperienceReplay(Supervised):
    """Let classes arrive some at a time, and train on what arrives and on a memory of the past.

    Each part of the classes is trained on for an equal share of the steps, and never comes back: an
    epoch in all is one pass over the stream. A reservoir keeps a few rows, and some of them
    join each batch. Judged at the end, on all classes, this is the final average accuracy.

    Source: Chaudhry et al., On Tiny Episodic Memories in Continual Learning, 2019, with reservoir
    sampling; the class is predicted among all, as class-incremental learning has it.

    Args:
        tasks: parts that the classes come in, >= 1; 1 is ordinary training with a memory.
        memory: rows kept, >= 1.
        replayed: rows from the memory to rows that arrive in a batch, >= 0; 0 remembers nothing.

    Raises:
        ValueError: a value is out of range; before training: the task has no classes.
    """

    card = Card(
        name="experience_replay",
        kind="method",
        family="class-incremental",
        modality=("any",),
        summary="Lets classes arrive some at a time, and replays a few samples of earlier ones.",
        systems=("dualmix",),
        paper=Paper(
            "On Tiny Episodic Memories in Continual Learning",
            authors="Chaudhry, Rohrbach, Elhoseiny, Ajanthan, Dokania, Torr, Ranzato",
            venue="arXiv",
            year=2019,
            arxiv="1902.10486",
        ),
        parameters=PARAMETERS,
        needs=NEEDS,
        targets=("classes",),
        controls=("experience_replay:replayed=0",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.data.class_incremental import ClassIncrementalStream, ReplayMemory\n"
            "\n"
            "memory = ReplayMemory.empty({memory})\n"
            "stream = ClassIncrementalStream(y_train, {tasks})\n"
            "tasks = [stream.batches(task, 10) for task in range(len(stream))]\n"
            "for step, rows in enumerate(rows for batches in tasks for rows in batches):\n"
            "    count = round({replayed} * len(rows))\n"
            "    both = torch.cat([rows, memory.sample(count, step=step)])\n"
            "    x, y = x_train[both], y_train[both]\n"
            "    loss = vicinal.Target.of(y).loss(model(x))  # and a step on it\n"
            "    memory = memory.after(rows)"
        ),
    )

    def __init__(self, tasks: int = 5, *, memory: int = 200, replayed: float = 1.0) -> None:
        ExperienceReplay.card.check(tasks=tasks, memory=memory, replayed=replayed)
        super().__init__()
        self.tasks = int(tasks)
        self.memory = int(memory)
        self.replayed = replayed

    def phases(self) -> tuple[Phase, ...]:
        return tuple(
            Phase(
                f"task {place + 1}",
                1 / self.tasks,
                {"train": Stream(sampler=OneTask(place, self.tasks), pooled=True)},
            )
            for place in range(self.tasks)
        )

    def start(self, setting: Setting) -> Learner:
        if setting.kind != "classification":
            raise ValueError("classes can only arrive some at a time where there are classes")
        learner = super().start(setting)
        none = torch.zeros(setting.outputs, dtype=torch.int64)
        learner.memory |= {
            "slots": ReplayMemory.empty(self.memory).slots,
            "arrived": none,  # rows of each class
            "kept": none,  # of each class in the memory
            "new": none.bool(),  # classes of this task
        }
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        sampler = phase.streams["train"].sampler
        assert isinstance(sampler, OneTask)
        stream = ClassIncrementalStream(_labels(learner.setting.part("train").target), self.tasks)
        new = torch.zeros_like(learner.memory["new"])
        new[stream.classes[sampler.of(stream)]] = True
        learner.memory["new"] = new

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch = batches["train"]
        union = self.union(learner, batch)
        with learner.setting.launcher.autocast():
            losses, report = self.losses(learner, union)
        learner.update(losses)
        self.remember(learner, batch)
        return report

    def losses(self, learner: Learner, union: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of what arrived and what is replayed, and what there is to report of it."""
        seen, _ = self.augmented(learner, union)
        assert seen.target is not None
        output = learner.model(seen.x)
        loss = seen.target.loss(output)
        return loss, self.report(loss, output, seen)

    def replay(self, learner: Learner) -> ReplayMemory:
        """The memory as it is."""
        seen = learner.memory["arrived"].sum()
        return ReplayMemory(learner.memory["slots"], seen, learner.setting.seed)

    def union(self, learner: Learner, batch: Batch) -> Batch:
        """What arrived, and rows of the memory after it, raw.

        Its random numbers are those of the step: a row that is replayed looks different each time.
        """
        count = round(self.replayed * len(batch))
        replayed = self.replay(learner).sample(count, step=learner.step).to(batch.index.device)
        rows = torch.cat([batch.index, replayed])
        return batch.take(rows).replace(epoch=learner.step)

    def remember(self, learner: Learner, batch: Batch) -> None:
        """Let what arrived into the memory."""
        memory = self.replay(learner).after(batch.index.cpu())
        pool, at = batch.partners(memory.rows.to(batch.index.device))
        assert pool.target is not None
        classes = learner.setting.outputs
        arrived = _labels(batch.target).bincount(minlength=classes)
        learner.memory["slots"] = memory.slots
        learner.memory["arrived"] = learner.memory["arrived"] + arrived
        learner.memory["kept"] = _labels(pool.target[at]).bincount(minlength=classes)


def _labels(target: Target | None) -> Tensor:
    """The classes of some rows, on the host. Returns (B,) int64."""
    if not isinstance(target, ClassTarget) or target.weights is not None:
        raise ValueError("a class-incremental stream needs one class a row")
    return target.labels[:, 0].cpu()
