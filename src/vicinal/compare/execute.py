"""Runs trials one after the other, or side by side in processes of their own."""

from __future__ import annotations

import functools
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from vicinal.compare.plan import Recipe
from vicinal.compare.records import TrialRecord
from vicinal.compare.training import Progress
from vicinal.compare.trial import Trial, run_trial
from vicinal.core import registry
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import parse_arm


class WorkersLost(RuntimeError):
    """A worker process died; what was finished is kept."""


@dataclass(frozen=True)
class Ground:
    """What all trials of a run share. It travels to every worker once.

    splits: by the number of the fold. components: modules of a user's, with arms in them.
    """

    task: Task
    splits: Sequence[Split]
    recipe: Recipe
    components: tuple[str, ...] = ()

    def run(self, trial: Trial, observe: Callable[[Progress], None] | None = None) -> TrialRecord:
        """Train and judge one trial."""
        return run_trial(
            trial,
            parse_arm(trial.method).method(),
            task=self.task,
            split=self.splits[trial.fold],
            recipe=self.recipe,
            observe=observe,
        )


#: Called with the trial and its share of epochs done.
OnProgress = Callable[[Trial, float], None]
OnDone = Callable[[TrialRecord], None]


def execute(
    ground: Ground,
    trials: Sequence[Trial],
    *,
    workers: int,
    on_progress: OnProgress,
    on_done: OnDone,
) -> None:
    """Run all trials; both callbacks are called in this process.

    Raises:
        WorkersLost: a worker died, of lack of memory perhaps.
        KeyboardInterrupt: passed on, once no worker is left.
    """
    if workers <= 1:
        for trial in trials:
            on_progress(trial, 0.0)
            on_done(ground.run(trial, functools.partial(_report, on_progress, trial)))
        return
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    by_key = {trial.key: trial for trial in trials}
    pool = ProcessPoolExecutor(
        min(workers, len(trials)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(ground, messages, os.getpid()),
    )
    try:
        waiting: set[Future[TrialRecord]] = {pool.submit(_run_in_worker, t) for t in trials}
        while waiting:
            ended, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            _pass_on(messages, by_key, on_progress)
            for future in ended:
                on_done(future.result())
    except BrokenProcessPool:
        raise WorkersLost(
            "a worker process died, perhaps for lack of memory: start the same command again, "
            "with fewer --workers; finished trials are kept"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
            process.join()
        messages.close()


def _pass_on(messages: Any, by_key: dict[str, Trial], on_progress: OnProgress) -> None:
    while True:
        try:
            key, share = messages.get_nowait()
        except queue.Empty:
            return
        on_progress(by_key[key], share)


def _report(on_progress: OnProgress, trial: Trial, progress: Progress) -> None:
    on_progress(trial, _share(progress))


def _share(progress: Progress) -> float:
    return progress.epoch / progress.epochs


@dataclass
class _Worker:
    """What a worker process was given when it started."""

    ground: Ground
    messages: Any


_worker: _Worker | None = None


def _start_worker(ground: Ground, messages: Any, parent: int) -> None:
    global _worker
    _worker = _Worker(ground, messages)
    registry.load_from(ground.components)
    # The parent decides what an interrupt means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, killed perhaps: nobody would take the result."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _run_in_worker(trial: Trial) -> TrialRecord:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    messages = _worker.messages
    messages.put((trial.key, 0.0))
    return _worker.ground.run(trial, lambda at: messages.put((trial.key, _share(at))))
