"""What benchmarks share: whole processes timed, medians of three, a table, a line of JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WORK = Path(__file__).parent / ".work"
"""Where benchmarks keep data, databases and the environments of peers; ignored by git."""


@dataclass(frozen=True)
class Run:
    """One whole process: its wall-clock seconds, and what its output, or its end, said in JSON.

    Attributes:
        cpu: seconds of processor time, of all its processes.
        peak: megabytes of all its processes together, where memory was watched.
    """

    seconds: float
    said: Mapping[str, Any] = field(default_factory=dict)
    cpu: float = 0.0
    peak: float = 0.0


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


def run(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, watch_memory: bool = False
) -> Run:
    """Time one process from its start to its end; its output, or its last line, is kept if JSON.

    To watch memory makes a process that asks for much of it up to a third slower: the system counts
    its pages meanwhile, and gives it none.

    Raises:
        RuntimeError: the process failed; with the end of its output.
    """
    os.sync()  # or this one would wait for the disk that the one before it still keeps busy
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    # as on a user's machine, modules are compiled once and not anew for each process
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        peaks = [0.0]
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.2):
                peaks.append(memory(process.pid))

        watching = threading.Thread(target=look)
        if watch_memory:
            watching.start()
        output, complaints = process.communicate()
        seconds = time.perf_counter() - started
        if watch_memory:
            done.set()
            watching.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output[-2000:]}{complaints[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said: Any = {}
    for text in (output, *output.strip().splitlines()[-1:]):
        with suppress(json.JSONDecodeError):
            said = json.loads(text)
    return Run(seconds, said if isinstance(said, dict) else {}, cpu, max(peaks))


def memory(process: int) -> float:
    """Megabytes of a process and all below it, pages that several share in equal parts."""
    total = 0.0
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total = int(rollup.split("\nPss:")[1].split()[0]) / 1024
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += memory(int(child))
    except (OSError, IndexError):
        pass  # it has just ended
    return total


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
