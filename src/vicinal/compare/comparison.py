"""A comparison from the request to the verdict."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vicinal.compare.execute import Ground, execute
from vicinal.compare.gallery import make_gallery
from vicinal.compare.plan import Recipe, code_fingerprint, trial_key
from vicinal.compare.records import Gallery, RunRecord, TrialRecord
from vicinal.compare.request import Request, asked, flag
from vicinal.compare.statistics import Verdict, judge
from vicinal.compare.store import Store
from vicinal.compare.training import train
from vicinal.compare.trial import Arena, Trial, deterministic
from vicinal.compare.usage import Usage, usage
from vicinal.core.errors import InputError
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import Arm, fitting_arms, parse_arm, parse_arms, with_controls

BASELINE = "none"
#: Arms of a comparison that names none: as far as they fit the data.
USUAL = "none,mixup,cutmix,manifold_mixup,cutout,randaugment,trivialaugment,augmix,label_smoothing"
REPORT = "report.html"
#: Share of the rows held out where the data bring no test part.
HOLDOUT = 0.2
#: Settings that the data decide where the request does not.
CHOSEN = (
    "model",
    "epochs",
    "batch_size",
    "optimiser",
    "learning_rate",
    "weight_decay",
    "crop",
    "flip",
)
#: Below this the results of a run may not fit.
FREE_BYTES = 64 << 20
#: Rows of the one step that every arm takes before training.
REHEARSED_ROWS = 8


@dataclass(frozen=True)
class Comparison:
    """Everything decided, nothing trained yet.

    out: folder of the report, and of the store unless a URL was given.
    place: of the store.
    trials: in the order they are run.
    """

    request: Request
    run: RunRecord
    ground: Ground
    arms: Sequence[Arm]
    trials: Sequence[Trial]
    out: Path
    place: str | Path

    def open_store(self) -> Store:
        """The store of its results."""
        return Store(self.place)


@dataclass(frozen=True)
class Outcome:
    """What is known after some or all trials.

    usage: lines for the winner, or for the baseline where nothing beats it.
    """

    run: RunRecord
    trials: Sequence[TrialRecord]
    verdicts: Sequence[Verdict]
    usage: Usage


def prepare(request: Request, *, command: str) -> Comparison:
    """Read the data, make every choice, and refuse what cannot work before anything is trained.

    Raises:
        InputError: something in the request or the data cannot be used.
    """
    from vicinal.data.defaults import choose
    from vicinal.data.read import read_task
    from vicinal.data.splits import splits
    from vicinal.models.build import model_fingerprint

    arms = parse_arms(USUAL if request.methods is None else request.methods)
    if all(arm.label != BASELINE for arm in arms):
        arms = [parse_arm(BASELINE), *arms]
    if request.controls:
        arms = with_controls(arms)
    arms.sort(key=lambda arm: arm.label != BASELINE)  # stable: the baseline comes first
    task = read_task(
        request.data,
        target=request.target,
        columns=request.columns,
        drop=request.drop,
        image_size=request.image_size,
        kind=request.kind,
    )
    arms, left_out = fitting_arms(arms, task)
    _refuse_lonely(arms, left_out)
    _refuse_idle(request, task)
    holdout = HOLDOUT if request.holdout is None else request.holdout
    parts = splits(task, folds=request.folds, holdout=holdout)
    given = {name: getattr(request, name) for name in CHOSEN}
    labelled = _labelled(request, task, parts)
    choices = choose(task, labelled or len(parts[0].train), **given)
    device = choose_device(request.device)
    threads = request.threads or max(1, (os.cpu_count() or 1) // request.workers)
    recipe = Recipe(
        **{name: getattr(choices, name) for name in CHOSEN},
        model_fingerprint=model_fingerprint(choices.model),
        folds=request.folds,
        holdout=holdout,
        device=device,
        precision=request.precision,
        threads=threads,
        labels_per_class=request.labels_per_class,
    )
    ground = Ground(task, parts, recipe)
    out = Path(request.out) if request.out is not None else Path("runs") / task.name
    place = request.store if request.store is not None else out
    check_folder(out)
    with Store(place) as store:
        _refuse_mixing(store, task, request)
    arms, refused = _rehearse(ground, arms)
    left_out |= refused
    _refuse_lonely(arms, left_out)
    trials = _trials(request, ground, arms)
    run = RunRecord(
        name=task.name,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        task=describe_task(task, ground)
        | {"source": request.data, "target": request.target, "asked": asked(request)},
        settings=_settings(request, recipe),
        reasons=choices.reasons,
        methods=[arm.label for arm in arms],
        left_out=left_out,
        environment=environment(recipe),
        overlap=len(parts[0].test) / len(parts[0].train) if len(parts) > 1 else 0.0,
    )
    return Comparison(request, run, ground, arms, trials, out, place)


def _refuse_mixing(store: Store, task: Task, request: Request) -> None:
    """Refuse other data of the same name: its run and report would be written over."""
    if task.name not in store.run_names():
        return
    before = store.last_run(task.name)[0].task
    source, fingerprint = before["source"], before["fingerprint"]
    if fingerprint != task.fingerprint and Path(source).resolve() != Path(request.data).resolve():
        raise InputError(
            f"{store.place} holds the results of other data called {task.name} ({source}): "
            f"choose another {'--out' if request.store is None else '--store'}"
        )


def _refuse_idle(request: Request, task: Task) -> None:
    """Refuse what was asked for and would change nothing."""
    if task.modality != "image":
        for name in ("crop", "flip"):
            if getattr(request, name) is not None:
                raise InputError(f"{flag(name)} does not apply to {task.name}: it holds no images")
    elif request.crop is not None and request.crop >= min(task.x.shape[-2:]):
        raise InputError(
            f"--crop must be below the side of {min(task.x.shape[-2:])} pixels, got {request.crop}"
        )
    if request.holdout is not None:
        if request.folds is not None:
            raise InputError("--holdout does not apply with --folds: leave one of them out")
        if task.test_rows is not None:
            raise InputError(
                f"--holdout does not apply to {task.name}: it brings a test part of its own"
            )


def _labelled(request: Request, task: Task, parts: Sequence[Split]) -> int | None:
    """How many training rows keep their labels, or None if all do."""
    count = request.labels_per_class
    if count is None:
        return None
    if task.kind == "regression":
        raise InputError(f"--labels-per-class does not apply to {task.name}: it has no classes")
    for part in parts:
        sizes = task.y[part.train].bincount(minlength=len(task.classes))
        fewest = int(sizes.argmin())
        if sizes[fewest] < count:
            raise InputError(
                f"--labels-per-class {count}: class {task.classes[fewest]} has "
                f"{int(sizes[fewest])} training rows; give at most that many"
            )
        if len(part.train) == count * len(task.classes):
            raise InputError(
                f"--labels-per-class {count} leaves no row of {task.name} without a label: "
                "give fewer, or leave it out"
            )
    return count * len(task.classes)


def _trials(request: Request, ground: Ground, arms: Sequence[Arm]) -> list[Trial]:
    """Every arm on every split with every seed, in the order that gives pairs early."""
    # Defaults are spelled out: a default that changes makes another trial of the same label.
    made = {
        arm.label: f"{arm.card.kind}:{arm.card.name}:{sorted(arm.facts().items())!r}"
        for arm in arms
    }
    code = {arm.label: code_fingerprint(arm.component) for arm in arms}
    return [
        Trial(
            trial_key(
                ground.task,
                ground.recipe,
                method=made[arm.label],
                code=code[arm.label],
                seed=seed,
                fold=fold,
            ),
            arm.label,
            seed,
            fold,
        )
        for seed in range(request.first_seed, request.first_seed + request.seeds)
        for fold in range(len(ground.splits))
        for arm in arms
    ]


def _refuse_lonely(arms: Sequence[Arm], left_out: Mapping[str, str]) -> None:
    if left_out and len(arms) < 2:
        named = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise InputError(f"no method is left to compare with {BASELINE}: {named}")


def _rehearse(ground: Ground, arms: Sequence[Arm]) -> tuple[list[Arm], dict[str, str]]:
    """Let every arm take one step, so that what cannot be trained is found out now.

    Returns:
        The arms that can be trained, and why methods refused the model or the task, by label.

    Raises:
        InputError: the baseline cannot be trained, or an arm breaks down.
    """
    split = ground.splits[0]
    fit: list[Arm] = []
    left_out: dict[str, str] = {}
    with deterministic(0, ground.recipe.threads):
        arena = Arena(ground.task, split, ground.recipe, seed=0)
        setting = dataclasses.replace(arena.setting, steps=1)
        size = min(arena.batch_size, REHEARSED_ROWS)
        for arm in arms:
            try:
                train(
                    arm.method(),
                    setting,
                    arena.examples,
                    rows=arena.rows,
                    parts=arena.parts,
                    batch_size=size,
                    epochs=1,
                )
                fit.append(arm)
            except InputError:
                raise
            except (ValueError, TypeError, RuntimeError) as error:
                line = " ".join(str(error).split())
                if isinstance(error, ValueError) and arm.label != BASELINE:
                    left_out[arm.label] = f"with {ground.recipe.model}: {line}"
                    continue
                raise InputError(f"{arm.label} with {ground.recipe.model}: {line}") from None
    return fit, left_out


def run_comparison(
    comparison: Comparison,
    store: Store,
    *,
    on_progress: Callable[[Trial, float], None],
    on_known: Callable[[TrialRecord], None],
    on_done: Callable[[TrialRecord], None],
) -> None:
    """Run the trials that the store does not have, and keep each as soon as it ends.

    Args:
        comparison: what to run.
        store: of the results.
        on_progress: called while a trial runs.
        on_known: called for a trial that the store has already.
        on_done: called for a trial that ended.
    """
    gallery: Gallery = make_gallery(
        comparison.arms,
        task=comparison.ground.task,
        split=comparison.ground.splits[0],
        recipe=comparison.ground.recipe,
    )
    store.add_run(comparison.run, [trial.key for trial in comparison.trials], gallery)
    known = finished(store, comparison.trials)
    for record in known.values():
        on_known(record)

    def keep(record: TrialRecord) -> None:
        store.add_trial(record)
        on_done(record)

    execute(
        comparison.ground,
        [trial for trial in comparison.trials if trial.key not in known],
        workers=comparison.request.workers,
        on_progress=on_progress,
        on_done=keep,
    )


def finished(store: Store, trials: Sequence[Trial]) -> dict[str, TrialRecord]:
    """The trials that need not be run again, by key. Failed ones are tried again."""
    found = store.trials(trial.key for trial in trials)
    return {trial.key: found[trial.key] for trial in trials if _done(found.get(trial.key))}


def _done(record: TrialRecord | None) -> bool:
    return record is not None and record.state == "done"


def conclude(run: RunRecord, trials: Sequence[TrialRecord]) -> Outcome:
    """The verdicts over all trials that there are.

    Args:
        run: what was asked for.
        trials: of this run, finished or failed.
    """
    from vicinal.evaluate import METRICS, primary_metric

    name = primary_metric(run.task["kind"])
    metric = METRICS[name]
    scores: dict[str, dict[tuple[int, int], float]] = {label: {} for label in run.methods}
    for record in trials:
        if record.state == "done":
            scores[record.method][record.seed, record.fold] = record.metrics[name]
    verdicts = judge(
        scores,
        run.baseline,
        higher_is_better=metric.higher_is_better,
        granularity=metric.granularity(run.task["held_out"]),
        overlap=run.overlap,
    )
    helping = [verdict for verdict in verdicts if verdict.word == "helps"]
    sign = 1 if metric.higher_is_better else -1
    best = max(helping, key=lambda verdict: sign * verdict.difference, default=None)
    label = run.baseline if best is None else best.method
    settings = run.task["asked"] | {name: run.settings[name] for name in CHOSEN}
    if run.task["modality"] != "image":
        settings = {name: v for name, v in settings.items() if name not in ("crop", "flip")}
    methods = [run.baseline, label] if best is not None else run.methods
    lines = usage(
        parse_arm(label), settings=settings | {"methods": methods}, winner=best is not None
    )
    return Outcome(run, trials, verdicts, lines)


def read_outcome(store: Store, folder: Path) -> tuple[Outcome, Gallery]:
    """The run that a folder is named after as it stands, or the only run of the store.

    Raises:
        InputError: the store has none, or several and none of that name.
    """
    names = store.run_names()
    name = folder.resolve().name
    if len(names) > 1 and name not in names:
        raise InputError(f"the store has the runs {', '.join(names)} and none called {name}")
    run, keys, gallery = store.last_run(name if name in names else None)
    found = store.trials(keys)
    return conclude(run, [found[key] for key in keys if key in found]), gallery


def save_report(path: Path, outcome: Outcome, gallery: Gallery) -> None:
    """Write the page that tells all this."""
    from vicinal.compare.report import write_report

    write_report(
        path,
        outcome.run,
        trials=outcome.trials,
        verdicts=outcome.verdicts,
        gallery=gallery,
        usage=outcome.usage,
    )


def choose_device(device: str) -> str:
    """The device by name. Raises InputError if it is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is there; use --device cpu")
    return device


