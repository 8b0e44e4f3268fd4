"""One method on one split with one seed: trained, judged on held-out rows, and recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils import _pytree as pytree

from vicinal.compare.memory import keep_freed_memory
from vicinal.compare.plan import Recipe
from vicinal.compare.records import TrialRecord
from vicinal.compare.training import Examples, Progress, TrainingFailed, train
from vicinal.core.batch import Batch
from vicinal.core.method import Learner, Method, Part, Setting
from vicinal.core.task import Task
from vicinal.data.sampling import known_labels
from vicinal.data.splits import Split
from vicinal.data.standardise import Scale, Standardise
from vicinal.evaluate import Evaluation, evaluate, primary_metric

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from vicinal.core.augmentation import Augmentation

#: Held-out rows are judged at this many epochs for the learning curves, the last among them.
JUDGED_EPOCHS = 10
#: Rows of one forward pass when judging.
JUDGED_ROWS = 512


@dataclass(frozen=True)
class Trial:
    """The unit of work, of resuming and of distribution.

    key: hash of everything below that decides the result.
    method: label of the arm.
    """

    key: str
    method: str
    seed: int
    fold: int


def run_trial(
    trial: Trial,
    method: Method,
    *,
    task: Task,
    split: Split,
    recipe: Recipe,
    observe: Callable[[Progress], None] | None = None,
) -> TrialRecord:
    """Train and judge. A training that cannot go on gives a record that says why.

    Args:
        trial: what it is called.
        method: the recipe of the arm.
        task: the data.
        split: training and held-out rows.
        recipe: what all arms share.
        observe: called after each epoch.
    """
    start = time.perf_counter()
    curves: dict[str, list[float]] = {}
    with deterministic(trial.seed, recipe.threads):
        arena = Arena(task, split, recipe, seed=trial.seed)
        judged = set(_judged_epochs(recipe.epochs))
        name = arena.primary

        def look(learner: Learner, progress: Progress) -> None:
            # The last epoch is judged once training is over.
            due = progress.epoch in judged and progress.epoch < recipe.epochs
            value = arena.judge(method, learner).metrics[name] if due else math.nan
            curves.setdefault(f"held-out {name}", []).append(value)
            if observe is not None:
                observe(progress)

        try:
            learner, progress = train(
                method,
                arena.setting,
                arena.examples,
                rows=arena.rows,
                parts=arena.parts,
                batch_size=arena.batch_size,
                epochs=recipe.epochs,
                observe=look,
            )
            judgement = arena.judge(method, learner)
        except (TrainingFailed, FloatingPointError) as error:
            return TrialRecord(
                key=trial.key,
                method=trial.method,
                seed=trial.seed,
                fold=trial.fold,
                state="failed",
                wall_seconds=time.perf_counter() - start,
                finished=_now(),
                error=str(error),
            )
    curves[f"held-out {name}"][-1] = judgement.metrics[name]
    return TrialRecord(
        key=trial.key,
        method=trial.method,
        seed=trial.seed,
        fold=trial.fold,
        state="done",
        metrics=dict(judgement.metrics),
        curves=progress.curves | curves,
        reliability=list(judgement.reliability),
        per_class=dict(judgement.per_class),
        seconds=progress.seconds,
        wall_seconds=time.perf_counter() - start,
        steps=learner.step,
        finished=_now(),
    )


class Arena:
    """The same ground for every method: data, split, model, optimiser and steps of a trial.

    Args:
        task: the data.
        split: training and held-out rows.
        recipe: what all arms share.
        seed: of the trial.

    Attributes:
        rows: (M,) int64, the training rows whose labels are known: all of them, or a few of each
            class, for every arm the same.
        parts: the other training rows, which come without labels, for arms that ask for them.
    """

    def __init__(self, task: Task, split: Split, recipe: Recipe, *, seed: int) -> None:
        self.task = task
        self.split = split
        self.recipe = recipe
        self.primary = primary_metric(task.kind)
        self.rows = split.train
        self.parts: dict[Part, Tensor] = {}
        if recipe.labels_per_class is not None:
            self.rows, self.parts["unlabelled"] = known_labels(
                split.train, recipe.labels_per_class, seed=seed, labels=task.y[split.train]
            )
        self.batch_size = min(recipe.batch_size, len(self.rows))
        fabric = make_fabric(recipe)
        self._device = fabric.device
        # Scenes of points stay in their own units.
        self._standardise: Standardise | None = None
        if isinstance(task.x, Tensor):
            self._standardise = Standardise.fit(task.x, split.train).to(self._device)
        y = task.y
        self._scale: Scale | None = None
        if task.kind == "regression":
            self._scale = Scale.fit(y[split.train])
            y = self._scale.apply(y)
        x = pytree.tree_map(lambda rows: rows.to(self._device), task.x)
        self.examples = Examples(x, y.to(self._device))
        steps_an_epoch = len(self.rows) // self.batch_size
        self.setting = Setting(
            modality=task.modality,
            kind=task.kind,
            outputs=task.outputs,
            seed=seed,
            steps=recipe.epochs * steps_an_epoch,
            launcher=fabric,
            make_model=self._make_model,
            make_optimiser=lambda parameters: make_optimiser(recipe, parameters, fabric),
            make_schedule=make_schedule,
            prepare=self._standardise or _as_it_is,
            baseline=make_baseline(task, crop=recipe.crop, flip=recipe.flip),
        )

    def _make_model(self, outputs: int) -> nn.Module:
        from vicinal.models.build import build_model

        model = build_model(
            self.recipe.model,
            input_shape=self.task.sample_shape,
            outputs=outputs,
            seed=self.setting.seed,
            points=self.task.modality == "points",
        )
        return model.to(self._device)

    def restore(self, x: Tensor) -> Tensor:
        """What the model sees, back on the scale of the data. x: (B, ...) as prepared."""
        if self._standardise is None:
            return x
        return x / self._standardise.scale + self._standardise.mean

    def unscale(self, values: Tensor) -> Tensor:
        """Standardised regression values, back in the target's unit."""
        return values if self._scale is None else self._scale.invert(values)

    def judge(self, method: Method, learner: Learner) -> Evaluation:
        """The evaluation of the method's predictions for the held-out rows."""
        output = self.unscale(self.predict(method, learner, self.split.test).cpu())
        return evaluate(self.task.kind, output, self.task.y[self.split.test], self.task.classes)

    def predict(self, method: Method, learner: Learner, rows: Tensor) -> Tensor:
        """Outputs for some rows. rows: (M,) int64. Returns (M, C) or (M, 1) float32."""
        outputs = []
        with torch.no_grad(), learner.evaluating(), learner.setting.launcher.autocast():
            for some in torch.split(rows, JUDGED_ROWS):
                batch: Batch = self.examples.batch(some, epoch=0, labelled=False)
                outputs.append(method.predict(learner, batch).float())
        return torch.cat(outputs)


