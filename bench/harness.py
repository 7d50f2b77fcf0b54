"""What benchmarks share: whole processes timed, medians of three, a table, a line of JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WORK = Path(__file__).parent / ".work"
"""Where benchmarks keep data, databases and the environments of peers; ignored by git."""


@dataclass(frozen=True)
class Run:
    """One whole process: its wall-clock seconds, and what its last line of JSON said."""

    seconds: float
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One contender: `seconds` is the median of `runs`."""

    name: str
    seconds: float
    runs: tuple[float, ...]
    notes: str = ""


@dataclass(frozen=True)
class Target:
    """One promise: `measured` must be at least `least`."""

    name: str
    measured: float
    least: float

    @property
    def met(self) -> bool:
        return self.measured >= self.least


def core_python() -> str:
    """The Python of an environment as `pip install millstream` makes it, without extras.

    Extras bring packages that slow the start of every contender (pandas, SQLAlchemy).
    """
    python = WORK / "core" / "bin" / "python"
    ready = WORK / "core" / "ready"
    if not ready.exists():
        root = Path(__file__).resolve().parents[1]
        subprocess.run([sys.executable, "-m", "venv", "--clear", WORK / "core"], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", root / "constraints.txt", "-e", root], check=True)
        ready.touch()
    return str(python)


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Time one process from its start to its end; its last line of output, if JSON, is kept.

    Raises:
        RuntimeError: the process failed; with the end of its output.
    """
    started = time.perf_counter()
    # as on a user's machine, modules are compiled once and not anew for each process
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:
        said = {}
    return Run(seconds, said if isinstance(said, dict) else {})


def median(name: str, runs: Sequence[Run], notes: str = "") -> Result:
    """One contender's result from its runs."""
    seconds = tuple(round(run.seconds, 3) for run in runs)
    return Result(name, round(statistics.median(seconds), 3), seconds, notes)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text in columns; all but the first are aligned to the right."""
    cells = [list(headers), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def finish(
    benchmark: str,
    results: Sequence[Result],
    targets: Sequence[Target],
    *,
    check: bool,
    left_out: Sequence[str] = (),
    **more: Any,
) -> int:
    """Print the table, the targets and the line of JSON; the exit code (1: `check` and a miss)."""
    best = results[-1].seconds if results else 1.0
    rows = [
        [r.name, f"{r.seconds:.2f} s", f"{r.seconds / best:.1f}x", str(list(r.runs)), r.notes]
        for r in results
    ]
    print(table(["", "median", f"against {results[-1].name}", "runs", ""], rows))
    for peer in left_out:
        print(f"left out: {peer}")
    for target in targets:
        verdict = "met" if target.met else "MISSED"
        print(f"{target.name}: {target.measured:.2f}, at least {target.least:g}: {verdict}")
    document = {
        "benchmark": benchmark,
        "results": [asdict(result) for result in results],
        "targets": [{**asdict(target), "met": target.met} for target in targets],
        "left_out": list(left_out),
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load": list(os.getloadavg()),
        },
        **more,
    }
    print(json.dumps(document))
    sys.stdout.flush()
    return 1 if check and not all(target.met for target in targets) else 0