def check_folder(out: Path) -> None:
    """Make the folder of the results, and see that it can be written and has room.

    Raises:
        InputError: it cannot, or has not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise InputError(
            f"--out {out} cannot be written ({error.strerror or error}): choose another folder"
        ) from None
    if free < FREE_BYTES:
        raise InputError(
            f"--out {out} has {free >> 20} MB left on its disk, {FREE_BYTES >> 20} MB are needed: "
            "make room or choose another folder"
        )


def describe_task(task: Task, ground: Ground) -> dict[str, Any]:
    """What the record of a run says of its data."""
    return {
        "modality": task.modality,
        "kind": task.kind,
        "classes": list(task.classes),
        "rows": len(task),
        "shape": list(task.sample_shape),
        "training": len(ground.splits[0].train),
        "held_out": len(ground.splits[0].test),
        "splits": len(ground.splits),
        "notes": [*task.notes, *_unused(task, ground), *_hidden(ground)],
        "fingerprint": task.fingerprint,
    }


def _unused(task: Task, ground: Ground) -> list[str]:
    if task.test_rows is None or ground.recipe.folds is None:
        return []
    return [f"the test part of {len(task.test_rows):,} rows is not used: folds are of the others"]


def _hidden(ground: Ground) -> list[str]:
    """What there is to say of labels that are hidden."""
    count = ground.recipe.labels_per_class
    if count is None:
        return []
    rows, known = len(ground.splits[0].train), count * len(ground.task.classes)
    return [
        f"the labels of {known:,} training rows are known, {count} of each class, drawn for each "
        f"seed: epochs and steps are counted on them, for every arm alike; the other "
        f"{rows - known:,} rows come without labels, to arms that learn from such rows"
    ]


def _settings(request: Request, recipe: Recipe) -> dict[str, Any]:
    settings = recipe.settings()
    settings.pop("model_fingerprint")
    return settings | {
        "seeds": request.seeds,
        "first_seed": request.first_seed,
        "workers": request.workers,
    }


def environment(recipe: Recipe) -> dict[str, str]:
    """Versions and machine."""
    from importlib import metadata

    import torch

    packages = ("vicinal", "torch", "torchvision", "timm", "lightning-fabric", "numpy", "datasets")
    found = {name: metadata.version(name) for name in packages}
    if recipe.device == "cuda":
        found["device"] = torch.cuda.get_device_name()
    return found | {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
    }