def _as_it_is(x: Any) -> Any:
    return x


def make_fabric(recipe: Recipe) -> Fabric:
    """Lightning Fabric on one device."""
    import warnings

    from lightning_fabric import Fabric

    with warnings.catch_warnings():
        # It would have us raise the number of data loading workers; nothing is loaded while
        # training.
        warnings.simplefilter("ignore")
        return Fabric(accelerator=recipe.device, devices=1, precision=recipe.precision)


def make_optimiser(recipe: Recipe, parameters: Iterable[nn.Parameter], fabric: Fabric) -> Optimizer:
    """The optimiser of every arm; weights decay, norms and biases do not."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    optimiser: Optimizer = (
        torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
        if recipe.optimiser == "sgd"
        else torch.optim.AdamW(groups, lr=recipe.learning_rate)
    )
    wrapped: Optimizer = fabric.setup_optimizers(optimiser)
    return wrapped


def make_schedule(optimiser: Optimizer, steps: int) -> LambdaLR:
    """Linear warm-up over a tenth of the steps, then half a cosine down to zero."""
    warm = max(1, steps // 10)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    # Fabric hands out a wrapper; schedules want the optimiser itself.
    return LambdaLR(getattr(optimiser, "optimizer", optimiser), factor)


def make_baseline(task: Task, *, crop: int, flip: bool) -> Augmentation | None:
    """Crop and flip, as far as they are asked for; scenes of points turn and flip."""
    from vicinal.transforms.image.crop import PadCrop
    from vicinal.transforms.image.flip import HorizontalFlip
    from vicinal.transforms.points.rigid import FlipPoints, RotatePoints
    from vicinal.transforms.sequence import Sequence

    parts: list[Augmentation] = []
    if task.modality == "image" and crop:
        parts.append(PadCrop(crop))
    if task.modality == "image" and flip:
        parts.append(HorizontalFlip())
    if task.modality == "points":
        parts += [RotatePoints(tilt=0.0, prob=1.0), FlipPoints()]
    return Sequence(parts) if parts else None


@contextmanager
def deterministic(seed: int, threads: int) -> Iterator[None]:
    """Deterministic kernels, a number of threads, and a random state that is put back afterwards.

    The global generator is seeded because layers such as dropout have no other source.
    """
    keep_freed_memory()
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # It finds reads of memory never written, and writes every new tensor once more for it.
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            memory.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.set_num_threads(before)


def _judged_epochs(epochs: int) -> list[int]:
    count = min(JUDGED_EPOCHS, epochs)
    return [round(epochs * (place + 1) / count) for place in range(count)]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
