"""The table of methods, as rows for the template."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from vicinal.compare.records import RunRecord, TrialRecord
from vicinal.compare.report import numbers
from vicinal.compare.report.numbers import Score, duration, known
from vicinal.compare.verdict import Verdict, remark

#: Metrics beside the one that decides, as far as they were measured.
FURTHER = ("ece", "nll", "mae", "r2")


@dataclass(frozen=True)
class Look:
    """How a verdict is shown. kind: the class that gives its colour. sign: says it without."""

    kind: str
    sign: str


BASELINE = Look("baseline", "\N{BLACK SQUARE}")
UNCLEAR = Look("unclear", "\N{WHITE CIRCLE}")
LOOKS = {
    "helps": Look("helps", "\N{BLACK UP-POINTING TRIANGLE}"),
    "hurts": Look("hurts", "\N{BLACK DOWN-POINTING TRIANGLE}"),
    "baseline": BASELINE,
}


@dataclass(frozen=True)
class Row:
    """A method. Texts are empty where there is nothing to say.

    word: the verdict. remark: what would settle it, or why there is none. more: seeds for that.
    mean: of the score. half: half of the 95 % interval of that mean.
    between: the ends of the interval of the difference.
    further: other held-out metrics, by the names of METRICS.
    done, failed, missing: numbers of trainings. errors: what failed, one line each.
    """

    method: str
    look: Look
    word: str
    remark: str
    more: int | None
    mean: float
    score: str
    half: str
    difference: str
    between: str
    p: str
    further: dict[str, str]
    seconds: str
    overhead: str
    done: int
    failed: int
    missing: int
    errors: list[str]


def completed(run: RunRecord, trials: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """The trials that were completed, for each method of the run in its order."""
    done: dict[str, list[TrialRecord]] = {method: [] for method in run.methods}
    for trial in trials:
        if trial.state == "done":
            done[trial.method].append(trial)
    return done


def leaderboard(
    run: RunRecord, trials: Sequence[TrialRecord], verdicts: Sequence[Verdict], score: Score
) -> list[Row]:
    """A row for each method, the best mean first; methods without a score come last.

    Args:
        run: what was asked for.
        trials: completed and failed.
        verdicts: one for each method.
        score: the metric that decides.
    """
    done = completed(run, trials)
    judged = {verdict.method: verdict for verdict in verdicts}
    rows = []
    for method in run.methods:
        failed = [one for one in trials if one.method == method and one.state == "failed"]
        rows.append(_row(run, done, failed, judged[method], score))
    best = -1 if score.metric.higher_is_better else 1
    return sorted(rows, key=lambda row: (not known(row.mean), best * row.mean))


def _row(
    run: RunRecord,
    done: Mapping[str, Sequence[TrialRecord]],
    failed: Sequence[TrialRecord],
    verdict: Verdict,
    score: Score,
) -> Row:
    own = done[verdict.method]
    scores = [one.metrics[score.name] for one in own]
    is_baseline = verdict.method == run.baseline
    compared = not is_baseline and known(verdict.difference)
    planned = run.settings["seeds"] * run.task["splits"]
    average = fmean(scores) if scores else math.nan
    return Row(
        method=verdict.method,
        look=look(verdict),
        word=verdict.word,
        remark=remark(verdict),
        more=verdict.more_seeds,
        mean=average,
        score=score.value(average),
        half=_half(own, score, run.overlap),
        difference=score.difference(verdict.difference) if compared else "",
        between=score.between(verdict.low, verdict.high) if compared else "",
        p=numbers.probability(verdict.p_holm) if compared and known(verdict.p_holm) else "",
        further={
            name: Score.of(name, average).value(numbers.mean(one.metrics[name] for one in own))
            for name in FURTHER
            if own and name in own[0].metrics
        },
        seconds=duration(fmean(one.seconds for one in own)) if own else "",
        overhead="" if is_baseline else overhead(own, done[run.baseline]),
        done=len(own),
        failed=len(failed),
        missing=max(0, planned - len(own) - len(failed)),
        errors=[f"{_which(one, run)}: {one.error}" for one in failed],
    )


def look(verdict: Verdict) -> Look:
    """The look of a verdict's word."""
    return LOOKS.get(verdict.word, UNCLEAR)


def _which(trial: TrialRecord, run: RunRecord) -> str:
    fold = f", fold {trial.fold}" if run.task["splits"] > 1 else ""
    return f"seed {trial.seed}{fold}"


def _half(own: Sequence[TrialRecord], score: Score, overlap: float) -> str:
    """Half of the 95 % interval of a method's mean score."""
    folds: dict[int, list[float]] = defaultdict(list)
    for one in own:
        folds[one.fold].append(one.metrics[score.name])
    # As the verdicts have it: trainings on the same fold are no independent witnesses, and folds
    # share training rows (Nadeau and Bengio, 2003).
    values = [fmean(of_fold) for of_fold in folds.values()]
    if len(folds) == 1:
        values = next(iter(folds.values()))
    if len(values) < 2:
        return ""
    from scipy import stats

    error = stdev(values) * math.sqrt(1 / len(values) + overlap)
    return score.value(float(stats.t.isf(0.025, len(values) - 1)) * error)


def overhead(own: Sequence[TrialRecord], base: Sequence[TrialRecord]) -> str:
    """Training time over the baseline's, of the seeds and folds that both completed."""
    seconds = {(one.seed, one.fold): one.seconds for one in base}
    shared = [one for one in own if (one.seed, one.fold) in seconds]
    reference = math.fsum(seconds[one.seed, one.fold] for one in shared)
    if reference <= 0:
        return ""
    share = math.fsum(one.seconds for one in shared) / reference - 1
    return f"{numbers.number(100 * share, 0, sign=True)} %"
