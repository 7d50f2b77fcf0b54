"""What it costs to give each stream a step of its own: `steps` of `defs.yaml`, by executor.

    python bench/steps.py [--streams 5] [--streams 50] [--streams 300]

Each stream is one small file of JSON lines, into DuckDB, so that what is timed is all that is not
the load. Whole processes, `dagster job execute`, as a run of the daemon is one; processor time is
that of all its processes. `forkserver` is the multiprocess executor with the modules of a run
preloaded, as docs/how-to/shape-dagster-runs.md has it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness

ROWS = 100
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
DEFINITIONS = """\
import os
import dagster as dg
import millstream

defs = millstream.definitions(
    name="shop",
    project=os.path.dirname(__file__),
    source={
        "type": "files",
        "streams": {f"s{n:03}": {"path": f"s{n:03}.jsonl"} for n in range(COUNT)},
    },
    destination={"type": "duckdb"},
    steps=STEPS,
)
"""
EXECUTORS: Mapping[str, Mapping[str, Any]] = {
    "in_process": {"in_process": {}},
    "multiprocess": {"multiprocess": {"max_concurrent": 2}},
    "forkserver": {
        "multiprocess": {
            "max_concurrent": 2,
            "start_method": {
                "forkserver": {
                    "preload_modules": [
                        "dagster",
                        "dlt",
                        "duckdb",
                        "pyarrow",
                        "millstream.runs.runner",
                    ]
                }
            },
        }
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, action="append", help="5, 50 and 300 by default")
    parser.add_argument("--executor", action="append", choices=list(EXECUTORS))
    parser.add_argument("--steps", action="append", help="stream, pipeline or streams a step")
    options = parser.parse_args()
    # the server that forks steps outlives its parent, and is to be counted
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    results, cells = [], []
    for count in options.streams or [5, 50, 300]:
        for executor in options.executor or EXECUTORS:
            for steps in options.steps or ["stream", str(-(-count // 16)), "pipeline"]:
                name = f"{count} streams, {executor}, steps: {steps}"
                run = timed(count, executor, steps)
                results.append(harness.median(name, [run]))
                cells.append([name, f"{run.seconds:.1f} s", f"{run.cpu:.1f} s"])
                print(*cells[-1], sep="  ", file=sys.stderr)
    print(harness.table(["", "wall", "processor"], cells))
    return harness.finish("steps", results, [], check=False)


def timed(count: int, executor: str, steps: str) -> harness.Run:
    """One run of a job, of a first load."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "pyproject.toml").touch()
        for number in range(count):
            lines = (
                json.dumps({"id": n, "name": f"row {n}", "items": [{"sku": n, "tags": ["a", "b"]}]})
                for n in range(ROWS)
            )
            (folder / f"s{number:03}.jsonl").write_text("\n".join(lines))
        value = steps if steps.isdigit() else repr(steps)
        program = DEFINITIONS.replace("COUNT", str(count)).replace("STEPS", value)
        (folder / "shop.py").write_text(program)
        home = folder / "dagster"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        config = folder / "run.yaml"
        config.write_text(json.dumps({"execution": {"config": EXECUTORS[executor]}}))
        command = [str(Path(sys.executable).with_name("dagster")), "job", "execute", "-j", "shop"]
        before = spent()
        run = harness.run(
            [*command, "-d", made, "-f", str(folder / "shop.py"), "-c", str(config)],
            {"DAGSTER_HOME": str(home), "MILLSTREAM_HOME": str(folder / "home")},
        )
        with suppress(ChildProcessError):  # until all are gone
            while os.wait():
                pass
        check(folder / "shop_db.duckdb", count)
        return replace(run, cpu=spent() - before)


def spent() -> float:
    """Seconds of processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(database: Path, count: int) -> None:
    """All rows are there."""
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        for number in range(count):
            for table in (f"s{number:03}", f"s{number:03}__items"):
                found = connection.execute(f"SELECT count(*) FROM shop.{table}").fetchall()
                assert found == [(ROWS,)], table


if __name__ == "__main__":
    sys.exit(main())
