"""Timing calls side by side on a machine that may be shared.

Rows of a table are measured in rounds, one sample of each row a round, so that whatever drifts
falls on all alike. Ratios are taken within a round and their median is reported: they hold where
single times do not.

The kernel counts how long threads stand in line for a core. A sample with more than `CLEAN` of that
was disturbed by somebody else and is taken again while patience lasts; a row left with disturbed
samples is marked `~`.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["limit", "peer", "yardstick", "vicinal"]

#: The share of a sample that our threads may stand in line.
CLEAN = 0.02
#: How often a disturbed sample is taken again before its row makes do with the cleanest.
TRIES = 4


@dataclass(frozen=True)
class Sample:
    """One measurement, averaged over the calls in it.

    seconds: by the clock.
    cpu: seconds of all threads.
    waited: share of the clock that our threads stood in line for a core.
    faults: page faults, most of them the first touch of fresh memory.
    """

    seconds: float
    cpu: float
    waited: float
    faults: float = 0.0


@dataclass
class Row:
    """Something to be timed.

    build: makes the call; ImportError leaves the row out, and the table says so.
    """

    name: str
    build: Callable[[], Callable[[], object]]
    kind: Kind = "peer"
    note: str = ""
    samples: list[Sample] = field(default_factory=list)
    skipped: str = ""
    _call: Callable[[], object] | None = None
    _calls: int = 1

    def prepare(self, least: float) -> None:
        """Build the call, warm it up, and find how many calls take `least` seconds."""
        try:
            self._call = self.build()
        except ImportError as error:
            self.skipped = f"{error.name or error} is not installed"
            return
        best = min(measure(self._call).seconds for _ in range(5))
        self._calls = max(1, min(2000, round(least / best)))

    def sample(self, deadline: float) -> None:
        """Take a sample: the first clean one, or the cleanest before the deadline."""
        if self._call is None:
            return
        taken = []
        for _ in range(TRIES):
            taken.append(measure(self._call, self._calls))
            if taken[-1].waited <= CLEAN or time.perf_counter() > deadline:
                break
        self.samples.append(min(taken, key=lambda sample: sample.waited))

    def record(self, against: dict[str, Row]) -> dict[str, Any]:
        """What a table shows. against: the rows it is held against, by the name of the ratio."""
        facts: dict[str, Any] = {"name": self.name, "kind": self.kind, "note": self.note}
        if not self.samples:
            return facts | {"skipped": self.skipped}
        return facts | summary(self.samples) | {"ratios": ratios(self.samples, against)}


def measure(call: Callable[[], object], calls: int = 1) -> Sample:
    """Time some calls in a row."""
    faults, waited, cpu = page_faults(), seconds_in_line(), time.process_time()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    seconds = time.perf_counter() - start
    return Sample(
        seconds=seconds / calls,
        cpu=(time.process_time() - cpu) / calls,
        waited=(seconds_in_line() - waited) / seconds,
        faults=(page_faults() - faults) / calls,
    )


def side_by_side(
    rows: Sequence[Row],
    *,
    rounds: int = 15,
    least: float = 0.01,
    patience: float = 30.0,
    against: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Measure rows in rounds.

    Args:
        rows: what to measure.
        rounds: samples of each row.
        least: seconds of a sample, at least.
        patience: seconds after which disturbed samples are kept.
        against: what each row's time is divided by: names of rows, by the heading of the ratio.

    Returns:
        A record for each row.
    """
    for row in rows:
        row.prepare(least)
    gc.collect()
    deadline = time.perf_counter() + patience
    for _ in range(rounds):
        for row in rows:
            row.sample(deadline)
    by_name = {row.name: row for row in rows}
    held = {heading: by_name[name] for heading, name in (against or {}).items()}
    return [row.record(held) for row in rows]


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Median, range and cost of some samples; times in milliseconds."""
    seconds = [sample.seconds for sample in samples]
    return {
        "ms": statistics.median(seconds) * 1e3,
        "min_ms": min(seconds) * 1e3,
        "max_ms": max(seconds) * 1e3,
        "cpu_ms": statistics.median(sample.cpu for sample in samples) * 1e3,
        "faults": statistics.median(sample.faults for sample in samples),
        "samples": len(samples),
        "disturbed": statistics.median(sample.waited for sample in samples) > CLEAN,
    }


def ratios(samples: Sequence[Sample], against: dict[str, Row]) -> dict[str, float]:
    """The median over rounds of the time divided by that of another row in the same round."""
    return {heading: paired_ratio(samples, row.samples) for heading, row in against.items()}


def paired_ratio(samples: Sequence[Sample], others: Sequence[Sample]) -> float:
    """The median over pairs of the first time divided by the second."""
    pairs = zip(samples, others, strict=True)
    return statistics.median(mine.seconds / other.seconds for mine, other in pairs)


def clean_pairs(
    samples: Sequence[Sample], others: Sequence[Sample], *, least: int = 3
) -> tuple[list[Sample], list[Sample]]:
    """The pairs in which neither was disturbed; the cleanest where there are too few of them."""
    pairs = sorted(
        zip(samples, others, strict=True), key=lambda pair: max(one.waited for one in pair)
    )
    clean = [pair for pair in pairs if max(one.waited for one in pair) <= CLEAN]
    kept = clean if len(clean) >= least else pairs[:least]
    return [mine for mine, _ in kept], [other for _, other in kept]


def seconds_in_line() -> float:
    """How long the threads of this process have stood in line for a core so far; 0 if unknown."""
    total = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[1])
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
    return total / 1e9


def page_faults() -> int:
    """Pages that this process has touched first so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
