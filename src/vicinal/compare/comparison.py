"""A comparison from the request to the verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from vicinal.compare.description import describe_settings, describe_task, environment
from vicinal.compare.execute import Ground, execute
from vicinal.compare.gallery import make_gallery
from vicinal.compare.plan import Recipe, code_fingerprint, trial_key
from vicinal.compare.records import Gallery, RunRecord, TrialRecord
from vicinal.compare.refusals import (
    check_folder,
    choose_device,
    labelled_rows,
    refuse_idle,
    refuse_lonely,
    refuse_other_data,
)
from vicinal.compare.rehearsal import rehearse
from vicinal.compare.request import Request, asked
from vicinal.compare.statistics import Verdict, judge
from vicinal.compare.store import Store
from vicinal.compare.trial import Trial
from vicinal.compare.usage import Usage, usage
from vicinal.core import registry
from vicinal.core.errors import InputError
from vicinal.methods.arms import BASELINE, Arm, fitting_arms, parse_arm, parse_arms, with_controls

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

    registry.load_from(request.components)
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
    refuse_lonely(arms, left_out)
    refuse_idle(request, task)
    holdout = HOLDOUT if request.holdout is None else request.holdout
    parts = splits(task, folds=request.folds, holdout=holdout)
    given = {name: getattr(request, name) for name in CHOSEN}
    labelled = labelled_rows(request, task, parts)
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
    ground = Ground(task, parts, recipe, request.components)
    out = Path(request.out) if request.out is not None else Path("runs") / task.name
    place = request.store if request.store is not None else out
    check_folder(out)
    with Store(place) as store:
        refuse_other_data(store, task, request)
    arms, refused = rehearse(ground, arms)
    left_out |= refused
    refuse_lonely(arms, left_out)
    trials = _trials(request, ground, arms)
    run = RunRecord(
        name=task.name,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        task=describe_task(task, ground)
        | {"source": request.data, "target": request.target, "asked": asked(request)},
        settings=describe_settings(request, recipe),
        reasons=choices.reasons,
        methods=[arm.label for arm in arms],
        left_out=left_out,
        environment=environment(recipe),
        overlap=len(parts[0].test) / len(parts[0].train) if len(parts) > 1 else 0.0,
    )
    return Comparison(request, run, ground, arms, trials, out, place)


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
    registry.load_from(run.task["asked"].get("components", ()))
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
