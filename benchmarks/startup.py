"""How long a user waits before anything happens, and what is loaded meanwhile.

    python benchmarks/startup.py [--quick]

Every sample is a fresh interpreter; compiled modules and the files themselves are in the cache of
the system. `vicinal.CutMix` loads all components, which is what finding the first one by name does.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report import finish, options, table
from timing import Sample, paired_ratio, summary

#: What must not be loaded before it is needed.
HEAVY = ("timm", "datasets", "matplotlib", "torchvision", "pandas", "sklearn")

HELP = [str(Path(sys.executable).with_name("vicinal")), "--help"]
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import vicinal": [sys.executable, "-c", "import vicinal"],
    "import vicinal; vicinal.Batch": [sys.executable, "-c", "import vicinal; vicinal.Batch"],
    "import vicinal; vicinal.CutMix": [sys.executable, "-c", "import vicinal; vicinal.CutMix"],
    "vicinal --help": HELP,
}
LOADED = {
    "import vicinal": "import vicinal",
    "vicinal --help": """
import sys
sys.argv = ["vicinal", "--help"]
from vicinal.cli import main
try:
    main()
except SystemExit:
    pass
""",
}


def once(command: list[str]) -> Sample:
    """Run a command in a process of its own; waiting for a core is not seen from here."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    preempted = after.ru_nivcsw - before.ru_nivcsw
    # A process that is pushed aside more than now and then shares its core with others.
    waited = 1.0 if preempted > 20 * seconds + 5 else 0.0
    faults = after.ru_minflt - before.ru_minflt
    return Sample(seconds=seconds, cpu=cpu, waited=waited, faults=faults)


def loaded(code: str) -> list[str]:
    """The heavy modules that are there after some code."""
    probe = f"{code}\nimport sys\nprint(*sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    return done.stderr.split()


def main() -> None:
    chosen = options(__doc__)
    samples: dict[str, list[Sample]] = {name: [] for name in COMMANDS}
    for turn in range(2 if chosen.quick else 8):
        for name, command in COMMANDS.items():
            sample = once(command)
            if turn > 0:  # the first reads the disk
                samples[name].append(sample)
    records: list[dict[str, Any]] = [
        {"name": name, "kind": "vicinal" if "vicinal" in name else "limit", "note": ""}
        | summary(taken)
        | {"ratios": {"× import torch": paired_ratio(taken, samples["import torch"])}}
        for name, taken in samples.items()
    ]
    for record in records:
        if record["name"] in LOADED:
            found = loaded(LOADED[record["name"]])
            record["note"] = f"loads {', '.join(found)}" if found else "loads nothing heavy"
    text = (
        "The targets are 500 ms for `vicinal --help`, and 1.5 × `import torch` for `import "
        f"vicinal`. Heavy are {', '.join(HEAVY)}."
    )
    finish(chosen, [table("Start", records, text=text)])


if __name__ == "__main__":
    main()
