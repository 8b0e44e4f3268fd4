"""What the benchmarks share besides timing: options, the record of the machine, tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("vicinal", "torch", "torchvision", "timm", "kornia", "numba", "numpy", "scipy")


def options(description: str | None) -> argparse.Namespace:
    """The command line of every benchmark."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few samples: to see that all runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--patience",
        type=float,
        default=20.0,
        help="seconds a table may take to find clean samples",
    )
    parser.add_argument("--json", type=Path, help="write the tables to this file too")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def machine() -> dict[str, Any]:
    """Where this ran, and with what."""
    cpu, memory = platform.processor(), 0.0
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if "model name" in line), cpu)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def table(title: str, records: list[dict[str, Any]], *, text: str = "") -> dict[str, Any]:
    """Records under a title, printed at once."""
    made = {"title": title, "text": text, "records": records}
    print("\n" + markdown(made), flush=True)
    return made


def finish(chosen: argparse.Namespace, tables: list[dict[str, Any]]) -> None:
    """Write the tables to the file that was asked for."""
    if chosen.json is None:
        return
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--json")]
    arguments = [argument for argument in arguments if argument != str(chosen.json)]
    chosen.json.write_text(
        json.dumps(
            {
                "command": shlex.join(
                    ["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments]
                ),
                "time": time.strftime("%Y-%m-%d %H:%M"),
                "machine": machine(),
                "tables": tables,
            }
        )
    )


def markdown(made: dict[str, Any]) -> str:
    """A table as Markdown. Ratios are the medians of those within each round."""
    records: list[dict[str, Any]] = made["records"]
    headings = list(next((r["ratios"] for r in records if r.get("ratios")), {}))
    columns = ["what", "ms a call", "min–max", "CPU ms", "page faults", *headings, "note"]
    lines = [f"**{made['title']}**", ""]
    if made["text"]:
        lines += [made["text"], ""]
    lines += [_line(columns), _line(["---"] * len(columns))]
    for record in records:
        name = f"**{record['name']}**" if record["kind"] == "vicinal" else record["name"]
        if "ms" not in record:
            cells = [
                name,
                "–",
                "",
                "",
                "",
                *("" for _ in headings),
                f"skipped: {record['skipped']}",
            ]
        else:
            cells = [
                name,
                ("~" if record["disturbed"] else "") + digits(record["ms"]),
                f"{digits(record['min_ms'])}–{digits(record['max_ms'])}",
                digits(record["cpu_ms"]),
                digits(record["faults"]),
                *(digits(record["ratios"][heading]) for heading in headings),
                record["note"],
            ]
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def digits(value: float) -> str:
    """Three significant digits, whole numbers from 100 on."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
