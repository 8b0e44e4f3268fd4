"""Dataset reinforcement: learn stored augmentations and what a teacher said of them."""

from __future__ import annotations

import tempfile

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card, FilePath, Paper, Range, Result
from vicinal.core.method import Learner, Phase, Setting, Stream
from vicinal.core.params import Params
from vicinal.data.reinforced import ReinforcedStore, Replay, ensemble, reinforce
from vicinal.methods.supervised import Supervised
from vicinal.methods.twin import TEACHER_ROWS, trained_twin
from vicinal.objectives.distill_kl import DistillKL
from vicinal.policies.randaugment import RandAugment
from vicinal.transforms.sequence import Sequence


class DatasetReinforcement(Supervised):
    """Train on a store of augmentations and a teacher's probabilities for them, and on no teacher.

    Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, section 3, and the authors'
    dr/data.py and trainers.py. A store is made once by `vicinal reinforce`, with a teacher that is
    better than the model; the steps of training cost what they cost without it.

    Where no store is given, the method makes one for itself before it trains: a teacher like the
    model takes as many steps of its own on the same rows, with the task's baseline, and judges the
    baseline and RandAugment. That is distillation into a twin, at twice the price or more, and not
    what the paper reports: its teachers are larger ensembles.

    Args:
        store: the folder of a store of the training rows.
        prob: how often a row is replayed, in [0, 1]; otherwise it has the task's baseline and its
            own label.
        records: of each row, in a store that the method makes for itself; no more than there are
            epochs. >= 1.
        top_k: classes kept of each record, in such a store. >= 1.

    Raises:
        TypeError: the store is no path.
        ValueError: a value is out of range.
    """

    card = Card(
        name="dataset_reinforcement",
        kind="method",
        family="distillation",
        modality=("image",),
        summary="Replays stored augmentations, and learns what a teacher said of each.",
        systems=("dataset-reinforcement",),
        paper=Paper(
            "Reinforce Data, Multiply Impact: Improved Model Accuracy and Robustness with Dataset "
            "Reinforcement",
            authors="Faghri, Pouransari, Mehta, Farajtabar, Farhadi, Rastegari, Tuzel",
            venue="ICCV",
            year=2023,
            arxiv="2303.08983",
        ),
        parameters={
            "store": FilePath(
                meaning="folder that `vicinal reinforce` wrote; without one, a twin of the model "
                "is trained as the teacher first"
            ),
            "prob": Range(0.5, 1.0, default=0.99, valid="[0, 1]", meaning="how often it replays"),
            "records": Range(
                1,
                400,
                default=20,
                scale="log",
                valid="[1, inf)",
                integer=True,
                meaning="of each row, in a store that the method makes for itself",
            ),
            "top_k": Range(
                1,
                100,
                default=10,
                scale="log",
                valid="[1, inf)",
                integer=True,
                meaning="classes kept of each, in such a store",
            ),
        },
        needs=("a store of the training rows, or the time to train a teacher first",),
        targets=("classes",),
        labels="smoothed",
        leaks="all that the teacher was trained on: it must not have seen rows that are held out",
        result=Result(
            task="ImageNet-1k, ResNet-50, 150 epochs, 400 reinforcements",
            metric="top-1 accuracy, %",
            baseline=79.0,
            value=80.3,
            note="as the authors' repository has it",
        ),
        differs=(
            "Parquet shards, where the authors' code pickles a file for each image",
            "one kernel draws and replays, where theirs resizes tensors once and Pillow images "
            "later",
            "labels whose kept probabilities exceed 1 are renormalised, where theirs become a "
            "softmax of probabilities",
            "partners come from the rows of a shard, where theirs come from the batch",
        ),
        example=(
            "import tempfile\n"
            "import vicinal\n"
            "from vicinal.data.reinforced import ReinforcedStore, Replay, ensemble, reinforce\n"
            "from vicinal.objectives.distill_kl import kl_divergence\n"
            "\n"
            "# once, on all training rows: uint8 images x, a trained model as the teacher\n"
            "data = vicinal.Batch.of(x, y)\n"
            "teacher = ensemble([model], prepare=normalise, name='teacher')\n"
            "folder = {store} or reinforce(data, tempfile.mkdtemp(),\n"
            "    augmentation=vicinal.RandAugment(), teacher=teacher,\n"
            "    records={records}, top_k={top_k})\n"
            "replay = Replay(ReinforcedStore(folder), prob={prob})\n"
            "\n"
            "# in the training loop\n"
            "batch = replay(data)\n"
            "loss = kl_divergence(batch.target, model(normalise(batch.x))).mean()"
        ),
    )

    def __init__(
        self,
        store: str | None = None,
        *,
        prob: float = 0.99,
        records: int = 20,
        top_k: int = 10,
    ) -> None:
        self.card.check(store=store, prob=prob, records=records, top_k=top_k)
        super().__init__(objective=DistillKL())
        self.store = store
        self.prob = prob
        self.records = int(records)
        self.top_k = int(top_k)

    def phases(self) -> tuple[Phase, ...]:
        # Partners of a record may be any of the training rows.
        return (Phase(streams={"train": Stream(pooled=self.store is not None)}),)

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        if self.store is not None:
            store = ReinforcedStore(self.store)
            if store.manifest.classes != setting.outputs:
                raise ValueError(
                    f"{self.store} teaches {store.manifest.classes} classes, the data have "
                    f"{setting.outputs}"
                )
            learner.fitted["replay"] = self._replay(store, setting)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        data, replay = learner.setting.part("train"), learner.fitted.get("replay")
        if isinstance(replay, Replay):
            replay.store.require(data)
            return
        with tempfile.TemporaryDirectory(prefix="vicinal-") as folder:
            teacher = trained_twin(learner.setting, data, steps)
            learner.updates["teacher"] += steps
            reinforce(
                data,
                folder,
                augmentation=views(learner.setting),
                teacher=ensemble([teacher], prepare=learner.setting.prepare, name="a twin"),
                records=min(self.records, -(-steps * TEACHER_ROWS // len(data))),
                top_k=self.top_k,
                seed=learner.setting.seed,
            )
            learner.fitted["replay"] = self._replay(ReinforcedStore(folder), learner.setting)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        # Before training there is no store yet to be shown, but what it will be made of.
        chosen = learner.fitted.get("replay") or views(learner.setting)
        batch, params = chosen.augment(batch, learner.draws(batch).within("replay"))
        return batch.replace(x=learner.setting.prepare(batch.tensor), pool=None), params

    def _replay(self, store: ReinforcedStore, setting: Setting) -> Replay:
        return Replay(store, prob=self.prob, ordinary=setting.baseline)


def views(setting: Setting) -> Augmentation:
    """What a store is made of where none is given: the task's baseline, then RandAugment."""
    if setting.baseline is None:
        return RandAugment()
    return Sequence([setting.baseline, RandAugment()])
