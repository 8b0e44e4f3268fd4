"""Run every benchmark and write benchmarks/RESULTS.md. About five minutes on a quiet machine.

    python benchmarks/run_all.py [--quick] [--threads N] [--patience SECONDS]

With --quick the results are printed and RESULTS.md is left as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import markdown, options

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
#: Scripts in order, with the headings of their results.
SCRIPTS = {
    "mixers": "Mixing a batch",
    "draws": "Random numbers",
    "pairing": "Choosing partners",
    "replay": "Replaying a reinforced dataset",
    "steps": "A training step by method",
    "epoch": "Training",
    "startup": "Starting",
}
READING = """\
- **vicinal's rows** are bold. What a library lacks is said in the last column.
- **ms a call** is the median over samples with their range beside it; the rows of a table take
  turns. `~` marks a row whose samples other processes disturbed.
- **×** is the time divided by that of the row or thing named, the median over turns: above 1 is
  slower. Quote these, not single times.
- **CPU ms** counts all threads. **Page faults** are the first touch of fresh memory, which is what
  most of a large mixing costs on a CPU.
"""


def run(name: str, arguments: list[str]) -> dict[str, Any]:
    """Run one benchmark in a process of its own. Returns what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.json"
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments, "--json", str(path)]
        subprocess.run(command, check=True)
        written: dict[str, Any] = json.loads(path.read_text())
        return written


def page(results: dict[str, dict[str, Any]]) -> str:
    """RESULTS.md."""
    last = list(results.values())[-1]
    facts = last["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    parts = [
        "# Benchmarks",
        f"{facts['cpu']}, {facts['cores']} cores, {facts['instructions']}, "
        f"{facts['memory_gib']} GiB, {facts['system']}, Python {facts['python']}; "
        f"{facts['threads']} threads. {versions}. {last['time']}.",
        "`make bench` makes this page: `python benchmarks/run_all.py`.",
        READING.rstrip(),
    ]
    for name, result in results.items():
        parts += [f"## {SCRIPTS[name]}", f"`{result['command']}`"]
        parts += [markdown(made) for made in result["tables"]]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    chosen = options(__doc__)
    arguments = ["--threads", str(chosen.threads), "--patience", str(chosen.patience)]
    if chosen.quick:
        arguments.append("--quick")
    text = page({name: run(name, arguments) for name in SCRIPTS})
    if chosen.quick:
        print(text)
    else:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
